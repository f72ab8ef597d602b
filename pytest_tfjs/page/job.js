// @ts-check
/**
 * Does one job: loads the model, runs it, sends activations, times and the result.
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
 * @typedef {{tf: TF, model: Model, aloneRuns: AloneRuns | null, sender: Sender, changed: Set<string>}} Tools `changed`: inputs
 * @typedef {{tf: TF, job: Job, artifacts: ModelArtifacts, feeds: Promise<Map<string, HostTensor>[]>, report: Report}} Work
 */

import { fetchFeed, fetchReferences } from "./api.js";
import { disposing } from "./disposal.js";
import { FedTensors } from "./fed_tensors.js";
import { withFloatsOnGPU } from "./forwarding.js";
import { GPUError, checkGPU, forgetRefused, isGPU, refusal } from "./gpu.js";
import { AloneRuns } from "./alone.js";
import { KernelError, explain, registeredKernels, unregistered } from "./kernels.js";
import { pick } from "./lists.js";
import { nodeOrWeightIn } from "./graph_loading.js";
import { findUnloadableLayer, inputIn } from "./layers_loading.js";
import { fetchArtifacts, openModel, upload } from "./model_loading.js";
import { isRefusal, setRefusedLayer } from "./model_refusal.js";
import { findRefusedLayer } from "./refusal_search.js";
import { sendActivations } from "./activation_sender.js";
import { timeRuns } from "./timing.js";
import * as uploads from "./uploads.js";
import { decode } from "./safetensors.js";

/**
 * Do a job and return its result for the server. Disposes of all tensors, also where it throws.
 *
 * @param {TF} tf
 * @param {Job} job
 * @param {Report} report
 */
export async function runJob(tf, job, report) {
  const numTensorsBefore = tf.memory().numTensors;
  // Where TF.js throws, the scope disposes of the tensors that it leaves; variables are in no scope.
  tf.engine().startScope("job");
  forgetRefused();
  const result = await disposing(() => performed(tf, job, report), () => tf.engine().endScope());
  return { ...result, memory: { ...tf.memory(), numTensorsBefore } };
}

/**
 * @param {TF} tf
 * @param {Job} job
 * @param {Report} report
 */
async function performed(tf, job, report) {
  try {
    const result = await perform(tf, job, report);
    checkGPU(tf);
    return result;
  } catch (error) {
    uploads.reset();
    const cause = refusal() ?? error; // errors that follow from a refused kernel are not the cause
    return disposing(() => Promise.reject(cause), () => tf.disposeVariables());
  }
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
  feeds.catch(() => undefined); // the error is thrown where `feeds` is awaited
  const start = performance.now();
  const artifacts = await fetchArtifacts(tf, job.artifacts, { fresh: job.timing !== null });
  const fetchMs = performance.now() - start;
  const work = { tf, job, artifacts, feeds, report };
  const timing = job.timing === null && job.plainRuns === 0 ? {} : await runPlainly(work);
  const tapped = job.timing === null || job.chunks.length > 0 ? await tapModel(work) : null;
  const { layers, buildMs } = tapped ?? timing;
  return {
    notAlone: tapped?.notAlone ?? [],
    overwrites: tapped?.overwrites ?? [],
    changedFeeds: tapped?.changedFeeds ?? [],
    withoutMask: tapped?.withoutMask ?? [],
    loadMs: fetchMs + (timing.buildMs ?? buildMs ?? 0),
    firstMs: timing.firstMs ?? null,
    warmMs: timing.warmMs ?? [],
    model: { layers },
  };
}

/**
 * Run a model as an app does, reading only its outputs: for its times, and to send the outputs.
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
    await withFloatsOnGPU(tf, model.inShapes, () => sendPlainRuns(work, model, feeds));
    return times;
  });
}

/**
 * @param {Work} work
 * @param {Model} model
 * @param {Map<string, HostTensor>[]} feeds
 */
async function sendPlainRuns(work, model, feeds) {
  const { tf, job, report } = work;
  for (let run = 0; run < job.plainRuns; run++) {
    for (const [at, tensors] of feeds.entries()) {
      report("outputs", at, feeds.length);
      await withFeed(tf, tensors, (feed) => sendOutputs(work, model, feed, { group: run, feed: at }));
    }
  }
}

