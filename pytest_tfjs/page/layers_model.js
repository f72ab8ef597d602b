// @ts-check
/**
 * Opens models in format layers.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").IOHandler} IOHandler
 * @typedef {import("./types").Layer} Layer
 * @typedef {import("./types").LayersModel} LayersModel
 * @typedef {import("./types").LayerNode} LayerNode
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").SymbolicTensor} SymbolicTensor
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").Tap} Tap
 * @typedef {{tap: Tap, path: (string | [string, number])[]}} Route a tap, and the rest of its path
 */

import { OWN_NODE, callOf, findLayer, isContainer, missing, outputOf } from "./tap_addresses.js";
import { aloneRunner } from "./alone_layers.js";
import { pick, single, toList } from "./lists.js";
import { byTF } from "./model_refusal.js";
import { watchLayers } from "./watching.js";

let tapModels = 0;

/**
 * @param {TF} tf
 * @param {IOHandler} source
 * @returns {Promise<Model>}
 */
export async function openLayers(tf, source) {
  const model = await byTF(() => tf.loadLayersModel(source));
  /** @type {Map<Tap[], {model: LayersModel, places: number[]}>} */
  const tapping = new Map();
  return {
    reset: () => {
      if (model.stateful) model.resetStates?.();
    },
    run: async (feed) => {
      const inputs = inOrder(model, feed);
      return toList(await byTF(() => model.predict(inputs)));
    },
    places: (taps) => {
      const routes = taps.map((tap) => ({ tap, path: tap.address.path ?? [] }));
      return symbolsOf(tf, model, routes).map((symbol) => model.outputs.indexOf(symbol));
    },
    tap: async (feed, taps) => {
      const inputs = inOrder(model, feed);
      const made = tapping.get(taps) ?? makeTapModel(tf, model, taps);
      tapping.set(taps, made);
      const outputs = toList(await byTF(() => made.model.predictOnBatch(inputs)));
      return made.places.map((place) => pick(outputs, place));
    },
    aloneRunner: () => aloneRunner(tf, describe(model.layers, [])),
    constants: () => new Map(), // layers only read their weights
    describe: () => describe(model.layers, []).map(({ layer, name, path }) => ({ name, class: layer.getClassName(), path })),
    lacks: () => [], // only running a layer shows which kernels it needs
    watch: () => watchLayers(describe(model.layers, []).map(({ layer, path }) => ({ layer, name: path.join("/") }))),
    inShapes: () => false, // TF.js's layers compute shapes in numbers of JavaScript
    computes: () => false, // TF.js runs layers one by one, so the one that threw is known
    layerOf: () => null,
    inputsOf: async () => null, // known from the call of the layer
    // The tap models are not disposed of: they have no weights of their own, and it would decrement the layers' reference
    // counts. TF.js keeps a layer that is called more than once, but its weights are variables.
    dispose: () => {
      model.dispose();
      tf.dispose(statesOf(describe(model.layers, []).map(({ layer }) => layer)));
      tf.disposeVariables();
    },
  };
}

/**
 * A model over the same layers whose outputs are the taps, and the index of each tap among them.
 *
 * @param {TF} tf
 * @param {LayersModel} model
 * @param {Tap[]} taps
 */
function makeTapModel(tf, model, taps) {
  const routes = taps.map((tap) => ({ tap, path: tap.address.path ?? [] }));
  return modelOver(tf, model, symbolsOf(tf, model, routes));
}

/**
 * The symbolic tensors of taps, as functions of the container's inputs. Taps within a nested model are outputs of a
 * model over its inputs, which is applied to what this container feeds it.
 *
 * @param {TF} tf
 * @param {LayersModel} container
 * @param {Route[]} routes
 * @returns {SymbolicTensor[]}
 */
