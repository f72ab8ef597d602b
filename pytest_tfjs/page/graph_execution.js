// @ts-check
/**
 * Runs a graph model on fed tensors, for named tensors, with or without executeAsync().
 *
 * @typedef {import("./types").GraphModel} GraphModel
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 */

import { toList } from "./lists.js";
import { byTF } from "./model_refusal.js";

// The categories of nodes whose execution returns a promise, so that TF.js requires executeAsync(); its executor checks
// the same categories.
const ASYNC_CATEGORIES = new Set(["control", "dynamic", "hash_table"]);
// For these operations the executor requires executeAsync() even if their tensors are fed.
const ASYNC_THOUGH_FED = new Set([
  ...["Switch", "Merge", "Enter", "Exit", "NextIteration", "StatelessIf", "StatelessWhile", "if", "While"],
  ...["NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV5", "Where"],
  ...["HashTable", "HashTableV2", "LookupTableImport", "LookupTableImportV2", "LookupTableFind", "LookupTableFindV2"],
  ...["LookupTableSize", "LookupTableSizeV2"],
]);

/**
 * One pass. `names` are the tensors to return; undefined for the model's outputs. The caller disposes of them: a tensor
 * that the model only passes on is cloned.
 *
 * @param {GraphModel} model
 * @param {Record<string, Tensor>} inputs by node
 * @param {string[] | undefined} names
 * @param {boolean} asynchronous
 */
export async function execute(model, inputs, names, asynchronous) {
  const outputs = await byTF(async () => {
    const given = await (asynchronous ? model.executeAsync(inputs, names) : model.execute(inputs, names));
    for (const { shape } of toList(given)) checkShape(shape);
    return given;
  });
  const taken = new Set([...Object.values(inputs), ...Object.values(model.executor.weightMap).flat()]);
  return toList(outputs).map((tensor) => (taken.has(tensor) ? tensor.clone() : tensor));
}

/**
 * Whether TF.js requires executeAsync() for computing these tensors.
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
 * The name of a tap's tensor, always with its index: TF.js treats a bare name as the key of a model's output, if there
 * is such a key.
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

/**
 * Throws for a shape that no tensor can have: some kernels of cpu do not check their arguments.
 *
 * @param {number[]} shape
 */
function checkShape(shape) {
  if (shape.every((size) => Number.isInteger(size) && size >= 0)) return;
  throw new Error(`TF.js gave a tensor of the impossible shape [${shape.map(String)}]`);
}
