// @ts-check
/**
 * TF.js on the backend asked for, and no other.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Setup} Setup
 */

import { fault } from "./events.js";

const DIST = new URL("../dist/", location.href).href;
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render|\bwarp\b/i;
const MAX_THREADS = 4;

/**
 * Load the scripts one after another, as an app's page does; they leave `tf` behind.
 *
 * @param {string[]} scripts
 * @returns {Promise<TF>}
 */
export async function loadTF(scripts) {
  // TF.js's bundles for old browsers assign this undeclared variable, and fall back on Function(), which the page's
  // security policy forbids.
  Object.assign(globalThis, { regeneratorRuntime: undefined });
  for (const path of scripts) await loadScript(DIST + path);
  const tf = /** @type {{tf?: TF}} */ (globalThis).tf;
  if (tf === undefined) throw new Error(`the scripts of TF.js did not define 'tf': ${scripts.join(", ")}`);
  return tf;
}

/**
 * Make the backend under the flags asked for. Throws where anything else came of it, with what was asked for
 * and what there is.
 *
 * @param {TF} tf
 * @param {Setup} setup
 */
export async function makeBackend(tf, { backend, flags, wasmDirectory }) {
  for (const [name, value] of Object.entries(flags)) tf.env().set(name, value);
  if (backend === "wasm") prepareWasm(tf, DIST + wasmDirectory, flags);
  const made = await tf.setBackend(backend);
  await tf.ready();
  if (!made || tf.getBackend() !== backend) {
    throw new Error(
      `the backend asked for is ${backend}, with the flags ${JSON.stringify(flags)}; setBackend() gave ${made},` +
        ` and the backend there is ${tf.getBackend()}`,
    );
  }
  checkFlags(tf, flags);
  contextOf(tf)?.canvas.addEventListener("webglcontextlost", () => tellIfLost(tf));
}

/**
 * Tell that the GPU was lost, if it was: whatever fails then fails of that.
 *
 * @param {TF} tf
 */
export function tellIfLost(tf) {
  if (contextOf(tf)?.isContextLost()) {
    fault("contextlost", "its WebGL context was lost (the GPU was reset, or is out of memory)");
  }
}

/**
 * Throws where a flag has not the value that was set: TF.js changes some while it makes the backend.
 *
 * @param {TF} tf
 * @param {Setup["flags"]} flags
 */
function checkFlags(tf, flags) {
  const other = Object.entries(flags).filter(([name, value]) => tf.env().get(name) !== value);
  if (other.length > 0) {
    const pairs = other.map(([name, value]) => `${name} is ${tf.env().get(name)}, ${value} was asked for`);
    throw new Error(`the backend was made, but not under the flags asked for: ${pairs.join("; ")}`);
  }
}

/**
 * What the backend runs on, for the report.
 *
 * @param {TF} tf
 * @param {Setup} setup
 */
export function factsOf(tf, { flags }) {
  const gl = contextOf(tf);
  const renderer = gl ? rendererOf(gl) : adapterOf(tf);
  return {
    backend: tf.getBackend(),
    flags,
    renderer,
    software: renderer === null ? null : SOFTWARE.test(renderer),
    // Not floatPrecision() or epsilon(), which are wrong on webgl.
    float32Textures: gl ? Boolean(tf.env().get("WEBGL_RENDER_FLOAT32_ENABLED")) : null,
    tfjsVersion: tf.version.tfjs ?? tf.version["tfjs-core"] ?? null,
    userAgent: navigator.userAgent,
    isolated: globalThis.crossOriginIsolated,
  };
}

/**
 * Throws where the WebGL context is lost: reading from it then gives zeros and no error.
 *
 * @param {TF} tf
 */
export function checkContext(tf) {
  if (contextOf(tf)?.isContextLost()) throw new Error("the WebGL context was lost");
}

/** @param {TF} tf */
export function isGPU(tf) {
  return ["webgl", "webgpu"].includes(tf.getBackend());
}

/** @param {TF} tf */
function contextOf(tf) {
  return tf.getBackend() === "webgl" ? tf.backend().gpgpu?.gl : undefined;
}

/** @param {WebGL2RenderingContext} gl */
function rendererOf(gl) {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
}

/** @param {TF} tf */
function adapterOf(tf) {
  const info = tf.getBackend() === "webgpu" ? tf.backend().adapterInfo : undefined;
  const parts = [info?.vendor, info?.architecture, info?.device, info?.description].filter(Boolean);
  return info === undefined ? null : parts.join(" ") || "unknown";
}

/**
 * @param {TF} tf
 * @param {string} directory
 * @param {Setup["flags"]} flags
 */
function prepareWasm(tf, directory, flags) {
  if (tf.wasm === undefined) throw new Error("the scripts of TF.js did not define 'tf.wasm'");
  tf.wasm.setWasmPaths(directory);
  if (flags.WASM_HAS_MULTITHREAD_SUPPORT) {
    // Without a count TF.js takes it from the number of cores, and with one core runs without threads.
    tf.wasm.setThreadsCount(Math.min(MAX_THREADS, Math.max(2, navigator.hardwareConcurrency)));
  }
}

/**
 * @param {string} src
 * @returns {Promise<void>}
 */
function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = () => resolve();
    script.onerror = () => reject(new Error(`the page could not load ${src}`));
    document.head.append(script);
  });
}
