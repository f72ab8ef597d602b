// @ts-check
/**
 * Computes one node of a graph model alone, following its plan.
 *
 * `models/alone/graph_planner.py` writes the plans.
 *
 * @typedef {import("./types").Fed} Fed
 * @typedef {import("./types").GraphModel} GraphModel
 * @typedef {import("./types").GraphPlan} GraphPlan
 * @typedef {import("./types").Tap} Tap
 * @typedef {import("./types").Tensor} Tensor
 */

import { execute, needsAsync, nodeOf, tensorName } from "./graph_execution.js";
import { pick } from "./lists.js";

/**
 * A function that computes one tap after another from what it is fed. The caller disposes of the tensors.
 *
 * @param {GraphModel} model
 */
export function aloneRunner(model) {
  /** @type {Map<Tap, boolean>} */
  const asynchronous = new Map();
  /**
   * @param {Tap} tap
   * @param {Map<string, Tensor>} rows references by row
   * @param {Map<string, Tensor>} feed by the name of the input
   */
  return async (tap, rows, feed) => {
    const { fed } = /** @type {GraphPlan} */ (tap.alone);
    const tensor = tensorName(model, tap);
    const nodes = new Set(fed.map(([name]) => nodeOf(name)));
    const needed = asynchronous.get(tap) ?? needsAsync(model, [tensor], nodes);
    asynchronous.set(tap, needed);
    const inputs = Object.fromEntries(fed.map(([name, source]) => [name, valueOf(source, rows, feed)]));
    return withoutChecks(model, async () => pick(await execute(model, inputs, [tensor], needed), 0));
  };
}

/**
 * @param {Fed} source
 * @param {Map<string, Tensor>} rows
 * @param {Map<string, Tensor>} feed
 */
function valueOf(source, rows, feed) {
  return /** @type {Tensor} */ ("row" in source ? rows.get(source.row) : feed.get(source.input));
}

/**
 * TF.js checks what is fed against the attributes of its node, as if these described the node's output: for a
 * comparison it refuses bools, because the node's dtype is that of what it compares.
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