/**
 * Run a model once and send its outputs, under the names of their layers.
 *
 * @param {Work} work
 * @param {Model} model
 * @param {Map<string, Tensor>} feed
 * @param {{group: number, feed: number}} where
 */
async function sendOutputs({ tf, job }, model, feed, where) {
  model.reset();
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
 * Read all chunks of all feeds, and run each of their layers alone where the job asks for it.
 *
 * @param {Work} work
 */
async function tapModel(work) {
  const { tf, job, report } = work;
  return withModel(work, async (model) => {
    const feeds = await work.feeds;
    const aloneRuns = job.alone ? new AloneRuns(tf, model, job, (feed, names) => fetchDecoded(job, feed, names)) : null;
    const sender = new Sender(work);
    /** @type {Set<string>} */
    const changed = new Set();
    report("layers", 0, sender.total);
    await withFloatsOnGPU(tf, model.inShapes, () => tapChunks(work, { tf, model, aloneRuns, sender, changed }, feeds));
    await sender.sent.arrived;
    return {
      notAlone: aloneRuns?.failures(),
      overwrites: aloneRuns?.overwrites(),
      changedFeeds: [...changed],
      withoutMask: aloneRuns?.withoutMask(),
    };
  });
}

/**
 * @param {Work} work
 * @param {Tools} tools
 * @param {Map<string, HostTensor>[]} feeds
 */
async function tapChunks({ tf, job, report }, tools, feeds) {
  const { sender } = tools;
  for (const [chunk, taps] of job.chunks.entries()) {
    for (const [feed, tensors] of feeds.entries()) {
      const uploaded = new FedTensors(tf, tensors);
      try {
        await tapChunk(tools, uploaded, taps, { chunk, feed });
      } finally {
        uploaded.dispose();
      }
    }
    sender.done += taps.length;
    report("layers", sender.done, sender.total);
  }
}

/**
 * @param {Job} job
 * @param {number} feed
 * @param {string[]} names
 */
async function fetchDecoded(job, feed, names) {
  return decode(await fetchReferences(job.job, feed, names));
}

/**
 * @param {Tools} tools
 * @param {FedTensors} input
 * @param {Tap[]} taps
 * @param {{chunk: number, feed: number}} where
 */
async function tapChunk({ tf, model, aloneRuns, sender, changed }, input, taps, { chunk, feed }) {
  const started = await withActivations(tf, model, input.tensors, taps, async (activations) => {
    const begun = aloneRuns?.start(taps, feed, activations);
    await sender.send("layers", activations, { group: aloneRuns === null ? chunk : 2 * chunk, feed });
    return begun;
  });
  for (const name of input.restore(input.tensors.keys())) changed.add(name);
  if (aloneRuns === null || started === undefined) return;
  const alone = await aloneRuns.run(started, input, (done) => sender.reportStage("layers alone", done));
  await withTensors(tf, alone, () => sender.send("layers alone", alone, { group: 2 * chunk + 1, feed }));
}

/** Sends one group after another: the next one is computed while the one before is being sent. */
class Sender {
  /** @param {Work} work */
  constructor({ tf, job, report }) {
    this.tf = tf;
    this.job = job;
    this.report = report;
    this.total = job.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    this.done = 0;
    this.sent = { arrived: Promise.resolve() };
  }

  /**
   * @param {string} stage
   * @param {Map<string, Tensor>} tensors
   * @param {{group: number, feed: number}} where groups are counted from the first chunk
   */
  async send(stage, tensors, { group, feed }) {
    await this.sent.arrived;
    const what = { job: this.job, group: this.job.plainRuns + group, feed };
    this.sent = await sendActivations(this.tf, uploads, what, tensors, (read) => this.reportStage(stage, read));
  }

  /**
   * @param {string} stage
   * @param {number} more in addition to those done
   */
  reportStage(stage, more) {
    this.report(stage, this.done + more, this.total);
  }
}

/**
 * Compute the activations of a chunk for `use`, and dispose of them afterwards.
 *
 * @template T
 * @param {TF} tf
 * @param {Model} model
 * @param {Map<string, Tensor>} feed
 * @param {Tap[]} taps
 * @param {(activations: Map<string, Tensor>) => Promise<T>} use
 */
async function withActivations(tf, model, feed, taps, use) {
  model.reset();
  const activations = await model.tap(feed, taps);
  return withTensors(tf, new Map(activations.map((tensor, at) => [pick(taps, at).name, tensor])), use);
}

/**
 * Upload a feed for `use`, and dispose of it afterwards.
 *
 * @template T
 * @param {TF} tf
 * @param {Map<string, HostTensor>} tensors
 * @param {(feed: Map<string, Tensor>) => Promise<T>} use
 */
async function withFeed(tf, tensors, use) {
  return withTensors(tf, upload(tf, tensors), use);
}

/**
 * Call `use` with tensors, and dispose of them afterwards.
 *
 * @template T
 * @param {TF} tf
 * @param {Map<string, Tensor>} tensors
 * @param {(tensors: Map<string, Tensor>) => Promise<T>} use
 */
async function withTensors(tf, tensors, use) {
  return disposing(() => use(tensors), () => tf.dispose([...new Set(tensors.values())]));
}

/**
 * Build a model for `use`, and dispose of it afterwards.
 *
 * @template T
 * @param {Work} work
 * @param {(model: Model) => Promise<T>} use
 * @returns {Promise<T & {buildMs: number, layers: unknown}>}
 */
async function withModel(work, use) {
  const { tf, artifacts, job } = work;
  const start = performance.now();
  const model = await openModel(tf, artifacts, job.format).catch(async (error) => {
    throw await withUnloadable(work, error);
  });
  const buildMs = performance.now() - start;
  const used = async () => {
    try {
      const lacking = model.lacks();
      if (lacking.length > 0) throw kernelError(work, lacking);
      return { ...(await use(model)), buildMs, layers: model.describe() };
    } catch (error) {
      throw await withLayer(work, model, error);
    }
  };
  return disposing(used, () => model.dispose());
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
 * The name of the compared layer that a node belongs to; the node's own where it is not compared.
 *
 * @param {Job} job
 * @param {string} name
 */
function rowOf({ chunks, outputs }, name) {
  const tap = [...chunks.flat(), ...outputs].find(({ address: { node } }) => typeof node === "string" && node.replace(/:.*/, "") === name);
  return tap?.name ?? name;
}

/**
 * The error of a model that does not load, with the layer or weight at which it occurs.
 *
 * @param {Work} work
 * @param {unknown} error
 */
async function withUnloadable(work, error) {
  const { tf, artifacts, job } = work;
  // Only complex weights need a kernel.
  const weight = artifacts.weightSpecs?.find(({ dtype }) => dtype === "complex64");
  if (unregistered(error) !== null) return explained(work, error, weight?.name ?? null);
  if (isRefusal(error) && job.format === "layers") {
    setRefusedLayer(error, await findUnloadableLayer(tf, artifacts, () => openModel(tf, artifacts, "layers")));
  } else if (isRefusal(error)) {
    setRefusedLayer(error, nodeOrWeightIn(artifacts, String(error)));
  }
  return error;
}

/**
 * The error, with the layer at which TF.js throws it. To find the layer the model runs again.
 *
 * @param {Work} work
 * @param {Model} model
 * @param {unknown} error
 */
async function withLayer(work, model, error) {
  if (error instanceof KernelError || error instanceof GPUError || !(isRefusal(error) || unregistered(error))) return error;
  const { tf, job } = work;
  const feeds = await work.feeds;
  const found = await withFloatsOnGPU(tf, model.inShapes, () => findRefusedLayer(tf, model, feeds, job.chunks));
  if (unregistered(error) !== null) return explained(work, error, found?.name ?? null);
  setRefusedLayer(error, found ? { ...found, name: rowOf(job, found.name) } : inputIn(model, error));
  return error;
}

/**
 * The error, or a KernelError with an explanation where it says that a kernel is missing.
 *
 * @param {Work} work
 * @param {unknown} error
 * @param {string | null} layer that needs it
 */
function explained(work, error, layer) {
  const missing = unregistered(error);
  const stack = error instanceof Error ? error.stack : undefined;
  return missing === null ? error : kernelError(work, [{ layer, kernel: missing.kernel }], stack);
}
