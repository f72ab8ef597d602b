// @ts-check
/**
 * Watches which node or layer TF.js computes, to find the one at which it throws.
 *
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {import("./types").Layer} Layer
 * @typedef {import("./types").Watched} Watched
 */

import { toList } from "./lists.js";
import { describeTensor } from "./tensor_text.js";

/**
 * Watch which node is computed: the graph's executor reads the category of each just before. `current` gives the last
 * one, and `take` describes the last one since its last call.
 *
 * @param {GraphNode[]} nodes
 * @returns {{current: () => GraphNode | null, take: () => Watched | null}}
 */
export function watchNodes(nodes) {
  /** @type {GraphNode | null} */
  let last = null;
  /** @type {GraphNode | null} */
  let untaken = null;
  for (const node of nodes) {
    const { category } = node;
    Object.defineProperty(node, "category", {
      get: () => {
        last = untaken = node;
        return category;
      },
    });
  }
  const take = () => {
    const found = untaken && { name: untaken.name, class: untaken.op, inputs: null };
    untaken = null;
    return found;
  };
  return { current: () => last, take };
}

/**
 * Watch which layer is called. Gives a function that returns the innermost layer that threw since its last call.
 *
 * @param {{layer: Pick<Layer, "apply" | "getClassName">, name: string}[]} layers
 * @returns {() => Watched | null}
 */
export function watchLayers(layers) {
  /** @type {Watched | null} */
  let threw = null;
  /** @type {unknown} */
  let thrown = null;
  for (const { layer, name } of layers) {
    const apply = /** @type {(...values: any[]) => any} */ (layer.apply);
    layer.apply = function (/** @type {any} */ inputs, /** @type {any[]} */ ...rest) {
      try {
        return apply.call(this, inputs, ...rest);
      } catch (error) {
        if (error !== thrown) threw = { name, class: layer.getClassName(), inputs: toList(inputs).map(describeTensor) };
        thrown = error;
        throw error;
      }
    };
  }
  return () => {
    const found = threw;
    threw = thrown = null;
    return found;
  };
}
