// @ts-check
/**
 * Loads TF.js and starts the requested backend, without a fallback to another.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Setup} Setup
 */

import { checkFlags, setFlags } from "./flags.js";
import { checkWebGL, gpuFacts, watchGPU } from "./gpu.js";
import { requireSecureContext, UnavailableError } from "./unavailable.js";
import { checkWasm, prepareWasm } from "./wasm.js";

const DIST = new URL("../dist/", location.href).href;

/**
 * Load the scripts one after another, as an app's page does; they define the global `tf`.
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
 * Start the requested backend under the requested flags. Throws UnavailableError if the browser or the machine lacks
 * it, and an Error if another backend or other flags are in use.
 *
 * @param {TF} tf
 * @param {Setup} setup
 */
export async function makeBackend(tf, { backend, flags, wasmDirectory }) {
  setFlags(tf, flags);
  if (backend === "wasm") prepareWasm(tf, DIST + wasmDirectory, flags);
  if (backend === "webgpu") await requireAdapter();
  const made = await tf.setBackend(backend);
  await tf.ready();
  if (!made || tf.getBackend() !== backend) {
    if (backend === "webgl" && !hasWebGL()) throw new UnavailableError("the browser provides no WebGL context");
    throw new Error(
      `TF.js does not use the requested backend ${backend} with the flags ${JSON.stringify(flags)}: setBackend() returned ${made},` +
        ` and the backend in use is ${tf.getBackend()}`,
    );
  }
  // TF.js changes some flags while it starts the backend.
  checkFlags(flags, Object.fromEntries(Object.keys(flags).map((name) => [name, tf.env().get(name)])));
  if (backend === "wasm") checkWasm(tf, flags);
  if (backend === "webgl") checkWebGL(tf, flags);
  watchGPU(tf);
}

/**
 * The facts about the backend, for the report.
 *
 * @param {TF} tf
 * @param {Setup} setup
 */
export function factsOf(tf, { flags }) {
  return {
    backend: tf.getBackend(),
    flags,
    ...gpuFacts(tf),
    tfjsVersion: tf.version.tfjs ?? tf.version["tfjs-core"] ?? null,
    userAgent: navigator.userAgent,
    isolated: globalThis.crossOriginIsolated,
  };
}

/** Throws UnavailableError if the browser has no WebGPU, or no adapter for it. */
async function requireAdapter() {
  requireSecureContext("WebGPU");
  const { gpu } = /** @type {{gpu?: {requestAdapter(): Promise<unknown>}}} */ (/** @type {unknown} */ (navigator));
  if (gpu === undefined) throw new UnavailableError("the browser has no WebGPU");
  if ((await gpu.requestAdapter()) === null) throw new UnavailableError("the browser has no adapter for WebGPU");
}

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return canvas.getContext("webgl2") !== null || document.createElement("canvas").getContext("webgl") !== null;
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
