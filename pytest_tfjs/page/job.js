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
 * @typedef {import("./types").Need} Need
 * @typedef {import("./types").Report} Report
 * @typedef {{tf: TF, job: Job, artifacts: ModelArtifacts, feeds: Promise<Map<string, HostTensor>[]>, report: Report}} Work
 */

import { fetchFeed } from "./api.js";
import { isGPU } from "./backend.js";
import { KernelError, explain, registeredKernels, unregistered } from "./kernels.js";
import { pick } from "./lists.js";
import { fetchArtifacts, openModel, upload } from "./model.js";
import { sendActivations } from "./sending.js";
import { timeRuns } from "./timing.js";
import * as uploads from "./uploads.js";
import { decode } from "./wire.js";

/**
 * Do a job, and give its result for the server. Leaves no tensor behind, also when it throws.
 *
 * @param {TF} tf
 * @param {Job} job
 * @param {Report} report
 */
export async function runJob(tf, job, report) {
  const numTensorsBefore = tf.memory().numTensors;
  // What TF.js leaves behind where it throws goes with the scope, and the variables, which no scope holds, after it.
  tf.engine().startScope("job");
  let result;
  try {
    result = await perform(tf, job, report);
  } catch (error) {
    uploads.reset();
    tf.disposeVariables();
    throw error;
  } finally {
    tf.engine().endScope();
  }
  return { ...result, memory: { ...tf.memory(), numTensorsBefore } };
}

/**
 * @param {TF} tf
 * @param {Job} job
 * @param {Report} report
 */
async function perform(tf, job, report) {
  report("loading model");
  const indices = [...Array(job.feeds).keys()];
  const feeds = Promise.all(indices.map(async (index) => decode(await fetchFeed(job.job, index))));
  feeds.catch(() => undefined); // it is thrown where it is awaited, after the model is built
  const start = performance.now();
  const artifacts = await fetchArtifacts(tf, job.artifacts, { fresh: job.timing !== null });
  const fetchMs = performance.now() - start;
  const work = { tf, job, artifacts, feeds, report };
  const timing = job.timing === null && job.plainRuns === 0 ? {} : await runPlainly(work);
  const { layers, buildMs } = job.timing === null || job.chunks.length > 0 ? await tapModel(work) : timing;
  return {
    loadMs: fetchMs + (timing.buildMs ?? buildMs ?? 0),
    firstMs: timing.firstMs ?? null,
    warmMs: timing.warmMs ?? [],
    model: { layers },
  };
}

/**
 * What is told of a model that nothing is read from but its outputs, as in an app: its times, and its outputs.
 *
 * @param {Work} work
 * @returns {Promise<{buildMs?: number, firstMs?: number, warmMs?: number[], layers?: unknown}>}
 */
async function runPlainly(work) {
  const { tf, job, report } = work;
  const first = isGPU(tf) ? "compiling shaders" : "first run";
  return withModel(work, async (model) => {
    const feeds = await work.feeds;
    const times = job.timing === null ? {} : await withFeed(tf, pick(feeds, 0), (feed) =>
      timeRuns(model, feed, /** @type {NonNullable<Job["timing"]>} */ (job.timing), { report, first }),
    );
    for (let run = 0; run < job.plainRuns; run++) {
      for (const [at, tensors] of feeds.entries()) {
        report("outputs", at, feeds.length);
        await withFeed(tf, tensors, (feed) => sendOutputs(work, model, feed, { group: run, feed: at }));
      }
    }
    return times;
  });
}

/**
 * Run a model once and send its outputs, under the names of the rows that they are.
 *
 * @param {Work} work
 * @param {Model} model
 * @param {Map<string, Tensor>} feed
 * @param {{group: number, feed: number}} where
 */
async function sendOutputs({ tf, job }, model, feed, where) {
  const outputs = await model.run(feed);
  try {
    const places = model.places(job.outputs);
    const named = job.outputs.flatMap(({ name }, at) => {
      const place = pick(places, at);
      return place < 0 ? [] : [/** @type {const} */ ([name, pick(outputs, place)])];
    });
    const { arrived } = await sendActivations(tf, uploads, { job, ...where }, new Map(named), () => undefined);
    await arrived;
  } finally {
    tf.dispose([...new Set(outputs)]);
  }
}