function symbolsOf(tf, container, routes) {
  /** @type {Map<LayerNode, {inner: LayersModel, own: boolean, at: number[], routes: Route[]}>} */
  const nested = new Map();
  /** @type {SymbolicTensor[]} */
  const symbols = new Array(routes.length);
  routes.forEach(({ tap, path }, at) => {
    const [step, ...rest] = path;
    const [name, call] = Array.isArray(step) ? step : [step, undefined];
    const layer = findLayer(container, name, tap);
    if (rest.length === 0) {
      symbols[at] = outputOf(container, layer, tap);
      return;
    }
    if (!isContainer(layer)) throw missing(tap, `'${name}' is a ${layer.getClassName()}, not a model`);
    const node = callOf(container, layer, call, tap);
    const group = nested.get(node) ?? { inner: layer, own: node === layer.inboundNodes[OWN_NODE], at: [], routes: [] };
    nested.set(node, group);
    group.at.push(at);
    group.routes.push({ tap, path: rest });
  });
  for (const [node, { inner, own, at, routes: within }] of nested) {
    const found = symbolsOf(tf, inner, within);
    // The tensors of its own node are functions of the same inputs already.
    const here = own ? found : applied(tf, inner, found, node.inputTensors);
    here.forEach((symbol, i) => (symbols[pick(at, i)] = symbol));
  }
  return symbols;
}

/**
 * Symbolic tensors of a nested model, as functions of `inputs` instead of its own inputs.
 *
 * @param {TF} tf
 * @param {LayersModel} inner
 * @param {SymbolicTensor[]} symbols
 * @param {SymbolicTensor[]} inputs
 */
function applied(tf, inner, symbols, inputs) {
  const { model, places } = modelOver(tf, inner, symbols);
  const outputs = toList(model.apply(single(inputs)));
  return places.map((place) => pick(outputs, place));
}

/**
 * A model with these outputs. TF.js returns null for the second of two equal outputs, so the model has each output once.
 *
 * @param {TF} tf
 * @param {LayersModel} container
 * @param {SymbolicTensor[]} symbols
 */
function modelOver(tf, container, symbols) {
  const outputs = [...new Set(symbols)];
  const name = `pytest_tfjs_taps_${tapModels++}`; // a name that TF.js chooses may be that of a layer
  const model = tf.model({ inputs: container.inputs, outputs, name });
  return { model, places: symbols.map((symbol) => outputs.indexOf(symbol)) };
}

/**
 * The states that layers keep between runs, which disposing of a model leaves in memory.
 *
 * @param {Layer[]} layers
 * @returns {Tensor[]}
 */
function statesOf(layers) {
  return layers.flatMap(({ states_, keptStates, forwardLayer, backwardLayer }) => {
    const wrapped = [forwardLayer, backwardLayer].filter((layer) => layer !== undefined);
    return [...(states_ ?? []), ...(keptStates ?? []).flat(), ...(wrapped.length > 0 ? statesOf(wrapped) : [])];
  });
}

/**
 * The feed in the order of the inputs. Throws if names or dtypes differ: TF.js would cast without a warning.
 *
 * @param {LayersModel} model
 * @param {Map<string, Tensor>} feed
 */
function inOrder(model, feed) {
  // A Sequential model has no inputNames.
  const names = model.inputs.map(({ sourceLayer }) => sourceLayer.name);
  const tensors = model.inputs.map(({ dtype }, at) => {
    const name = pick(names, at);
    const tensor = feed.get(name);
    if (tensor === undefined || feed.size !== names.length) {
      throw new Error(`the model's inputs are ${names.join(", ")}; the feed has ${[...feed.keys()].join(", ")}`);
    }
    if (tensor.dtype !== dtype) throw new Error(`the model's input '${name}' has the dtype ${dtype}; the feed has ${tensor.dtype}`);
    return tensor;
  });
  return single(tensors);
}

/**
 * @param {Layer[]} layers
 * @param {string[]} outer
 * @returns {{name: string, layer: Layer, path: string[]}[]}
 */
function describe(layers, outer) {
  return layers.flatMap((layer) => {
    const path = [...outer, layer.name];
    const own = { name: layer.name, layer, path };
    return isContainer(layer) ? [own, ...describe(layer.layers, path)] : [own];
  });
}
