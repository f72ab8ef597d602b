// @ts-check
/**
 * Which tensors a node of a graph is fed, to compute it alone: the nearest in front of it that are known.
 *
 * @typedef {import("./types").Graph} Graph
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {{name: string, tensor: string}} Row a row of the comparison, and its tensor as `node:index`
 * @typedef {{graph: Graph, weights: Record<string, unknown>, inputs: Map<string, string>, resources: Set<string>}} Parts
 *   of a model: its inputs by node, and the nodes of resources, which TF.js feeds itself
 * @typedef {{cuts: Map<string, string>, inputs: Map<string, string>, dynamic: boolean}} Plan which row's reference each
 *   tensor is fed, and which input of the feed each node; `dynamic`: TF.js has executeAsync() for it
 */

import { CannotError } from "./cannot.js";
import { functionsOf } from "./kernels.js";
import { pick } from "./lists.js";

// The kinds of node whose execution gives a promise, for which TF.js has executeAsync(): its executor goes by
// these same categories.
export const ASYNC_CATEGORIES = new Set(["control", "dynamic", "hash_table"]);
export const UNCHANGED = new Set(["Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics"]);

// Where it decides which of the two it takes it does not see whether such a node is fed.
const ASYNC_THOUGH_FED = new Set([
  ...["Switch", "Merge", "Enter", "Exit", "NextIteration", "StatelessIf", "StatelessWhile", "if", "While"],
  ...["NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV5", "Where"],
  ...["HashTable", "HashTableV2", "LookupTableImport", "LookupTableImportV2", "LookupTableFind", "LookupTableFindV2"],
  ...["LookupTableSize", "LookupTableSizeV2"],
]);
const RANDOM = /^_?(Stateless|Parameterized)?(Random|TruncatedNormal|Multinomial)/;

/**
 * A function that plans one row after another.
 *
 * @param {Parts} parts
 * @param {Row[]} known the rows whose reference can be had
 * @returns {(row: Row) => Plan | {why: string}}
 */
export function planner(parts, known) {
  const { graph } = parts;
  /** @type {Map<string, string>} */
  const exact = new Map();
  for (const { name, tensor } of known) if (!exact.has(tensor)) exact.set(tensor, name);
  const passedOn = passedOnBy(graph, exact);
  return ({ tensor }) => {
    const root = rootOf(graph, tensor);
    // What a row passes on unchanged is not to be computed from what it passes it on to.
    const rowOf = (/** @type {string} */ wanted) =>
      exact.get(wanted) ?? (rootOf(graph, wanted) === root ? undefined : passedOn.get(wanted));
    const target = nodeOf(tensor);
    if (Object.hasOwn(parts.weights, target)) return { why: "it is a weight, which is not computed" };
    try {
      return plan(parts, target, rowOf);
    } catch (error) {
      if (error instanceof CannotError) return { why: error.message };
      throw error;
    }
  };
}

/**
 * Walk back from a node to what it is fed; once more where that cannot be fed, from in front of it.
 *
 * @param {Parts} parts
 * @param {string} target
 * @param {(tensor: string) => string | undefined} rowOf
 * @returns {Plan}
 */
function plan(parts, target, rowOf) {
  const uncut = new Set([target]);
  for (;;) {
    const { cuts, run, inputs, wanted } = walk(parts, target, (tensor) =>
      uncut.has(nodeOf(tensor)) ? undefined : rowOf(tensor),
    );
    // TF.js's executor takes one fed tensor for all outputs of its node: where another one is wanted too, the
    // node is computed itself.
    const several = [...cuts.keys()].map(nodeOf).filter((node) => (wanted.get(node)?.size ?? 0) > 1);
    if (several.length === 0) {
      const fed = [...cuts.keys()].some((tensor) => ASYNC_THOUGH_FED.has(nodeAt(parts.graph, tensor).op));
      return { cuts, inputs, dynamic: fed || run.some(({ category }) => ASYNC_CATEGORIES.has(category)) };
    }
    for (const node of several) uncut.add(node);
  }
}

