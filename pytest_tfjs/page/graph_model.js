// @ts-check
/**
 * Opens models in format graph.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").IOHandler} IOHandler
 * @typedef {import("./types").GraphModel} GraphModel
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").Tap} Tap
 */

import { aloneRunner } from "./alone_graph.js";
import { execute, needsAsync, nodeOf, tensorName } from "./graph_execution.js";
import { missingKernels, nodesBefore, registeredKernels } from "./kernels.js";
import { pick } from "./lists.js";
import { byTF } from "./model_refusal.js";
import { shapeArithmetic } from "./shape_arithmetic.js";
import { describeTensor } from "./tensor_text.js";
import { watchNodes } from "./watching.js";

const UNCHANGED = new Set(["Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics"]);

// Operations whose kernel on cpu writes into the first input.
const WRITING = new Set(["TensorScatterUpdate"]);

// Placeholders that TensorFlow puts into loops, and that version 1.0 of the converter did not remove.
const LEFT_OVER = "unused_control_flow_input";

/**
 * @param {TF} tf
 * @param {IOHandler} source
 * @returns {Promise<Model>}
 */
export async function openGraph(tf, source) {
  const model = await byTF(() => tf.loadGraphModel(source));
  const { graph, weightMap } = model.executor;
  // Without a signature TF.js counts every unused node as an output, placeholders too, which it cannot compute.
  const outputNodes = graph.outputs.filter(({ op }) => op !== "Placeholder");
  const outputs = outputNodes.map((node) => node.name);
  const requested = outputs.length < graph.outputs.length ? outputs : undefined;
  const shapes = shapeArithmetic(graph);
  const { current, take } = watchNodes([graph, ...Object.values(graph.functions ?? {})].flatMap(({ nodes }) => Object.values(nodes)));
  return {
    reset: () => undefined, // TF.js keeps no state of a graph between runs
    run: (feed) => execute(model, byNode(model, feed), requested, needsAsync(model, outputs)),
    places: (taps) => {
      const names = outputNodes.map(namesOf);
      return taps.map((tap) => names.findIndex((known) => known.includes(tensorName(model, tap))));
    },
    tap: (feed, taps) => {
      const names = taps.map((tap) => tensorName(model, tap));
      return execute(model, byNode(model, feed), names, needsAsync(model, names));
    },
    aloneRunner: () => aloneRunner(model),
    constants: () => {
      const written = new Set(Object.values(graph.nodes).flatMap((node) => (WRITING.has(node.op) ? constantBehind(node) : [])));
      return new Map(Object.entries(weightMap).map(([name, tensors]) => [name, { tensor: pick(tensors, 0), written: written.has(name) }]));
    },
    describe: () => Object.values(graph.nodes).map(({ name, op }) => ({ name, class: op })),
    lacks: () => missingKernels(graph, weightMap, tf.getBackend(), registeredKernels(tf)),
    watch: () => take,
    inShapes: () => {
      const node = current();
      return node !== null && shapes.has(node);
    },
    computes: (taps, name) => {
      const tapped = taps.flatMap(({ address }) => graph.nodes[nodeOf(String(address.node))] ?? []);
      return nodesBefore(tapped, weightMap).has(/** @type {GraphNode} */ (graph.nodes[name]));
    },
    layerOf: ({ address }) => {
      const { name, op } = /** @type {GraphNode} */ (graph.nodes[nodeOf(String(address.node))]);
      return { name, class: op, inputs: null };
    },
    inputsOf: async (name, feed) => {
      const names = (graph.nodes[name]?.inputNames ?? []).filter((input) => !input.startsWith("^"));
      if (names.length === 0) return null;
      const tensors = await execute(model, byNode(model, feed), names, needsAsync(model, names));
      const inputs = tensors.map(describeTensor);
      tf.dispose([...new Set(tensors)]);
      return inputs;
    },
    dispose: () => model.dispose(),
  };
}

/**
 * The names of an output's tensor: its own, and those of tensors that it passes on unchanged.
 *
 * @param {GraphNode} output
 */
function namesOf(output) {
  const names = [`${output.name}:${output.defaultOutput ?? 0}`];
  for (let node = output; UNCHANGED.has(node.op) && node.inputs.length > 0; node = pick(node.inputs, 0)) {
    const name = pick(node.inputNames, 0);
    names.push(name.includes(":") ? name : `${name}:0`);
  }
  return names;
}

/**
 * The name of the node that gives the first input, behind those that pass it on unchanged.
 *
 * @param {GraphNode} node
 */
function constantBehind(node) {
  let before = node.inputs[0];
  while (before !== undefined && UNCHANGED.has(before.op)) before = before.inputs[0];
  return before === undefined ? [] : [before.name];
}

/**
 * The feed by node instead of by input name. Throws where its names are not exactly those of the inputs.
 *
 * @param {GraphModel} model
 * @param {Map<string, Tensor>} feed
 */
function byNode(model, feed) {
  const nodes = inputNodes(model);
  const wrong = [...nodes.keys()].filter((name) => !feed.has(name));
  wrong.push(...[...feed.keys()].filter((name) => !nodes.has(name)));
  if (wrong.length > 0) {
    throw new Error(`the model's inputs are ${[...nodes.keys()].join(", ")}; the feed has ${[...feed.keys()].join(", ")}`);
  }
  return Object.fromEntries([...nodes].map(([name, node]) => [node, /** @type {Tensor} */ (feed.get(name))]));
}

/**
 * The node of each input: from the signature where there is one, else the placeholders.
 *
 * @param {GraphModel} model
 * @returns {Map<string, string>}
 */
function inputNodes(model) {
  const { nodes } = model.executor.graph;
  const signature = Object.entries(model.modelSignature?.inputs ?? {});
  // TF.js feeds resources itself, and an input that nothing uses has no node.
  const named = signature.filter(([, info]) => info.resourceId == null && Object.hasOwn(nodes, nodeOf(info.name)));
  return named.length > 0
    // The converter writes the tensor's name, `x:0`, for an input whose name it does not know.
    ? new Map(named.map(([name, info]) => [nodeOf(name), info.name]))
    : placeholders(model);
}

/**
 * The inputs of a model without a signature: its placeholders, without those left over from loops.
 *
 * @param {GraphModel} model
 * @returns {Map<string, string>}
 */
function placeholders(model) {
  const inputs = model.inputs.filter(({ name }) => !name.startsWith(LEFT_OVER));
  return new Map(inputs.map(({ name }) => [name, name]));
}
