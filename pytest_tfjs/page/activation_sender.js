// @ts-check
/**
 * Reads activations from the backend, sends each to the server and disposes of it.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Job} Job
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {typeof import("./uploads.js")} Uploads
 */

import { checkGPU, isGPU } from "./gpu.js";
import { bytesOf, plan } from "./safetensors.js";

// The least time between two reports of progress.
const REPORT_MS = 100;

/**
 * Read activations, send each as soon as it is read and dispose of it. The promise `arrived` settles when the server has all.
 *
 * @param {TF} tf
 * @param {Pick<Uploads, "announce" | "send" | "flush">} uploads
 * @param {{job: Pick<Job, "job" | "chunkLimit">, group: number, feed: number}} what
 * @param {Map<string, Tensor>} activations
 * @param {(read: number) => void} report reports how many were read so far
 */
export async function sendActivations(tf, uploads, { job, group, feed }, activations, report) {
  const read = readerOf(tf, [...new Set(activations.values())]);
  const described = [...activations].map(async ([name, tensor]) => {
    const { dtype, shape } = tensor;
    return /** @type {const} */ ([name, dtype === "string" ? { dtype, shape, data: await read(tensor) } : { dtype, shape }]);
  });
  const { head, order, bytes } = plan(new Map(await Promise.all(described)));
  checkSize(bytes, [...activations.keys()], job.chunkLimit);
  const { arrived } = uploads.announce({ job: job.job, chunk: group, feed, bytes });
  uploads.send(head);
  let reportedAt = performance.now();
  const left = countUses(activations);
  for (const [at, name] of order.entries()) {
    const tensor = /** @type {Tensor} */ (activations.get(name));
    uploads.send(bytesOf({ dtype: tensor.dtype, shape: tensor.shape, data: await read(tensor) }));
    const uses = Number(left.get(tensor)) - 1;
    left.set(tensor, uses);
    // Once its bytes are sent a tensor is not needed. Disposing of a tensor twice does nothing.
    if (uses === 0) tensor.dispose();
    if (performance.now() - reportedAt < REPORT_MS) continue;
    reportedAt = performance.now();
    report(at + 1);
  }
  uploads.flush();
  checkGPU(tf);
  return { arrived };
}

/**
 * The number of names of each tensor.
 *
 * @param {Map<string, Tensor>} activations
 */
function countUses(activations) {
  /** @type {Map<Tensor, number>} */
  const uses = new Map();
  for (const tensor of activations.values()) uses.set(tensor, (uses.get(tensor) ?? 0) + 1);
  return uses;
}

/**
 * A function that reads tensors. A GPU is fastest where all reads are requested at once. Elsewhere reading is a copy,
 * so each tensor is read when its turn comes, while the one before is being sent.
 *
 * @param {TF} tf
 * @param {Tensor[]} tensors
 * @returns {(tensor: Tensor) => Promise<HostTensor["data"]>}
 */
function readerOf(tf, tensors) {
  if (!isGPU(tf)) return (tensor) => tensor.data();
  const reads = new Map(tensors.map((tensor) => [tensor, tensor.data()]));
  for (const read of reads.values()) read.catch(() => undefined); // each is thrown where it is awaited
  return (tensor) => /** @type {Promise<HostTensor["data"]>} */ (reads.get(tensor));
}

/**
 * @param {number} bytes
 * @param {string[]} names
 * @param {number} limit
 */
function checkSize(bytes, names, limit) {
  if (bytes > limit) {
    const some = names.slice(0, 5).map((name) => `'${name}'`).join(", ");
    const more = names.length > 5 ? ", …" : "";
    throw new Error(`the activations of ${some}${more} have ${bytes} bytes; this job can send at most ${limit} bytes at once`);
  }
}