/**
 * @param {Parts} parts
 * @param {string} target
 * @param {(tensor: string) => string | undefined} rowOf
 */
function walk({ graph, weights, inputs: fed, resources }, target, rowOf) {
  /** @type {Map<string, string>} */
  const cuts = new Map();
  /** @type {Map<string, string>} */
  const inputs = new Map();
  /** @type {Map<string, Set<string>>} */
  const wanted = new Map();
  /** @type {Set<GraphNode>} */
  const run = new Set();
  // The first input of a node is looked at first, so that the cuts are in the order in which the artifacts have them.
  const left = [`${target}:0`];
  for (let tensor = left.pop(); tensor !== undefined; tensor = left.pop()) {
    const node = nodeAt(graph, tensor);
    if (Object.hasOwn(weights, node.name) || resources.has(node.name)) continue;
    wanted.set(node.name, (wanted.get(node.name) ?? new Set()).add(tensor));
    const row = rowOf(tensor);
    const input = fed.get(node.name);
    if (row !== undefined) cuts.set(tensor, row);
    else if (input !== undefined && node.name !== target) inputs.set(node.name, input);
    else if (!run.has(node)) {
      run.add(check(graph, node, input));
      left.push(...node.inputNames.map(withIndex).reverse());
    }
  }
  return { cuts, inputs, wanted, run: [...run] };
}

/**
 * @param {Graph} graph
 * @param {GraphNode} node that is to be computed
 * @param {string | undefined} input of the model that it is
 */
function check(graph, node, input) {
  if (input !== undefined) throw new CannotError(`it is the model's input '${input}'`);
  if (node.op.startsWith("Placeholder") && node.inputs.length === 0) {
    throw new CannotError(`it takes '${node.name}', which is not in the feed`);
  }
  const random = randomIn(graph, node);
  if (random !== null) {
    throw new CannotError(`'${random.name}' (${random.op}) gives random numbers, which are others each time it runs`);
  }
  return node;
}

/**
 * A node that gives random numbers: this one, or one in the functions that it calls.
 *
 * @param {Graph} graph
 * @param {GraphNode} node
 */
function randomIn(graph, node) {
  const nodes = new Set([node]);
  for (const one of nodes) {
    if (RANDOM.test(one.op)) return one;
    for (const called of functionsOf(one, graph)) {
      for (const inner of Object.values(called.nodes)) nodes.add(inner);
    }
  }
  return null;
}

/**
 * The tensors that nodes pass on unchanged as known ones, with the first row that has each.
 *
 * @param {Graph} graph
 * @param {Map<string, string>} exact
 */
function passedOnBy(graph, exact) {
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const [tensor, row] of exact) {
    for (const former of formerNames(graph, tensor)) if (!found.has(former)) found.set(former, row);
  }
  return found;
}

/**
 * @param {Graph} graph
 * @param {string} tensor
 */
function rootOf(graph, tensor) {
  return formerNames(graph, tensor).at(-1) ?? tensor;
}

/**
 * The tensors that a tensor is passed on from unchanged, the nearest first.
 *
 * @param {Graph} graph
 * @param {string} tensor
 */
function formerNames(graph, tensor) {
  /** @type {string[]} */
  const names = [];
  for (let node = nodeAt(graph, tensor); UNCHANGED.has(node.op) && node.inputs.length > 0; node = pick(node.inputs, 0)) {
    const name = withIndex(pick(node.inputNames, 0));
    if (names.includes(name)) break;
    names.push(name);
  }
  return names;
}

/**
 * @param {Graph} graph
 * @param {string} tensor
 */
function nodeAt({ nodes }, tensor) {
  return /** @type {GraphNode} */ (nodes[nodeOf(tensor)]);
}

/** @param {string} tensor */
export function nodeOf(tensor) {
  return tensor.replace(/:.*/, "");
}

/**
 * A tensor's name as `node:index`; in between there may be the name of the output.
 *
 * @param {string} tensor
 */
function withIndex(tensor) {
  const parts = tensor.split(":");
  return `${pick(parts, 0)}:${parts.length === 1 ? 0 : parts.at(-1)}`;
}
