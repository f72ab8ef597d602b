// @ts-check
/**
 * Describes the GPU of webgl and webgpu, and finds out if it was lost or refused commands.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").GPUDevice} GPUDevice
 * @typedef {import("./types").Setup} Setup
 */

import { fault } from "./events.js";
import { checkFlags } from "./flags.js";
import { UnavailableError } from "./unavailable.js";

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render|\bwarp\b/i;
// WebKit reports this name on any machine, so that pages cannot identify people by their GPU.
const HIDDEN = "Apple GPU";
// How long to wait after a failure for the event that the device was lost.
const LOST_MS = 500;

/** @type {Record<string, boolean>} */
const WITHOUT_FLOAT32 = {
  WEBGL_FORCE_F16_TEXTURES: true,
  WEBGL_RENDER_FLOAT32_CAPABLE: false,
  WEBGL_RENDER_FLOAT32_ENABLED: false,
};

/** The GPU's errors since `forgetRefused`. A refused kernel does not run, and leaves old numbers in its output. */
/** @type {GPUError[]} */
const refused = [];

/** The GPU refused a command of the backend. */
export class GPUError extends Error {
  /**
   * @param {string} message of the browser
   * @param {boolean} invalid whether the command is not valid; else the GPU is out of memory, or failed internally
   */
  constructor(message, invalid) {
    super(`the GPU refused a webgpu command, so the activations are wrong: ${message.trim().split("\n")[0]}`);
    this.stack = message.trim();
    this.invalid = invalid;
  }
}

/** @param {TF} tf */
export function isGPU(tf) {
  return ["webgl", "webgpu"].includes(tf.getBackend());
}

/**
 * The facts about a GPU backend, for the report; each is null if the backend has no such fact.
 *
 * @param {TF} tf
 */
export function gpuFacts(tf) {
  const [gl, device] = [contextOf(tf), deviceOf(tf)];
  const adapter = device && { ...plain(tf.backend().adapterInfo), ...plain(device.adapterInfo) };
  const renderer = gl ? rendererOf(gl) : adapter ? nameOf(adapter) : null;
  const named = renderer !== null && renderer !== HIDDEN;
  return {
    renderer: renderer === HIDDEN ? "hidden by the browser" : renderer,
    software: named ? SOFTWARE.test(renderer) || adapter?.isFallbackAdapter === true : null,
    // Not floatPrecision() or epsilon(), which are wrong on webgl.
    float32Textures: gl ? Boolean(tf.env().get("WEBGL_RENDER_FLOAT32_ENABLED")) : null,
  };
}

/**
 * Throws if webgl does not run under its flags; checked by what WebGL does, not by the values that TF.js reports.
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
        `the flag ${off.join("=")} leaves webgl without float32 textures: webgl would compute in half precision, but` +
          " be judged by the tolerances of single precision. Set WEBGL_FORCE_F16_TEXTURES=true instead, as webgl:f16 does",
      );
    }
    throw new UnavailableError(
      "the GPU cannot render to float32 textures, so webgl computes in half precision on it:" +
        " use the target webgl:f16",
    );
  }
  const version = contextOf(tf) instanceof WebGL2RenderingContext ? 2 : 1;
  checkFlags(flags, { WEBGL_FORCE_F16_TEXTURES: !float32, WEBGL_VERSION: version });
}

/**
 * Report the loss of the GPU, after which TF.js continues with zeros.
 *
 * @param {TF} tf
 */
export function watchGPU(tf) {
  contextOf(tf)?.canvas.addEventListener("webglcontextlost", reportContextLost);
  const device = deviceOf(tf);
  device?.lost.then(({ reason, message }) => {
    fault("devicelost", `the page's GPU device was lost (${reason}: ${message || "no reason given"})`);
  });
  device?.addEventListener("uncapturederror", ({ error }) => {
    refused.push(new GPUError(error.message, error.constructor.name === "GPUValidationError"));
  });
}

/**
 * Whether the GPU was lost, which may be the cause of a failure. A lost GPU is reported.
 *
 * @param {TF} tf
 * @returns {Promise<boolean>}
 */
export async function wasLost(tf) {
  if (contextOf(tf)?.isContextLost()) {
    reportContextLost();
    return true;
  }
  const device = deviceOf(tf);
  if (device === undefined) return false;
  const timeout = new Promise((resolve) => setTimeout(resolve, LOST_MS, false));
  return Promise.race([device.lost.then(() => true), timeout]);
}

/**
 * Throws if tensors may hold wrong numbers although nothing failed: the WebGL context is lost, or the GPU refused a
 * kernel. Reading from a lost WebGPU device fails by itself.
 *
 * @param {TF} tf
 */
export function checkGPU(tf) {
  if (contextOf(tf)?.isContextLost()) throw new Error("the WebGL context was lost");
  const error = refusal();
  if (error !== null) throw error;
}

/** The first error of the GPU since `forgetRefused`; null if there is none. */
export function refusal() {
  return refused[0] ?? null;
}

/** Drop the errors so far. */
export function forgetRefused() {
  refused.length = 0;
}

function reportContextLost() {
  fault("contextlost", "the page's WebGL context was lost (the GPU was reset, or is out of memory)");
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
 * A plain copy: the browser's object has its properties on the prototype.
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