/**
 * All chunks of all feeds. The next one is computed while the one before is on its way.
 *
 * @param {Work} work
 */
async function tapModel(work) {
  const { tf, job, report } = work;
  const total = job.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  return withModel(work, async (model) => {
    const feeds = await work.feeds;
    let done = 0;
    let sent = { arrived: Promise.resolve() };
    report("layers", done, total);
    for (const [chunk, taps] of job.chunks.entries()) {
      const group = job.plainRuns + chunk;
      for (const [feed, tensors] of feeds.entries()) {
        await withActivations(tf, model, tensors, taps, async (activations) => {
          await sent.arrived;
          const before = done;
          sent = await sendActivations(tf, uploads, { job, group, feed }, activations, (read) => report("layers", before + read, total));
        });
      }
      done += taps.length;
      report("layers", done, total);
    }
    await sent.arrived;
    return {};
  });
}

/**
 * Compute the activations of a chunk for `use`, and dispose of them after.
 *
 * @param {TF} tf
 * @param {Model} model
 * @param {Map<string, HostTensor>} tensors
 * @param {Tap[]} taps
 * @param {(activations: Map<string, Tensor>) => Promise<void>} use
 */
async function withActivations(tf, model, tensors, taps, use) {
  await withFeed(tf, tensors, async (feed) => {
    const activations = await model.tap(feed, taps);
    try {
      await use(new Map(activations.map((tensor, at) => [pick(taps, at).name, tensor])));
    } finally {
      tf.dispose([...new Set(activations)]);
    }
  });
}

/**
 * A feed in the backend for `use`, disposed of after.
 *
 * @template T
 * @param {TF} tf
 * @param {Map<string, HostTensor>} tensors
 * @param {(feed: Map<string, Tensor>) => Promise<T>} use
 */
async function withFeed(tf, tensors, use) {
  const feed = upload(tf, tensors);
  try {
    return await use(feed);
  } finally {
    tf.dispose([...feed.values()]);
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
async function withModel(work, use) {
  const { tf, artifacts, job } = work;
  const start = performance.now();
  const model = await openModel(tf, artifacts, job.format).catch((error) => {
    // Of weights only complex ones take a kernel.
    const weight = artifacts.weightSpecs?.find(({ dtype }) => dtype === "complex64");
    throw inWords(work, error, weight?.name ?? null);
  });
  const buildMs = performance.now() - start;
  try {
    const lacking = model.lacks();
    if (lacking.length > 0) throw kernelError(work, lacking);
    return { ...(await use(model)), buildMs, layers: model.describe() };
  } catch (error) {
    throw await withLayer(work, model, error);
  } finally {
    model.dispose();
  }
}

/**
 * @param {Work} work
 * @param {Need[]} lacking
 * @param {string} [stack] of the call that failed
 */
function kernelError({ tf, job }, lacking, stack) {
  const named = lacking.map(({ layer, kernel }) => ({ layer: layer && rowOf(job, layer), kernel }));
  return new KernelError(explain(named, tf.getBackend(), registeredKernels(tf)), stack);
}

/**
 * The name of the row that a node or layer is compared under; its own where it is not compared.
 *
 * @param {Job} job
 * @param {string} name
 */
function rowOf({ chunks }, name) {
  const tap = chunks.flat().find(({ address: { node } }) => typeof node === "string" && node.replace(/:.*/, "") === name);
  return tap?.name ?? name;
}

/**
 * An error with the layer in it, where it says that a kernel is missing: the model is run once more and watched.
 *
 * @param {Work} work
 * @param {Model} model
 * @param {unknown} error
 */
async function withLayer(work, model, error) {
  if (unregistered(error) === null) return error;
  const running = model.watch();
  try {
    const tensors = pick(await work.feeds, 0);
    await withFeed(work.tf, tensors, async (feed) => work.tf.dispose(await model.run(feed)));
    return inWords(work, error, null);
  } catch (again) {
    return inWords(work, error, unregistered(again) && running());
  }
}

/**
 * An error in our words, where it says that a kernel is missing.
 *
 * @param {Work} work
 * @param {unknown} error
 * @param {string | null} layer that needs it
 */
function inWords(work, error, layer) {
  const missing = unregistered(error);
  const stack = error instanceof Error ? error.stack : undefined;
  return missing === null ? error : kernelError(work, [{ layer, kernel: missing.kernel }], stack);
}
