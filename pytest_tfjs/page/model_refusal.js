// @ts-check
/**
 * What tells of the model: TF.js cannot load or run it on this backend. All else that fails in a job (a request, an
 * upload, the memory, the GPU, our own code) tells nothing of the model.
 */

import { GPUError } from "./gpu.js";
import { KernelError } from "./kernels.js";

// In the words of the browsers, and of TF.js where WebGL gives it nothing.
const MEMORY = /memory|allocation|array (buffer )?length|unable to create webgl/i;

/** What TF.js threw when it loaded or ran a model. @type {WeakSet<object>} */
const thrown = new WeakSet();

/**
 * What TF.js gives for a model; what it throws is known as its own from then on.
 *
 * @template T
 * @param {() => T | Promise<T>} work nothing but calls of TF.js with the model
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
 * Whether an error tells that TF.js cannot load or run the model.
 *
 * @param {unknown} error
 */
export function isRefusal(error) {
  if (error instanceof KernelError) return true;
  if (error instanceof GPUError) return error.invalid;
  if (!(error instanceof Error) || error instanceof WebAssembly.RuntimeError) return false;
  return thrown.has(error) && !MEMORY.test(error.message);
}
