// @ts-check
/**
 * One job, from its artifacts to its result.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Job} Job
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").ModelArtifacts} ModelArtifacts
 * @typedef {import("./types").Report} Report
 * @typedef {{tf: TF, job: Job, artifacts: ModelArtifacts, feeds: Map<string, HostTensor>[], report: Report}} Work
 */

import { fetchFeed, postActivations } from "./api.js";
import { checkContext } from "./backend.js";
import { pick } from "./lists.js";
import { fetchArtifacts, openModel, upload } from "./model.js";
import { timeRuns } from "./timing.js";
import { decode, encode } from "./wire.js";

/**
 * Do a job, and give its result for the server. Leaves no tensor behind, also when it throws.
 *
 * @param {TF} tf
 * @param {Job} job
 * @param {Report} report
 */
export async function runJob(tf, job, report) {
  const numTensorsBefore = tf.memory().numTensors;
  report("loading model");
  const indices = [...Array(job.feeds).keys()];
  const feeds = Promise.all(indices.map(async (index) => decode(await fetchFeed(job.job, index))));
  const start = performance.now();
  const artifacts = await fetchArtifacts(tf, job.artifacts);
  const fetchMs = performance.now() - start;
  const work = { tf, job, artifacts, feeds: await feeds, report };
  const timing = job.timing === null ? {} : await timeModel(work, job.timing);
  const { layers, buildMs } = job.timing === null || job.chunks.length > 0 ? await tapModel(work) : timing;
  return {
    loadMs: fetchMs + (timing.buildMs ?? buildMs ?? 0),
    firstMs: timing.firstMs ?? null,
    warmMs: timing.warmMs ?? [],
    memory: { ...tf.memory(), numTensorsBefore },
    model: { layers },
  };
}

/**
 * @param {Work} work
 * @param {NonNullable<Job["timing"]>} plan
 * @returns {Promise<{buildMs?: number, firstMs?: number, warmMs?: number[], layers?: unknown}>}
 */
async function timeModel(work, plan) {
  const { tf, report } = work;
  const first = tf.getBackend() === "webgl" || tf.getBackend() === "webgpu" ? "compiling shaders" : "first run";
  return withModel(work, async (model) => {
    const feed = upload(tf, pick(work.feeds, 0));
    try {
      return await timeRuns(model, feed, plan, { report, first });
    } finally {
      tf.dispose([...feed.values()]);
    }
  });
}

/**
 * All chunks of all feeds. The next one is computed while the one before is on its way.
 *
 * @param {Work} work
 */
async function tapModel(work) {
  const { tf, job, report } = work;
  const total = job.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  /** @type {Promise<void>} */
  let sending = Promise.resolve();
  let done = 0;
  return withModel(work, async (model) => {
    report("layers", done, total);
    for (const [index, chunk] of job.chunks.entries()) {
      for (const [feed, tensors] of work.feeds.entries()) {
        const parts = encode(await tapChunk(tf, model, tensors, chunk));
        checkContext(tf);
        checkSize(parts, chunk, job.chunkLimit);
        await sending;
        sending = postActivations(job.job, index, feed, parts);
        sending.catch(() => undefined); // it is thrown where it is awaited, after the next chunk
      }
      done += chunk.length;
      report("layers", done, total);
    }
    await sending;
    return {};
  });
}

/**
 * The activations of one chunk for one feed, read into memory.
 *
 * @param {TF} tf
 * @param {Model} model
 * @param {Map<string, HostTensor>} tensors
 * @param {Tap[]} chunk
 * @returns {Promise<Map<string, HostTensor>>}
 */
async function tapChunk(tf, model, tensors, chunk) {
  const feed = upload(tf, tensors);
  /** @type {Set<Tensor>} */
  let unique = new Set();
  try {
    const activations = await model.tap(feed, chunk);
    unique = new Set(activations);
    const read = [...unique].map(async (tensor) => /** @type {const} */ ([tensor, await tensor.data()]));
    const data = new Map(await Promise.all(read));
    return new Map(
      activations.map((tensor, at) => {
        const { dtype, shape } = tensor;
        return [pick(chunk, at).name, { dtype, shape, data: /** @type {HostTensor["data"]} */ (data.get(tensor)) }];
      }),
    );
  } finally {
    tf.dispose([...unique, ...feed.values()]);
  }
}

/**
 * Build a model of its own for `use`, and dispose of it after.
 *
 * @template T
 * @param {Work} work
 * @param {(model: Model) => Promise<T>} use
 * @returns {Promise<T & {buildMs: number, layers: unknown}>}
 */
async function withModel({ tf, artifacts, job }, use) {
  const start = performance.now();
  const model = await openModel(tf, artifacts, job.format);
  const buildMs = performance.now() - start;
  try {
    return { ...(await use(model)), buildMs, layers: model.describe() };
  } finally {
    model.dispose();
  }
}

/**
 * @param {Uint8Array[]} parts
 * @param {Tap[]} chunk
 * @param {number} limit
 */
function checkSize(parts, chunk, limit) {
  const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  if (bytes > limit) {
    const names = chunk.map(({ name }) => `'${name}'`).slice(0, 5).join(", ");
    throw new Error(`the activations of ${names}${chunk.length > 5 ? ", …" : ""} have ${bytes} bytes; this job takes ${limit} at once`);
  }
}
