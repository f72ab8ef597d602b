// @ts-check
/**
 * Finds the kernel of each operation of a graph, and the backends that have it.
 *
 * TF.js reports a missing kernel only when the kernel should run, and does not name the layer.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Graph} Graph
 * @typedef {import("./types").GraphNode} GraphNode
 * @typedef {import("./types").Need} Need
 */

const BACKENDS = ["cpu", "wasm", "webgl", "webgpu"];

// Nodes of these categories are executed in JavaScript by TF.js's converter, even where a kernel has their name:
// NonMaxSuppressionV4 runs without the kernel of that name.
const WITHOUT_KERNEL = new Set(["control", "custom", "dynamic", "graph", "hash_table"]);

// Operations whose kernel has another name. No entry is needed where the names differ only by a leading `_` or a
// trailing V2 or V3.
/** @type {Record<string, string>} */
const ALIASES = {
  BiasAdd: "Add",
  Conv1D: "Conv2D",
  Div: "RealDiv",
  FloorMod: "Mod",
  FusedDepthwiseConv2dNative: "FusedDepthwiseConv2D",
  Gather: "GatherV2",
  ImageProjectiveTransformV3: "Transform",
  IRFFT: "IFFT",
  LowerBound: "SearchSorted",
  MatMul: "BatchMatMul",
  Mul: "Multiply",
  Pad: "PadV2",
  RFFT: "FFT",
  Split: "SplitV",
  UpperBound: "SearchSorted",
};

/** The model needs a kernel that the backend does not register. */
export class KernelError extends Error {
  /**
   * @param {string} message
   * @param {string} [stack] of the call of the kernel
   */
  constructor(message, stack = "") {
    super(message);
    this.stack = stack;
  }
}

/**
 * The kernels that each backend in the page registers.
 *
 * @param {TF} tf
 * @returns {Map<string, Set<string>>}
 */
export function registeredKernels(tf) {
  const found = BACKENDS.map((name) => /** @type {const} */ ([name, new Set(tf.getKernelsForBackend(name).map(({ kernelName }) => kernelName))]));
  return new Map(found.filter(([, kernels]) => kernels.size > 0));
}

/**
 * The kernel that an operation runs; null where its name does not determine it, so that only running it does.
 *
 * @param {Pick<GraphNode, "op" | "category">} node
 * @param {(kernel: string) => boolean} exists whether any backend has a kernel of this name
 */
export function kernelOf({ op, category }, exists) {
  if (WITHOUT_KERNEL.has(category)) return null;
  const plain = op.replace(/^_/, "");
  const candidates = [ALIASES[op] ?? op, plain, plain.replace(/V\d$/, "")];
  return candidates.find(exists) ?? null;
}

/**
 * Nodes that need a kernel which `backend` does not register, in the order of the graph.
 *
 * @param {Graph} graph with its functions: the bodies of loops and branches count too
 * @param {Record<string, unknown>} weights by node: these are not computed
 * @param {string} backend
 * @param {Map<string, Set<string>>} registered
 * @returns {Need[]}
 */
export function missingKernels(graph, weights, backend, registered) {
  const exists = (/** @type {string} */ kernel) => [...registered.values()].some((kernels) => kernels.has(kernel));
  return nodesToRun(graph, weights).flatMap((node) => {
    const kernel = kernelOf(node, exists);
    return kernel === null || registered.get(backend)?.has(kernel) ? [] : [{ layer: node.name, kernel }];
  });
}

/**
 * The nodes that lead to a graph's outputs, then those of the functions that they call.
 *
 * @param {Graph} graph
 * @param {Record<string, unknown>} weights
 */
export function nodesToRun(graph, weights) {
  /** @type {Set<GraphNode>} */
  const seen = new Set();
  const functions = new Set([graph]);
  for (const { outputs } of functions) {
    const left = [...outputs];
    for (let node = left.pop(); node !== undefined; node = left.pop()) {
      if (seen.has(node) || Object.hasOwn(weights, node.name)) continue;
      seen.add(node);
      left.push(...node.inputs);
      for (const called of functionsOf(node, graph)) functions.add(called);
    }
  }
  return [...functions].flatMap(({ nodes }) => Object.values(nodes).filter((node) => seen.has(node)));
}

/**
 * The nodes that lead to others, and those themselves.
 *
 * @param {GraphNode[]} nodes
 * @param {Record<string, unknown>} weights
 */
export function nodesBefore(nodes, weights) {
  /** @type {Set<GraphNode>} */
  const seen = new Set();
  const left = [...nodes];
  for (let node = left.pop(); node !== undefined; node = left.pop()) {
    if (seen.has(node) || Object.hasOwn(weights, node.name)) continue;
    seen.add(node);
    left.push(...node.inputs);
  }
  return seen;
}

/**
 * The functions that a node calls: the bodies of loops and branches.
 *
 * @param {GraphNode} node
 * @param {Graph} graph
 */
export function functionsOf({ attrParams = {} }, { functions = {} }) {
  const names = Object.values(attrParams).filter(({ type }) => type === "func");
  return names.flatMap(({ value }) => functions[String(value)] ?? []);
}

/**
 * A message about missing kernels, a line for each: its layer, and the backends that have it.
 *
 * @param {Need[]} needs at least one
 * @param {string} backend
 * @param {Map<string, Set<string>>} registered
 */
export function explain(needs, backend, registered) {
  return needs.map(({ layer, kernel }) => {
    const having = [...registered].flatMap(([name, kernels]) => (kernels.has(kernel) ? [name] : []));
    const others = having.length > 0 ? `${having.join(", ")} ${having.length > 1 ? "have" : "has"} it` : "no backend in the page has it";
    const who = layer === null ? "the model" : `'${layer}'`;
    return `${who} needs the kernel ${kernel}, which ${backend} does not register; ${others}`;
  }).join("\n");
}

/**
 * The kernel that TF.js says is missing; null where an error says something else.
 *
 * @param {unknown} error
 */
export function unregistered(error) {
  const match = error instanceof Error ? /Kernel '([^']+)' not registered for backend '([^']+)'/.exec(error.message) : null;
  return match && { kernel: String(match[1]), backend: String(match[2]) };
}
