// @ts-check
/**
 * Finds the layer of a layers model that TF.js refuses to load.
 *
 * The model is loaded again, while the layers that TF.js makes and calls are watched.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Layer} Layer
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").ModelArtifacts} ModelArtifacts
 * @typedef {import("./types").RefusedLayer} RefusedLayer
 * @typedef {import("./types").Tensor} Tensor
 */

import { toList } from "./lists.js";
import { describeTensor } from "./tensor_text.js";

const INPUT = /expected (\S+) to have/;
const WRAPPERS = ["Bidirectional", "TimeDistributed"];
const UNKNOWN = /^Unknown layer: (.+?)\. /;

/**
 * The layer at which loading fails; null if it does not fail again, or at no layer.
 *
 * @param {TF} tf
 * @param {ModelArtifacts} artifacts
 * @param {() => Promise<{dispose(): unknown}>} load
 * @returns {Promise<RefusedLayer | null>}
 */
export async function findUnloadableLayer(tf, artifacts, load) {
  const { open, weight, stop } = watchLoading(tf);
  try {
    (await load()).dispose();
    return null;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return refusedLayer(open, weight.name ?? message, artifacts.modelTopology);
  } finally {
    stop();
  }
}

/**
 * @param {RefusedLayer[]} open what was being made when loading failed, the outermost model first
 * @param {string} message
 * @param {unknown} topology
 * @returns {RefusedLayer | null}
 */
export function refusedLayer(open, message, topology) {
  const innermost = open.map(({ op }) => !isModel(op)).lastIndexOf(true);
  if (innermost >= 0) return { .../** @type {RefusedLayer} */ (open[innermost]), name: pathOf(open, innermost) };
  const unknown = UNKNOWN.exec(message)?.[1];
  const name = unknown === undefined ? undefined : nameOfClass(topology, unknown);
  if (unknown !== undefined && name !== undefined) {
    return { name: [...open.slice(1).map((model) => model.name), name].join("/"), op: unknown, inputs: null };
  }
  const model = open.at(-1);
  return layerOfWeight(message, topology) ?? (model && { ...model, op: modelText(model, topology) }) ?? null;
}

/**
 * What a model is, for messages: Keras models may have a dict of outputs or inputs, which TF.js cannot read.
 *
 * @param {RefusedLayer} model
 * @param {unknown} topology
 */
function modelText({ name, op }, topology) {
  const config = [...layersIn(topology)].find((part) => isModel(part.class_name) && part.config?.name === name)?.config;
  const [inputs, outputs] = [namesOfDict(config?.input_layers), namesOfDict(config?.output_layers)];
  if (outputs !== null) return `${op} with a dict of outputs: ${outputs}`;
  return inputs === null ? op : `${op} with a dict of inputs: ${inputs}`;
}

/**
 * The keys of a dict, as text; null for a list.
 *
 * @param {unknown} value
 */
function namesOfDict(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value).join(", ") : null;
}

/**
 * A layer's name behind those of the nested models and wrappers around it: Keras makes up the name of a wrapped layer.
 *
 * @param {RefusedLayer[]} open
 * @param {number} at
 */
function pathOf(open, at) {
  const around = open.slice(1, at).filter(({ op }) => isModel(op) || WRAPPERS.includes(op));
  return [...around, /** @type {RefusedLayer} */ (open[at])].map(({ name }) => name).join("/");
}

/** @param {string} name */
function isModel(name) {
  return ["Model", "Functional", "Sequential"].includes(name);
}

/**
 * The layer whose weight a message names.
 *
 * @param {string} message
 * @param {unknown} topology
 * @returns {RefusedLayer | null}
 */
function layerOfWeight(message, topology) {
  const words = message.split(/[^\w/.-]+/);
  for (const { class_name: op, config } of layersIn(topology)) {
    if (config?.name !== undefined && !isModel(op) && words.some((word) => word.startsWith(`${config.name}/`))) {
      return { name: config.name, op, inputs: null };
    }
  }
  return null;
}

/**
 * The name of the first layer of a class.
 *
 * @param {unknown} topology
 * @param {string} wanted
 */
function nameOfClass(topology, wanted) {
  return [...layersIn(topology)].find(({ class_name: op, config }) => op === wanted && config?.name !== undefined)?.config?.name;
}

/**
 * All parts of a topology that have a class, in their order.
 *
 * @param {any} part
 * @returns {Iterable<{class_name: string, config?: {name?: string, input_layers?: unknown, output_layers?: unknown}}>}
 */
function* layersIn(part) {
  if (typeof part !== "object" || part === null) return;
  if (typeof part.class_name === "string") yield part;
  for (const inner of Object.values(part)) yield* layersIn(inner);
}

/**
 * The input of a model that an error names: TF.js checks the shapes of a feed before it calls the first layer.
 *
 * @param {Pick<Model, "describe">} model
 * @param {unknown} error
 * @returns {RefusedLayer | null}
 */
export function inputIn(model, error) {
  const wanted = INPUT.exec(error instanceof Error ? error.message : "")?.[1];
  const input = model.describe().find(({ name, class: op }) => name === wanted && op === "InputLayer");
  return input === undefined ? null : { name: input.name, op: "InputLayer", inputs: null };
}

/**
 * Watch which layers TF.js makes and calls. `open` are those that it has begun, `weight` is the one that it is setting;
 * `stop` ends the watch.
 *
 * @param {TF} tf
 */
function watchLoading(tf) {
  /** @type {RefusedLayer[]} */
  const open = [];
  const classes = tf.serialization.SerializationMap.getMap().classNameMap;
  const base = tf.layers.Layer.prototype;
  const originals = Object.entries(classes);
  const { apply } = base;
  for (const [op, [cls, fromConfig]] of originals) {
    if (!(cls.prototype instanceof tf.layers.Layer)) continue;
    classes[op] = [cls, (made, config, ...rest) => watched(open, { name: nameIn(config) ?? op, op, inputs: null }, () => fromConfig(made, config, ...rest))];
  }
  base.apply = function (/** @type {any} */ inputs, /** @type {any[]} */ ...rest) {
    const layer = { name: this.name, op: this.getClassName(), inputs: toList(inputs).map(describeTensor) };
    return watched(open, layer, () => apply.call(this, inputs, .../** @type {[]} */ (rest)));
  };
  const weight = { name: /** @type {string | null} */ (null) };
  const variable = tf.LayerVariable.prototype;
  const { write } = variable;
  variable.write = function (value) {
    weight.name = this.originalName;
    const written = write.call(this, value);
    weight.name = null;
    return written;
  };
  const stop = () => {
    base.apply = apply;
    variable.write = write;
    Object.assign(classes, Object.fromEntries(originals));
  };
  return { open, weight, stop };
}

/**
 * @template T
 * @param {RefusedLayer[]} open
 * @param {RefusedLayer} layer
 * @param {() => T} work
 */
function watched(open, layer, work) {
  open.push(layer);
  const result = work();
  open.pop();
  return result;
}

/** @param {any} config of a model or a layer */
function nameIn(config) {
  return typeof config?.name === "string" ? config.name : undefined;
}
