// @ts-check
/**
 * Makes the GPU compute floats of every size; shapes stay where an app computes them.
 *
 * webgl and webgpu compute small tensors in JavaScript ("CPU forwarding") where none of them is on the GPU yet. An app
 * whose feeds are larger runs the kernels of the GPU instead, and a test has to run these. Shapes are small in every app.
 *
 * @typedef {import("./types").TF} TF
 */

const FLOATS = new Set(["float32", "complex64"]);
const GPU = new Set(["webgl", "webgpu"]);

/**
 * Do `work`, in which the GPU computes all floats but those of shapes. TF.js decides where all else is computed.
 *
 * @template T
 * @param {TF} tf
 * @param {() => boolean} inShapes whether what is being computed is a shape
 * @param {() => Promise<T>} work
 */
export async function withFloatsOnGPU(tf, inShapes, work) {
  const name = tf.getBackend();
  if (!GPU.has(name)) return work();
  const backend = tf.backend();
  const original = backend.shouldExecuteOnCPU;
  if (original === undefined) {
    throw new Error(`the backend ${name} of this TF.js has no shouldExecuteOnCPU(), which decides where small tensors are computed`);
  }
  backend.shouldExecuteOnCPU = function (inputs, ...rest) {
    const isData = inputs.some(({ dtype }) => FLOATS.has(dtype)) && !inShapes();
    return !isData && original.call(this, inputs, ...rest);
  };
  try {
    return await work();
  } finally {
    backend.shouldExecuteOnCPU = original;
  }
}
