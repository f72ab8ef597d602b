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
 * @returns {import("./types").RunAlone}
 */
export function aloneRunner(tf, layers) {
  const byPath = new Map(layers.map(({ layer, path }) => [path.join("\n"), layer]));
  const calls = new MaskedCalls(layers.map(({ layer }) => layer));
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
  /** @type {import("./types").RunAlone} */
  const run = async (tap, rows, feed) => tf.tidy(() => {
    const { steps, output } = /** @type {LayersPlan} */ (tap.alone);
    const computation = new Computation(steps, { find, calls, rows, feed });
    const result = pick(computation.run(steps.length - 1), output);
    if (computation.withoutMask.has(steps.length - 1)) withoutMask.add(tap.name);
    // A layer that returns its input unchanged returns the same tensor object.
    const taken = new Set([...rows.values(), ...feed.values()]);
    return taken.has(result) ? result.clone() : result;
  });
  /** @type {Set<string>} */
  const withoutMask = new Set();
  return Object.assign(run, { withoutMask });
}

/**
 * Notes which calls of layers the model makes with a mask. Once TF.js's executor has found a mask, it passes it to all
 * layers that it calls later, whether their inputs have one or not; the mask of a nested model's output it drops.
 */
class MaskedCalls {
  /** @param {Layer[]} layers */
  constructor(layers) {
    this.paused = false;
    /** Whether there was a mask, by layer and inbound node. @type {Map<Layer, Map<number, Set<boolean>>>} */
    this.seen = new Map();
    /** @type {{layer: Layer, masked: boolean} | null} */
    this.last = null;
    for (const layer of new Set(layers)) if (layer.call !== undefined && MASKED.has(layer.getClassName())) this.watch(layer);
  }

  /**
   * The executor does not tell a layer which of its calls it makes, but reads the call's symbolic tensor right after it.
   *
   * @param {Layer} layer
   */
  watch(layer) {
    const calls = this;
    const call = /** @type {Function} */ (layer.call);
    layer.call = function (/** @type {unknown} */ inputs, /** @type {{mask?: unknown} | undefined} */ kwargs) {
      const result = call.call(this, inputs, kwargs);
      if (!calls.paused) calls.last = { layer, masked: kwargs?.mask != null };
      return result;
    };
    layer.inboundNodes.forEach(({ outputTensors }, node) => {
      for (const symbol of outputTensors) {
        Object.defineProperty(symbol, "sourceLayer", {
          get: () => {
            if (this.last?.layer === layer) this.note(layer, node, this.last.masked);
            return layer;
          },
        });
      }
    });
  }

  /**
   * @param {Layer} layer
   * @param {number} node
   * @param {boolean} masked
   */
  note(layer, node, masked) {
    this.last = null;
    const nodes = this.seen.get(layer) ?? new Map();
    this.seen.set(layer, nodes.set(node, (nodes.get(node) ?? new Set()).add(masked)));
  }

  /**
   * Whether the model makes a call with a mask; null where it was not seen to make it.
   *
   * @param {Layer} layer
   * @param {number} node
   */
  of(layer, node) {
    const seen = this.seen.get(layer)?.get(node);
    if (seen === undefined) return null;
    if (seen.size > 1) {
      throw new CannotRunAloneError(`in the whole model TF.js calls '${layer.name}' both with a mask and without one`);
    }
    return seen.has(true);
  }

  /**
   * Do `work`, whose calls are not those of the model.
   *
   * @template T
   * @param {() => T} work
   */
  without(work) {
    this.paused = true;
    try {
      return work();
    } finally {
      this.paused = false;
    }
  }
}

/** The steps of one plan, each computed when it is needed. */
class Computation {
  /**
   * @param {Step[]} steps
   * @param {object} context
   * @param {FindLayer} context.find
   * @param {MaskedCalls} context.calls
   * @param {Map<string, Tensor>} context.rows
   * @param {Map<string, Tensor>} context.feed
   */
  constructor(steps, { find, calls, rows, feed }) {
    this.steps = steps;
    this.find = find;
    this.calls = calls;
    this.rows = rows;
    this.feed = feed;
    /** @type {Map<number, Tensor[]>} */
    this.outputs = new Map();
    /** @type {Map<number, Mask>} */
    this.masks = new Map();
    /** The steps that run without the mask that their inputs have. @type {Set<number>} */
    this.withoutMask = new Set();
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
    const options = this.optionsOf(at, layer);
    if (layer.stateful) layer.resetStates?.();
    const inputs = this.inputsOf(step);
    const outputs = this.calls.without(() => toList(layer.apply(inputs, options)));
    this.outputs.set(at, outputs);
    return outputs;
  }

  /**
   * The mask that a step's layer is called with, if TF.js calls it with one in the whole model.
   *
   * @param {number} at
   * @param {Layer} layer
   */
  optionsOf(at, layer) {
    const step = pick(this.steps, at);
    const masks = step.masks.map((mask) => this.mask(mask));
    const isMasked = this.calls.of(layer, step.node);
    if (masks.every((mask) => mask === null)) {
      if (!isMasked) return undefined;
      throw new CannotRunAloneError(`TF.js gives '${layer.name}' a mask in the whole model, although no input of the layer has one`);
    }
    // Like TF.js's executor: only the first input's mask counts, even if it is null and another input has one.
    const mask = pick(masks, 0);
    if (isMasked !== false || mask === null) return { mask };
    this.withoutMask.add(at);
    return undefined;
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
