// @ts-check
/**
 * Disposes of tensors after work, also where the work fails.
 *
 * A kernel of wasm that wrote outside its memory may make the disposal fail as well. That is not the cause.
 */

/** Errors of work whose tensors TF.js could not dispose of. @type {WeakSet<Error>} */
const undisposed = new WeakSet();

/**
 * The result of work, after `dispose`. If both throw, the error is that of the work.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @param {() => void} dispose
 * @returns {Promise<T>}
 */
export async function disposing(work, dispose) {
  let result;
  try {
    result = await work();
  } catch (error) {
    try {
      dispose();
    } catch {
      if (error instanceof Error) undisposed.add(error);
    }
    throw error;
  }
  dispose();
  return result;
}

/**
 * Whether TF.js could not dispose of the tensors of the work that failed with this error.
 *
 * @param {unknown} error
 */
export function isUndisposed(error) {
  return error instanceof Error && undisposed.has(error);
}
