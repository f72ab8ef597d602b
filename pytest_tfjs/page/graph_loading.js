// @ts-check
/**
 * Finds the node or weight of a graph model that TF.js refuses to load.
 *
 * @typedef {import("./types").ModelArtifacts} ModelArtifacts
 * @typedef {import("./types").RefusedLayer} RefusedLayer
 */

const OPERATION = /Node type (\S+) is not implemented|Unknown op '([^']+)'/;

/**
 * The weight that a message names, or the first node of the operation that it names; null if it names neither.
 *
 * @param {ModelArtifacts} artifacts
 * @param {string} message
 * @returns {RefusedLayer | null}
 */
export function nodeOrWeightIn({ weightSpecs = [], modelTopology, modelInitializer }, message) {
  const weight = weightSpecs.find(({ name }) => [`'${name}'`, `"${name}"`].some((text) => message.includes(text)));
  if (weight !== undefined) return { name: weight.name, op: `${weight.dtype} weight`, inputs: null };
  const [, first, second] = OPERATION.exec(message) ?? [];
  const node = [...nodesOf(modelInitializer), ...nodesOf(modelTopology)].find(({ op }) => op === (first ?? second));
  return node === undefined ? null : { name: node.name, op: node.op, inputs: null };
}

/**
 * @param {any} graph
 * @returns {{name: string, op: string}[]}
 */
function nodesOf(graph) {
  return Array.isArray(graph?.node) ? graph.node : [];
}
