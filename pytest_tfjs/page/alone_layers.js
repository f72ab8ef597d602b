// @ts-check
/**
 * Calls one layer of a layers model alone, following its plan.
 *
 * `models/alone/layers_planner.py` writes the plans.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Fed} Fed
 * @typedef {import("./types").Layer} Layer
 * @typedef {import("./types").LayersPlan} LayersPlan
 * @typedef {import("./types").Mask} Mask
 * @typedef {import("./types").Step} Step
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {(path: string[]) => Layer} FindLayer
 */

import { CannotRunAloneError } from "./cannot_run_alone.js";
import { pick, toList } from "./lists.js";

// These layers use the mask that they are called with; all others only pass it on.
const MASKED = new Set(["Softmax", "RNN", "SimpleRNN", "LSTM", "GRU", "ConvRNN2D", "ConvLSTM2D", "Bidirectional", "TimeDistributed"]);

/**
 * A function that computes one tap after another from what it is fed. The caller disposes of the tensors.
 *
 * @param {Pick<TF, "tidy">} tf
 * @param {{layer: Layer, path: string[]}[]} layers all, also those of nested models
 */
export function aloneRunner(tf, layers) {
  const byPath = new Map(layers.map(({ layer, path }) => [path.join("\n"), layer]));
  const masked = watchMasks(layers.map(({ layer }) => layer));
  /** @type {FindLayer} */
  const find = (path) => {
    const layer = byPath.get(path.join("\n"));
    if (layer === undefined) throw new CannotRunAloneError(`TF.js's model has no layer '${path.join("/")}'`);
    return layer;
  };
  /**
   * @param {Tap} tap
   * @param {Map<string, Tensor>} rows references by row
   * @param {Map<string, Tensor>} feed by the name of the input
   */
  return async (tap, rows, feed) => tf.tidy(() => {
    const { steps, output } = /** @type {LayersPlan} */ (tap.alone);
    const computation = new Computation(steps, { find, masked, rows, feed });
    const result = pick(computation.run(steps.length - 1), output);
    // A layer that returns its input unchanged returns the same tensor object.
    const taken = new Set([...rows.values(), ...feed.values()]);
    return taken.has(result) ? result.clone() : result;
  });
}

/**
 * Note which layers the model calls with a mask. Once TF.js's executor has found a mask, it passes it to all layers that
 * it calls later, whether their inputs have one or not.
 *
 * @param {Layer[]} layers
 */
function watchMasks(layers) {
  /** @type {Set<Layer>} */
  const masked = new Set();
  for (const layer of layers) {
    const { call } = layer;
    if (call === undefined || !MASKED.has(layer.getClassName())) continue;
    layer.call = function (/** @type {unknown} */ inputs, /** @type {{mask?: unknown} | undefined} */ kwargs) {
      if (kwargs?.mask != null) masked.add(layer);
      return call.call(this, inputs, kwargs);
    };
  }
  return masked;
}

/** The steps of one plan, each computed when it is needed. */
class Computation {
  /**
   * @param {Step[]} steps
   * @param {object} context
   * @param {FindLayer} context.find
   * @param {Set<Layer>} context.masked the layers that the model calls with a mask
   * @param {Map<string, Tensor>} context.rows
   * @param {Map<string, Tensor>} context.feed
   */
  constructor(steps, { find, masked, rows, feed }) {
    this.steps = steps;
    this.find = find;
    this.masked = masked;
    this.rows = rows;
    this.feed = feed;
    /** @type {Map<number, Tensor[]>} */
    this.outputs = new Map();
    /** @type {Map<number, Mask>} */
    this.masks = new Map();
  }

  /**
   * The outputs of a step.
   *
   * @param {number} at
   * @returns {Tensor[]}
   */
  run(at) {
    const done = this.outputs.get(at);
    if (done !== undefined) return done;
    const step = pick(this.steps, at);
    const layer = this.find(step.layer);
    const masks = step.masks.map((mask) => this.mask(mask));
    // Like TF.js's executor: only the first input's mask counts, even if it is null and another input has one.
    const options = masks.some((mask) => mask !== null) ? { mask: pick(masks, 0) } : undefined;
    if (options === undefined && this.masked.has(layer)) {
      throw new CannotRunAloneError(`TF.js gives '${layer.name}' a mask in the whole model, although no input of the layer has one`);
    }
    if (layer.stateful) layer.resetStates?.();
    const outputs = toList(layer.apply(this.inputsOf(step), options));
    this.outputs.set(at, outputs);
    return outputs;
  }

  /**
   * The mask of a step's first output; null if it has none.
   *
   * @param {number | null} at
   * @returns {Mask}
   */
  mask(at) {
    if (at === null) return null;
    const done = this.masks.get(at);
    if (done !== undefined) return done;
    const mask = this.makeMask(pick(this.steps, at));
    this.masks.set(at, mask);
    return mask;
  }

  /**
   * @param {Step} step
   * @returns {Mask}
   */
  makeMask(step) {
    const layer = this.find(step.layer);
    if (!layer.supportsMasking) return null;
    const masks = step.masks.map((mask) => this.mask(mask));
    const made = layer.computeMask?.(this.inputsOf(step), masks) ?? null;
    return Array.isArray(made) ? made[0] ?? null : made;
  }

  /** @param {Step} step */
  inputsOf({ inputs }) {
    return inputs.map((source) => ("step" in source ? pick(this.run(source.step), source.output) : this.fed(source)));
  }

  /**
   * @param {Fed} source
   * @returns {Tensor}
   */
  fed(source) {
    return /** @type {Tensor} */ ("row" in source ? this.rows.get(source.row) : this.feed.get(source.input));
  }
}
