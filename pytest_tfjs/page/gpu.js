// @ts-check
/**
 * What webgl and webgpu run on, and whether it is still there.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").GPUDevice} GPUDevice
 * @typedef {import("./types").Setup} Setup
 */

import { fault } from "./events.js";
import { checkFlags } from "./flags.js";
import { UnavailableError } from "./unavailable.js";

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render|\bwarp\b/i;
// WebKit tells every page of this one, on any machine, so that people cannot be told apart by theirs.
const HIDDEN = "Apple GPU";
// Within this time after something failed it is known whether the device was lost.
const LOST_MS = 500;

/** @type {Record<string, boolean>} */
const WITHOUT_FLOAT32 = {
  WEBGL_FORCE_F16_TEXTURES: true,
  WEBGL_RENDER_FLOAT32_CAPABLE: false,
  WEBGL_RENDER_FLOAT32_ENABLED: false,
};

/** What the GPU refused since `forgetRefused`: a kernel that is refused does not run, and leaves what was there. */
/** @type {GPUError[]} */
const refused = [];

/** The GPU refused what the backend gave it. */
export class GPUError extends Error {
  /**
   * @param {string} said
   * @param {boolean} invalid whether what it was given is not valid; else the GPU has no memory left, or failed itself
   */
  constructor(said, invalid) {
    super(`the GPU refused what webgpu gave it, so that its numbers are of something else: ${said.trim().split("\n")[0]}`);
    this.stack = said.trim();
    this.invalid = invalid;
  }
}

/** @param {TF} tf */
export function isGPU(tf) {
  return ["webgl", "webgpu"].includes(tf.getBackend());
}

/**
 * What a GPU backend runs on, for the report; each is null where the backend has no such thing.
 *
 * @param {TF} tf
 */
export function gpuFacts(tf) {
  const [gl, device] = [contextOf(tf), deviceOf(tf)];
  const adapter = device && { ...plain(tf.backend().adapterInfo), ...plain(device.adapterInfo) };
  const renderer = gl ? rendererOf(gl) : adapter ? nameOf(adapter) : null;
  const told = renderer !== null && renderer !== HIDDEN;
  return {
    renderer: renderer === HIDDEN ? "hidden by the browser" : renderer,
    software: told ? SOFTWARE.test(renderer) || adapter?.isFallbackAdapter === true : null,
    // Not floatPrecision() or epsilon(), which are wrong on webgl.
    float32Textures: gl ? Boolean(tf.env().get("WEBGL_RENDER_FLOAT32_ENABLED")) : null,
  };
}

/**
 * Throws where webgl does not run under its flags, whatever TF.js tells of them.
 *
 * @param {TF} tf
 * @param {Setup["flags"]} flags
 */
export function checkWebGL(tf, flags) {
  const half = flags.WEBGL_FORCE_F16_TEXTURES === true || flags.WEBGL_RENDER_FLOAT32_ENABLED === false;
  const float32 = Boolean(tf.env().get("WEBGL_RENDER_FLOAT32_ENABLED"));
  if (!half && !float32) {
    const off = Object.entries(flags).find(([name, value]) => Boolean(value) === WITHOUT_FLOAT32[name]);
    if (off !== undefined) {
      throw new Error(
        `the flag ${off.join("=")} leaves webgl no float32 textures, so that it would compute in half precision and be` +
          " judged as in single: set WEBGL_FORCE_F16_TEXTURES=true in its place, as webgl:f16 does",
      );
    }
    throw new UnavailableError(
      "the GPU has no float32 textures to render to, so that webgl computes in half precision there:" +
        " the target webgl:f16 tests that",
    );
  }
  const version = contextOf(tf) instanceof WebGL2RenderingContext ? 2 : 1;
  checkFlags(flags, { WEBGL_FORCE_F16_TEXTURES: !float32, WEBGL_VERSION: version });
}

/**
 * Tell when the GPU is lost. Computing goes on then, with zeros.
 *
 * @param {TF} tf
 */
export function watchGPU(tf) {
  contextOf(tf)?.canvas.addEventListener("webglcontextlost", tellContextLost);
  const device = deviceOf(tf);
  device?.lost.then(({ reason, message }) => {
    fault("devicelost", `its GPU device was lost (${reason}: ${message || "no reason was given"})`);
  });
  device?.addEventListener("uncapturederror", ({ error }) => {
    refused.push(new GPUError(error.message, error.constructor.name === "GPUValidationError"));
  });
}

/**
 * Whether the GPU was lost, which is told then: something failed, and may have failed for that.
 *
 * @param {TF} tf
 * @returns {Promise<boolean>}
 */
export async function wasLost(tf) {
  if (contextOf(tf)?.isContextLost()) {
    tellContextLost();
    return true;
  }
  const device = deviceOf(tf);
  if (device === undefined) return false;
  const timeout = new Promise((resolve) => setTimeout(resolve, LOST_MS, false));
  return Promise.race([device.lost.then(() => true), timeout]);
}

/**
 * Throws where what was read may be none of what was to be computed, though nothing else failed: the WebGL context is
 * lost, or the GPU refused a kernel. A lost device refuses to be read from.
 *
 * @param {TF} tf
 */
export function checkGPU(tf) {
  if (contextOf(tf)?.isContextLost()) throw new Error("the WebGL context was lost");
  const error = refusal();
  if (error !== null) throw error;
}

/** The first that the GPU refused, if there is any. */
export function refusal() {
  return refused[0] ?? null;
}

/** Begin anew: what was refused is told. */
export function forgetRefused() {
  refused.length = 0;
}

function tellContextLost() {
  fault("contextlost", "its WebGL context was lost (the GPU was reset, or is out of memory)");
}

/** @param {TF} tf */
function contextOf(tf) {
  return tf.getBackend() === "webgl" ? tf.backend().gpgpu?.gl : undefined;
}

/** @param {TF} tf */
function deviceOf(tf) {
  return tf.getBackend() === "webgpu" ? tf.backend().device : undefined;
}

/** @param {WebGL2RenderingContext} gl */
function rendererOf(gl) {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

/**
 * A browser's own object has its properties on the prototype.
 *
 * @param {import("./types").AdapterInfo | undefined} info
 */
function plain(info) {
  if (info === undefined) return {};
  const { vendor, architecture, device, description, isFallbackAdapter } = info;
  return { vendor, architecture, device, description, isFallbackAdapter };
}

/** @param {import("./types").AdapterInfo} info */
function nameOf({ vendor, architecture, device, description }) {
  return [vendor, architecture, device, description].filter(Boolean).join(" ") || "unknown";
}
