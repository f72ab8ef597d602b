// @ts-check
/**
 * Finds a tap's tensor in a layers model: layer, call and output, through nested models.
 *
 * @typedef {import("./types").Layer} Layer
 * @typedef {import("./types").LayersModel} LayersModel
 * @typedef {import("./types").LayerNode} LayerNode
 * @typedef {import("./types").SymbolicTensor} SymbolicTensor
 * @typedef {import("./types").Tap} Tap
 */

import { pick } from "./lists.js";

// A container's first node is its creation, from its inputs to its outputs; its calls follow.
export const OWN_NODE = 0;

/**
 * @param {LayersModel} container
 * @param {string | undefined} name
 * @param {Tap} tap
 */
export function findLayer(container, name, tap) {
  const layer = container.layers.find((candidate) => candidate.name === name);
  if (layer === undefined) throw missing(tap, `'${container.name}' has no layer '${name}'`);
  return layer;
}

/**
 * @param {LayersModel} container
 * @param {Layer} layer
 * @param {Tap} tap
 */
export function outputOf(container, layer, tap) {
  const { node, tensor = 0 } = tap.address;
  const called = isContainer(layer)
    ? callOf(container, layer, node === undefined ? undefined : Number(node), tap)
    : layer.inboundNodes[Number(node ?? 0)];
  const symbol = called?.outputTensors[tensor];
  if (symbol === undefined) throw missing(tap, `'${layer.name}' has no node ${node ?? 0} with an output ${tensor}`);
  return symbol;
}

/**
 * @param {Layer} layer
 * @returns {layer is LayersModel}
 */
export function isContainer(layer) {
  return Array.isArray(layer.layers);
}

/**
 * The node by which `container` calls a nested model. Throws where it is ambiguous.
 *
 * @param {LayersModel} container
 * @param {LayersModel} inner
 * @param {number | undefined} call
 * @param {Tap} tap
 */
export function callOf(container, inner, call, tap) {
  const used = nodesUsed(container);
  const calls = inner.inboundNodes.filter((node) => used.has(node));
  const chosen = call === undefined ? calls : calls.filter((node) => node === inner.inboundNodes[call]);
  if (chosen.length !== 1) {
    const indices = calls.map((node) => inner.inboundNodes.indexOf(node));
    throw missing(tap, `'${container.name}' calls '${inner.name}' at its nodes ${indices.join(", ")}: name one of them`);
  }
  return pick(chosen, 0);
}

/**
 * All nodes between a container's inputs and its outputs.
 *
 * @param {LayersModel} container
 */
function nodesUsed(container) {
  /** @type {Set<LayerNode>} */
  const used = new Set();
  const left = [...container.outputs];
  for (let symbol = left.pop(); symbol !== undefined; symbol = left.pop()) {
    const node = nodeOf(symbol);
    if (used.has(node)) continue;
    used.add(node);
    left.push(...node.inputTensors);
  }
  ownNodesInFront(container, used);
  return used;
}

/**
 * A Sequential model that begins with a model uses that model's own inputs and outputs, without a call.
 *
 * @param {LayersModel} container
 * @param {Set<LayerNode>} used
 */
function ownNodesInFront(container, used) {
  for (const layer of container.layers) {
    if (!isContainer(layer)) continue;
    const own = pick(layer.inboundNodes, OWN_NODE);
    if (own.outputTensors.every((symbol) => used.has(nodeOf(symbol)))) used.add(own);
  }
}

/**
 * @param {Tap} tap
 * @param {string} why
 */
export function missing({ name, address }, why) {
  return new Error(`there is no activation to read for '${name}' at ${JSON.stringify(address)}: ${why}`);
}

/** @param {SymbolicTensor} symbol */
export function nodeOf({ sourceLayer, nodeIndex }) {
  return pick(sourceLayer.inboundNodes, nodeIndex);
}
