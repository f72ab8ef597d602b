// @ts-check
/**
 * One layer of a layers model, called alone as TF.js's executor calls it, on the nearest known activations in front
 * of it.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Alone} Alone
 * @typedef {import("./types").Layer} Layer
 * @typedef {import("./types").LayerNode} LayerNode
 * @typedef {import("./types").LayersModel} LayersModel
 * @typedef {import("./types").Mask} Mask
 * @typedef {import("./types").SymbolicTensor} SymbolicTensor
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {{symbol: SymbolicTensor, calls: LayerNode[]}} Place a tensor, and the calls of the nested models around it
 * @typedef {{row: string} | {input: string} | {call: Call, output: number}} Origin what a tensor is fed, or comes of
 * @typedef {{layer: Layer, inputs: Origin[], masks: (Call | null)[]}} Call of a layer; a mask is that of the call's output
 */

import { OWN_NODE, callOf, findLayer, isContainer, missing, nodeOf, outputOf } from "./addresses.js";
import { CannotError } from "./cannot.js";
import { pick, toList } from "./lists.js";

// What looks at the mask that it is called with; all other layers only hand it on.
const MASKED = new Set(["Softmax", "RNN", "SimpleRNN", "LSTM", "GRU", "ConvRNN2D", "ConvLSTM2D", "Bidirectional", "TimeDistributed"]);

/**
 * A function that plans one row after another.
 *
 * @param {Pick<TF, "tidy">} tf
 * @param {LayersModel} model
 * @param {Tap[]} known
 * @param {Layer[]} layers all, also of nested models
 * @returns {(tap: Tap) => Alone | {why: string}}
 */
export function planner(tf, model, known, layers) {
  const finder = new Finder(model, known);
  const masked = watchMasks(layers);
  return (tap) => {
    try {
      const origin = finder.computed(placeOf(model, tap));
      const rows = rowsOf(origin.call, false);
      const needs = rowsOf(origin.call, true);
      return { rows, needs, run: async (fed, feed) => tf.tidy(() => compute(origin, masked, fed, feed)) };
    } catch (error) {
      if (error instanceof CannotError) return { why: error.message };
      throw error;
    }
  };
}

/**
 * Notice which layers the model calls with a mask. Once TF.js's executor has met one it gives it to all that it
 * calls later, whether their inputs carry one or not.
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

/**
 * @param {LayersModel} model
 * @param {Tap} tap
 * @returns {Place}
 */
function placeOf(model, tap) {
  let container = model;
  const calls = [];
  const path = tap.address.path ?? [];
  for (const step of path.slice(0, -1)) {
    const [name, call] = Array.isArray(step) ? step : [step, undefined];
    const layer = findLayer(container, name, tap);
    if (!isContainer(layer)) throw missing(tap, `'${name}' is a ${layer.getClassName()}, not a model`);
    const node = callOf(container, layer, call, tap);
    // The tensors of its own node are those of the model around it.
    if (node !== layer.inboundNodes[OWN_NODE]) calls.push(node);
    container = layer;
  }
  return { symbol: outputOf(container, findLayer(container, String(path.at(-1)), tap), tap), calls };
}

/** Where tensors come from. */
class Finder {
  /**
   * @param {LayersModel} model
   * @param {Tap[]} known
   */
  constructor(model, known) {
    this.model = model;
    /** @type {Map<string, string>} */
    this.rows = new Map();
    for (const tap of known) {
      const key = keyOf(placeOf(model, tap));
      if (!this.rows.has(key)) this.rows.set(key, tap.name);
    }
    /** @type {Map<string, Call>} */
    this.calls = new Map();
    /** @type {Map<string, Call | null>} */
    this.masks = new Map();
  }

  /**
   * The call of a layer that computes a tensor, known or not. Throws where none does.
   *
   * @param {Place} place
   */
  computed(place) {
    const origin = this.origin(place, false);
    if (!("call" in origin)) {
      throw new CannotError("input" in origin ? `it is the model's input '${origin.input}'` : "no layer computes it");
    }
    return origin;
  }

  /**
   * What is fed for a tensor, or computes it.
   *
   * @param {Place} place
   * @param {boolean} [cut] whether a known row is fed
   * @returns {Origin}
   */
  origin(place, cut = true) {
    for (let at = place; ; ) {
      const row = cut ? this.rows.get(keyOf(at)) : undefined;
      if (row !== undefined) return { row };
      const next = through(at);
      if (next === null) return this.end(at);
      at = next;
    }
  }

  /**
   * @param {Place} place within no other model and of no model's output
   * @returns {Origin}
   */
  end({ symbol, calls }) {
    const layer = symbol.sourceLayer;
    if (isInput(layer)) {
      if (calls.length === 0 && this.model.inputs.includes(symbol)) return { input: layer.name };
      throw new CannotError(`it takes '${layer.name}', which is no input of the model`);
    }
    if (layer.stateful) throw new CannotError(`'${layer.name}' keeps a state from run to run`);
    const node = nodeOf(symbol);
    return { call: this.call(node, calls), output: node.outputTensors.indexOf(symbol) };
  }

  /**
   * @param {LayerNode} node
   * @param {LayerNode[]} calls
   * @returns {Call}
   */
  call(node, calls) {
    const key = [...calls, node].map(({ id }) => id).join("/");
    const found = this.calls.get(key);
    if (found !== undefined) return found;
    const places = node.inputTensors.map((symbol) => ({ symbol, calls }));
    const call = {
      layer: node.outboundLayer,
      inputs: places.map((place) => this.origin(place)),
      masks: places.map((place) => this.mask(place)),
    };
    this.calls.set(key, call);
    return call;
  }

