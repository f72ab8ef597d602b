// @ts-check
/**
 * Finds the layer at which TF.js refuses a model: runs the model again, then parts of it.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").RefusedLayer} RefusedLayer
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").Watched} Watched
 */

import { pick } from "./lists.js";
import { upload } from "./model_loading.js";

// No further run starts after this time: a model may be slow, and the job has a time limit.
const LIMIT_MS = 20_000;

/**
 * The layer at which a model that TF.js could load fails. If it does not fail again: the node that was computed when it
 * failed, or null for a layers model.
 *
 * `computable` is the number of taps, in the order of `chunks`, that are computed without an error.
 *
 * @param {TF} tf
 * @param {Model} model
 * @param {Map<string, HostTensor>[]} feeds
 * @param {Tap[][]} chunks
 * @returns {Promise<RefusedLayer | null>}
 */
export async function findRefusedLayer(tf, model, feeds, chunks) {
  const search = new Search(tf, model, performance.now() + LIMIT_MS);
  for (const feed of feeds) {
    if (search.over) break;
    const uploaded = upload(tf, feed);
    try {
      const found = await search.inFeed(uploaded, chunks);
      if (found !== null) return found;
    } finally {
      tf.dispose([...new Set(uploaded.values())]);
    }
  }
  return search.atError && { name: search.atError.name, op: search.atError.class, inputs: null };
}

class Search {
  /**
   * @param {TF} tf
   * @param {Model} model
   * @param {number} until
   */
  constructor(tf, model, until) {
    this.tf = tf;
    this.model = model;
    this.until = until;
    this.running = model.watch();
    // A shader that does not compile fails once: TF.js then keeps it.
    this.atError = this.running();
  }

  get over() {
    return performance.now() > this.until;
  }

  /**
   * @param {Map<string, Tensor>} feed
   * @param {Tap[][]} chunks
   * @returns {Promise<RefusedLayer | null>}
   */
  async inFeed(feed, chunks) {
    const { layer: wholeRun, message } = await this.watched(() => this.model.run(feed));
    const [computable, next] = await this.firstFailure(feed, chunks);
    if (next === null) return wholeRun && { ...(await this.describe(wholeRun, feed)), computable };
    // A run of one tap computes fewer layers beside the one that fails.
    const tapped = await this.watched(() => this.model.tap(feed, [next]));
    // TF.js refuses this tap too, but for something else: the error that is shown is that of the whole run.
    if (wholeRun !== null && message !== null && tapped.message !== null && tapped.message !== message) {
      return { ...(await this.describe(wholeRun, feed)), computable };
    }
    const layer = tapped.layer ?? wholeRun;
    const before = chunks.flat().slice(0, computable);
    const isSound = layer === null || this.model.computes(before, layer.name);
    const found = isSound ? this.model.layerOf(next) : layer;
    return found && { ...(await this.describe(found, feed)), computable };
  }

  /**
   * How many taps are computed before the first that fails, and that one; null if none fails.
   *
   * @param {Map<string, Tensor>} feed
   * @param {Tap[][]} chunks
   * @returns {Promise<[number, Tap | null]>}
   */
  async firstFailure(feed, chunks) {
    let before = 0;
    for (const taps of chunks) {
      if (this.over) break;
      if (!(await this.fails(feed, taps))) {
        before += taps.length;
        continue;
      }
      let [good, bad] = [0, taps.length];
      while (bad - good > 1 && !this.over) {
        const middle = (good + bad) >> 1;
        if (await this.fails(feed, taps.slice(0, middle))) bad = middle;
        else good = middle;
      }
      return [before + good, bad - good > 1 ? null : pick(taps, good)];
    }
    return [before, null];
  }

  /**
   * @param {Map<string, Tensor>} feed
   * @param {Tap[]} taps
   */
  async fails(feed, taps) {
    return (await this.failure(() => this.model.tap(feed, taps))) !== null;
  }

  /**
   * The layer that was being computed where `work` fails, and the error's message. The layer is null if `work` does not
   * fail, or before the first layer; the message is null if it does not fail.
   *
   * @param {() => Promise<Tensor[]>} work
   * @returns {Promise<{layer: Watched | null, message: string | null}>}
   */
  async watched(work) {
    this.running(); // forget what ran before
    const error = await this.failure(work);
    if (error === null) return { layer: null, message: null };
    return { layer: this.running(), message: error instanceof Error ? error.message : String(error) };
  }

  /**
   * The error of work by TF.js; null if there is none. Disposes of the tensors.
   *
   * @param {() => Promise<Tensor[]>} work
   */
  async failure(work) {
    try {
      this.tf.dispose([...new Set(await work())]);
      return null;
    } catch (error) {
      return error;
    }
  }

  /**
   * @param {Watched} layer
   * @param {Map<string, Tensor>} feed
   */
  async describe({ name, class: op, inputs }, feed) {
    return { name, op, inputs: inputs ?? (await this.model.inputsOf(name, feed).catch(() => null)) };
  }
}
