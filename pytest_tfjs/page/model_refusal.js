// @ts-check
/**
 * Distinguishes errors of the model from all other errors.
 *
 * An error of the model means that TF.js cannot load or run it on this backend. Other errors come from a request, an
 * upload, the memory, the GPU, or this code.
 *
 * @typedef {import("./types").RefusedLayer} RefusedLayer
 */

import { GPUError } from "./gpu.js";
import { KernelError } from "./kernels.js";

// The messages of browsers, and of TF.js if it gets no WebGL context.
const MEMORY = /memory|allocation|array (buffer )?length|unable to create webgl/i;

/** The errors that TF.js threw when it loaded or ran a model. @type {WeakSet<object>} */
const thrown = new WeakSet();

/** The layer of each of these errors, if it was found. @type {WeakMap<object, RefusedLayer>} */
const layers = new WeakMap();

/**
 * The result of work by TF.js on a model. An error that it throws is remembered as one of TF.js.
 *
 * @template T
 * @param {() => T | Promise<T>} work calls TF.js with the model, and nothing else
 * @returns {Promise<T>}
 */
export async function byTF(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error) thrown.add(error);
    throw error;
  }
}

/**
 * Whether an error means that TF.js cannot load or run the model.
 *
 * @param {unknown} error
 */
export function isRefusal(error) {
  if (error instanceof KernelError) return true;
  if (error instanceof GPUError) return error.invalid;
  if (!(error instanceof Error) || error instanceof WebAssembly.RuntimeError) return false;
  return thrown.has(error) && !MEMORY.test(error.message);
}

/**
 * Remember at which layer TF.js threw an error.
 *
 * @param {unknown} error
 * @param {RefusedLayer | null} layer
 */
export function setRefusedLayer(error, layer) {
  if (error instanceof Error && layer !== null) layers.set(error, layer);
}

/**
 * The layer at which TF.js threw an error; null if it is not known.
 *
 * @param {unknown} error
 */
export function refusedLayerOf(error) {
  return (error instanceof Error && layers.get(error)) || null;
}