  /**
   * The call whose output's mask a tensor carries; null where it has none. Masks are made by what hides steps, and
   * handed on by layers that support it.
   *
   * @param {Place} place
   * @returns {Call | null}
   */
  mask(place) {
    const key = keyOf(place);
    const found = this.masks.get(key);
    if (found !== undefined) return found;
    const mask = this.makeMask(place);
    this.masks.set(key, mask);
    return mask;
  }

  /**
   * @param {Place} place
   * @returns {Call | null}
   */
  makeMask(place) {
    const next = through(place);
    if (next !== null) return this.mask(next);
    const layer = place.symbol.sourceLayer;
    if (isInput(layer) || !layer.supportsMasking) return null;
    const node = nodeOf(place.symbol);
    const masked = node.inputTensors.some((symbol) => this.mask({ symbol, calls: place.calls }) !== null);
    return masked || makesMask(layer) ? this.call(node, place.calls) : null;
  }
}

/**
 * From what goes into a nested model to what its call is given, and from what comes out to what computes it within;
 * null for all else.
 *
 * @param {Place} place
 * @returns {Place | null}
 */
function through({ symbol, calls }) {
  const layer = symbol.sourceLayer;
  const node = nodeOf(symbol);
  if (isContainer(layer)) {
    const inner = pick(layer.outputs, node.outputTensors.indexOf(symbol));
    return { symbol: inner, calls: [...calls, node] };
  }
  const call = calls.at(-1);
  if (!isInput(layer) || call === undefined || !isContainer(call.outboundLayer)) return null;
  const at = call.outboundLayer.inputs.indexOf(symbol);
  return at < 0 ? null : { symbol: pick(call.inputTensors, at), calls: calls.slice(0, -1) };
}

/** @param {Layer} layer */
function isInput(layer) {
  return layer.getClassName() === "InputLayer";
}

/** @param {Layer} layer */
function makesMask(layer) {
  return layer.getClassName() === "Masking" || (layer.getClassName() === "Embedding" && layer.maskZero === true);
}

/** @param {Place} place */
function keyOf({ symbol, calls }) {
  return [...calls, symbol].map(({ id }) => id).join("/");
}

/**
 * The rows that a call is fed, in the order of its inputs.
 *
 * @param {Call} call
 * @param {boolean} withMasks
 */
function rowsOf(call, withMasks) {
  /** @type {Set<string>} */
  const rows = new Set();
  const seen = new Set([call]);
  for (const { inputs, masks } of seen) {
    for (const input of inputs) {
      if ("row" in input) rows.add(input.row);
      if ("call" in input) seen.add(input.call);
    }
    if (withMasks) for (const mask of masks) if (mask !== null) seen.add(mask);
  }
  return [...rows];
}

/** One computation, and what it has computed so far. */
class Computation {
  /**
   * @param {Set<Layer>} masked what the model calls with a mask
   * @param {Map<string, Tensor>} fed by row
   * @param {Map<string, Tensor>} feed by the name of the input
   */
  constructor(masked, fed, feed) {
    this.masked = masked;
    this.fed = fed;
    this.feed = feed;
    /** @type {Map<Call, Tensor[]>} */
    this.outputs = new Map();
    /** @type {Map<Call, Mask>} */
    this.masks = new Map();
  }

  /**
   * @param {Origin} origin
   * @returns {Tensor}
   */
  value(origin) {
    if ("call" in origin) return pick(this.run(origin.call), origin.output);
    return /** @type {Tensor} */ ("row" in origin ? this.fed.get(origin.row) : this.feed.get(origin.input));
  }

  /**
   * @param {Call} call
   * @returns {Tensor[]}
   */
  run(call) {
    const done = this.outputs.get(call);
    if (done !== undefined) return done;
    const masks = call.masks.map((mask) => this.mask(mask));
    // As TF.js's executor: the first mask counts, and it may be none where another input has one.
    const given = masks.some((mask) => mask !== null) ? { mask: pick(masks, 0) } : undefined;
    if (given === undefined && this.masked.has(call.layer)) {
      throw new CannotError(`in the model TF.js gives '${call.layer.name}' a mask, though no input of it carries one`);
    }
    const outputs = toList(call.layer.apply(call.inputs.map((input) => this.value(input)), given));
    this.outputs.set(call, outputs);
    return outputs;
  }

  /**
   * @param {Call | null} call
   * @returns {Mask}
   */
  mask(call) {
    if (call === null) return null;
    const done = this.masks.get(call);
    if (done !== undefined) return done;
    const masks = call.masks.map((mask) => this.mask(mask));
    const made = call.layer.computeMask?.(call.inputs.map((input) => this.value(input)), masks) ?? null;
    const first = Array.isArray(made) ? made[0] ?? null : made;
    this.masks.set(call, first);
    return first;
  }
}

/**
 * The caller's to dispose of: a layer that gives back what it is given gives that very tensor.
 *
 * @param {Origin} origin
 * @param {Set<Layer>} masked what the model calls with a mask
 * @param {Map<string, Tensor>} fed by row
 * @param {Map<string, Tensor>} feed by the name of the input
 */
function compute(origin, masked, fed, feed) {
  const result = new Computation(masked, fed, feed).value(origin);
  const taken = new Set([...fed.values(), ...feed.values()]);
  return taken.has(result) ? result.clone() : result;
}
