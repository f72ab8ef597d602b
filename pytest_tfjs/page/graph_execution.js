// @ts-check
/**
 * Runs a graph model from fed tensors to named ones.
 *
 * @typedef {import("./types").GraphModel} GraphModel
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 */

import { toList } from "./lists.js";
import { byTF } from "./model_refusal.js";

// The kinds of node whose execution gives a promise, for which TF.js has executeAsync(): its executor goes by
// these same categories.
const ASYNC_CATEGORIES = new Set(["control", "dynamic", "hash_table"]);
// For these its executor takes executeAsync() even where they are fed.
const ASYNC_THOUGH_FED = new Set([
  ...["Switch", "Merge", "Enter", "Exit", "NextIteration", "StatelessIf", "StatelessWhile", "if", "While"],
  ...["NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV5", "Where"],
  ...["HashTable", "HashTableV2", "LookupTableImport", "LookupTableImportV2", "LookupTableFind", "LookupTableFindV2"],
  ...["LookupTableSize", "LookupTableSizeV2"],
]);

/**
 * One pass; `asked` names the tensors that it gives, and is undefined for the model's own outputs. The tensors are
 * the caller's to dispose of: a branch that gives back what it was given gives that very tensor.
 *
 * @param {GraphModel} model
 * @param {Record<string, Tensor>} inputs by node
 * @param {string[] | undefined} asked
 * @param {boolean} asynchronous
 */
export async function execute(model, inputs, asked, asynchronous) {
  const outputs = await byTF(() => (asynchronous ? model.executeAsync(inputs, asked) : model.execute(inputs, asked)));
  const taken = new Set([...Object.values(inputs), ...Object.values(model.executor.weightMap).flat()]);
  return toList(outputs).map((tensor) => (taken.has(tensor) ? tensor.clone() : tensor));
}

/**
 * Whether computing these tensors meets a node that gives a promise.
 *
 * @param {Pick<GraphModel, "executor">} model
 * @param {string[]} names
 * @param {Set<string>} [fed] nodes whose tensors are fed
 */
export function needsAsync(model, names, fed = new Set()) {
  const { graph, weightMap } = model.executor;
  /** @type {Set<GraphNode>} */
  const seen = new Set();
  const left = names.flatMap((name) => graph.nodes[nodeOf(name)] ?? []);
  while (left.length > 0) {
    const node = /** @type {GraphNode} */ (left.pop());
    if (seen.has(node) || Object.hasOwn(weightMap, node.name)) continue;
    if (fed.has(node.name)) {
      if (ASYNC_THOUGH_FED.has(node.op)) return true;
      continue;
    }
    if (ASYNC_CATEGORIES.has(node.category)) return true;
    seen.add(node);
    left.push(...node.inputs);
  }
  return false;
}

/**
 * The name of a tap's tensor. Always with its index: a bare name that is also the key of a model's output would
 * stand for that output.
 *
 * @param {GraphModel} model
 * @param {Tap} tap
 */
export function tensorName(model, { name, address }) {
  const text = String(address.node);
  const node = nodeOf(text);
  if (!Object.hasOwn(model.executor.graph.nodes, node)) {
    throw new Error(`there is no activation to read for '${name}': the model has no node '${node}'`);
  }
  return text.includes(":") ? text : `${text}:0`;
}

/** @param {string} tensor */
export function nodeOf(tensor) {
  return tensor.replace(/:.*/, "");
}
