// @ts-check
/**
 * Models in format graph.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").IOHandler} IOHandler
 * @typedef {import("./types").GraphModel} GraphModel
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").Tensor} Tensor
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Alone} Alone
 * @typedef {import("./alone_graph.js").Plan} Plan
 */

import { ASYNC_CATEGORIES, UNCHANGED, nodeOf, planner } from "./alone_graph.js";
import { missingKernels, registeredKernels, watchNodes } from "./kernels.js";
import { pick, toList } from "./lists.js";
import { byTF } from "./refused.js";

// Placeholders that TensorFlow puts into loops, and that version 1.0 of the converter left over.
const LEFT_OVER = "unused_control_flow_input";

/**
 * @param {TF} tf
 * @param {IOHandler} source
 * @returns {Promise<Model>}
 */
export async function openGraph(tf, source) {
  const model = await byTF(() => tf.loadGraphModel(source));
  const { graph, weightMap } = model.executor;
  // Without a signature TF.js counts what nothing takes, placeholders with it, and cannot compute these.
  const given = graph.outputs.filter(({ op }) => op !== "Placeholder");
  const outputs = given.map((node) => node.name);
  const asked = outputs.length < graph.outputs.length ? outputs : undefined;
  return {
    run: (feed) => execute(model, byNode(model, feed), asked, needsAsync(model, outputs)),
    places: (taps) => {
      const names = given.map(namesOf);
      return taps.map((tap) => names.findIndex((known) => known.includes(tensorName(model, tap))));
    },
    tap: (feed, taps) => {
      const names = taps.map((tap) => tensorName(model, tap));
      return execute(model, byNode(model, feed), names, needsAsync(model, names));
    },
    alone: (known) => alone(model, known),
    describe: () => Object.values(graph.nodes).map(({ name, op }) => ({ name, class: op })),
    lacks: () => missingKernels(graph, weightMap, tf.getBackend(), registeredKernels(tf)),
    watch: () => watchNodes([graph, ...Object.values(graph.functions ?? {})].flatMap(({ nodes }) => Object.values(nodes))),
    dispose: () => model.dispose(),
  };
}

/**
 * One pass; `asked` names the tensors that it gives, and is undefined for the model's own outputs. The tensors are
 * the caller's to dispose of: a branch that gives back what it was given gives that very tensor.
 *
 * @param {GraphModel} model
 * @param {Record<string, Tensor>} inputs by node
 * @param {string[] | undefined} asked
 * @param {boolean} asynchronous
 */
async function execute(model, inputs, asked, asynchronous) {
  const outputs = await byTF(() => (asynchronous ? model.executeAsync(inputs, asked) : model.execute(inputs, asked)));
  const taken = new Set([...Object.values(inputs), ...Object.values(model.executor.weightMap).flat()]);
  return toList(outputs).map((tensor) => (taken.has(tensor) ? tensor.clone() : tensor));
}

/**
 * @param {GraphModel} model
 * @param {Tap[]} known
 * @returns {(tap: Tap) => Alone | {why: string}}
 */
function alone(model, known) {
  const { graph, weightMap } = model.executor;
  const inputs = new Map([...inputNodes(model)].map(([name, tensor]) => [nodeOf(tensor), name]));
  const captured = Object.values(model.modelSignature?.inputs ?? {}).filter(({ resourceId }) => resourceId != null);
  const resources = new Set(captured.map(({ name }) => nodeOf(name)));
  const there = known.filter(({ address }) => Object.hasOwn(graph.nodes, nodeOf(String(address.node))));
  const plan = planner(
    { graph, weights: weightMap, inputs, resources },
    there.map((tap) => ({ name: tap.name, tensor: tensorName(model, tap) })),
  );
  return (tap) => {
    const tensor = tensorName(model, tap);
    const found = plan({ name: tap.name, tensor });
    if ("why" in found) return found;
    const rows = [...new Set(found.cuts.values())];
    return { rows, needs: rows, run: (fed, feed) => runAlone(model, tensor, found, fed, feed) };
  };
}

/**
 * @param {GraphModel} model
 * @param {string} tensor
 * @param {Plan} plan
 * @param {Map<string, Tensor>} fed by row
 * @param {Map<string, Tensor>} feed by the name of the input
 */
async function runAlone(model, tensor, { cuts, inputs, dynamic }, fed, feed) {
  const given = [...cuts].map(([name, row]) => [name, fed.get(row)]);
  // Always with the index: a bare name that is also the key of a model's input would stand for that input.
  given.push(...[...inputs].map(([node, name]) => [`${node}:0`, feed.get(name)]));
  return withoutChecks(model, async () => pick(await execute(model, Object.fromEntries(given), [tensor], dynamic), 0));
}

/**
 * TF.js holds what is fed against the attributes of its node, as if these told its output: of a comparison it
 * refuses bools, as its dtype is that of what it compares.
 *
 * @template T
 * @param {GraphModel} model
 * @param {() => Promise<T>} work
 */
async function withoutChecks({ executor }, work) {
  executor.checkInputShapeAndType = () => undefined;
  try {
    return await work();
  } finally {
    delete executor.checkInputShapeAndType;
  }
}

/**
 * The name of a tap's tensor. Always with its index: a bare name that is also the key of a model's output would
 * stand for that output.
 *
 * @param {GraphModel} model
 * @param {Tap} tap
 */
function tensorName(model, { name, address }) {
  const text = String(address.node);
  const node = nodeOf(text);
  if (!Object.hasOwn(model.executor.graph.nodes, node)) {
    throw new Error(`there is no activation to read for '${name}': the model has no node '${node}'`);
  }
  return text.includes(":") ? text : `${text}:0`;
}

/**
 * The tensors that an output is: its own, and those that it passes on unchanged.
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
 * The feed by node in place of by input name. Throws where the names are not exactly those of the inputs.
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
 * The node that each input feeds: of the signature where there is one, else the placeholders by their names.
 *
 * @param {GraphModel} model
 * @returns {Map<string, string>}
 */
function inputNodes(model) {
  const { nodes } = model.executor.graph;
  const signature = Object.entries(model.modelSignature?.inputs ?? {});
  // A resource is no input of the user's, and an input that nothing uses has no node.
  const named = signature.filter(([, info]) => info.resourceId == null && Object.hasOwn(nodes, nodeOf(info.name)));
  return named.length > 0
    // Where the converter lost a name it wrote the tensor's, `x:0`.
    ? new Map(named.map(([name, info]) => [nodeOf(name), info.name]))
    : placeholders(model);
}

/**
 * The inputs of a model without a signature: its placeholders, but for those left over of loops.
 *
 * @param {GraphModel} model
 * @returns {Map<string, string>}
 */
function placeholders(model) {
  const inputs = model.inputs.filter(({ name }) => !name.startsWith(LEFT_OVER));
  return new Map(inputs.map(({ name }) => [name, name]));
}

/**
 * Whether computing these tensors meets a node that gives a promise.
 *
 * @param {GraphModel} model
 * @param {string[]} names
 */
function needsAsync(model, names) {
  const { graph, weightMap } = model.executor;
  /** @type {Set<GraphNode>} */
  const seen = new Set();
  const left = names.flatMap((name) => graph.nodes[nodeOf(name)] ?? []);
  while (left.length > 0) {
    const node = /** @type {GraphNode} */ (left.pop());
    if (seen.has(node) || Object.hasOwn(weightMap, node.name)) continue;
    if (ASYNC_CATEGORIES.has(node.category)) return true;
    seen.add(node);
    left.push(...node.inputs);
  }
  return false;
}
