// @ts-check
/**
 * Prepares and checks the wasm backend: plain, with SIMD, with SIMD and threads.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Setup} Setup
 */

import { checkFlags } from "./flags.js";
import { requireSecureContext, UnavailableError } from "./unavailable.js";

const MIN_THREADS = 2;
const MAX_THREADS = 4;
// TF.js starts no more threads than half of the logical cores.
const CORES_FOR_EACH = 2;
// A module with a function that returns i8x16.splat(0).
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]);

/**
 * Prepare TF.js before the backend is created. Throws UnavailableError if the browser lacks what the flags need.
 *
 * @param {TF} tf
 * @param {string} directory
 * @param {Setup["flags"]} flags
 */
export function prepareWasm(tf, directory, flags) {
  if (tf.wasm === undefined) throw new Error("the scripts of TF.js did not define 'tf.wasm'");
  if (typeof WebAssembly === "undefined") throw new UnavailableError("the browser has no WebAssembly");
  if (flags.WASM_HAS_SIMD_SUPPORT && !WebAssembly.validate(SIMD)) {
    throw new UnavailableError("the browser's WebAssembly has no SIMD");
  }
  tf.wasm.setWasmPaths(directory);
  if (flags.WASM_HAS_MULTITHREAD_SUPPORT) prepareThreads(tf.wasm);
}

/** @param {NonNullable<TF["wasm"]>} wasm */
function prepareThreads(wasm) {
  requireSecureContext("shared memory");
  if (!globalThis.crossOriginIsolated) {
    throw new UnavailableError("wasm threads need a page that is cross-origin isolated, and the browser does not isolate this one");
  }
  const cores = navigator.hardwareConcurrency;
  wasm.setThreadsCount(Math.min(MAX_THREADS, Math.max(MIN_THREADS, cores)));
  const least = MIN_THREADS * CORES_FOR_EACH;
  if (cores < least) Object.defineProperty(navigator, "hardwareConcurrency", { value: least, configurable: true });
}

/**
 * Throws if the wasm in use does not match the flags. TF.js's flags only say what was requested, so this checks the
 * file that was loaded and the number of threads.
 *
 * @param {TF} tf
 * @param {Setup["flags"]} flags
 */
export function checkWasm(tf, flags) {
  const file = loadedFile();
  checkFlags(flags, {
    WASM_HAS_SIMD_SUPPORT: file.includes("-simd."),
    WASM_HAS_MULTITHREAD_SUPPORT: file.includes("-threaded-"),
  });
  const threads = tf.wasm?.getThreadsCount?.();
  if (flags.WASM_HAS_MULTITHREAD_SUPPORT && !(threads !== undefined && threads >= MIN_THREADS)) {
    throw new Error(
      `the backend was created without the requested threads: WASM_HAS_MULTITHREAD_SUPPORT is true, but the` +
        ` backend has ${threads ?? "an unknown number of"} threads instead of at least ${MIN_THREADS}`,
    );
  }
}

/** The name of the .wasm file that the backend was created from. */
function loadedFile() {
  const files = performance.getEntriesByType("resource").flatMap(({ name }) => /[^/]+\.wasm$/.exec(new URL(name).pathname) ?? []);
  const file = files.at(-1);
  if (file === undefined) throw new Error("the backend was created, but the browser lists no .wasm file that was loaded");
  return file;
}
