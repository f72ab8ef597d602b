// @ts-check
/**
 * Finds the nodes of a graph that compute shapes, which TF.js computes in JavaScript.
 *
 * @typedef {import("./types").Graph} Graph
 * @typedef {import("./types").GraphNode} GraphNode
 */

import { functionsOf } from "./kernels.js";

// The output does not follow from the values of the input.
const OF_SHAPES = new Set(["Shape", "ShapeN", "Size", "Rank"]);
// The output follows from no input: random numbers are data, although their shape is an input.
const RANDOM = /^(Random|Stateless(?!If|While)|Stateful|Truncated|ParameterizedTruncated|Multinomial)/;
const LOOPS = new Set(["While", "StatelessWhile"]);

// The inputs that are shapes, sizes, axes or indices of axes; they are read into JavaScript before the kernel runs.
/** @type {Record<string, number[]>} */
const SHAPES = {
  ArgMax: [1],
  ArgMin: [1],
  BatchToSpaceND: [1, 2],
  BroadcastTo: [1],
  Conv2DBackpropInput: [0],
  CropAndResize: [3],
  Cumprod: [1],
  Cumsum: [1],
  ExpandDims: [1],
  Fill: [0],
  ImageProjectiveTransformV3: [2],
  LinSpace: [2],
  MatrixBandPart: [1, 2],
  Max: [1],
  Mean: [1],
  Min: [1],
  MirrorPad: [1],
  Multinomial: [1],
  NonMaxSuppressionV2: [2],
  NonMaxSuppressionV3: [2],
  NonMaxSuppressionV4: [2],
  NonMaxSuppressionV5: [2],
  OneHot: [1],
  Pad: [1],
  PadV2: [1],
  Prod: [1],
  RandomStandardNormal: [0],
  RandomUniform: [0],
  RandomUniformInt: [0],
  Reshape: [1],
  ResizeBilinear: [1],
  ResizeNearestNeighbor: [1],
  ReverseV2: [1],
  ScatterNd: [2],
  Slice: [1, 2],
  SpaceToBatchND: [1, 2],
  SparseToDense: [1],
  Split: [0],
  SplitV: [1, 2],
  StridedSlice: [1, 2, 3],
  Sum: [1],
  TensorListFromTensor: [1],
  TensorListReserve: [0, 1],
  TensorListStack: [1],
  Tile: [1],
  TopKV2: [1],
  Transpose: [1],
  TruncatedNormal: [0],
};

/**
 * The nodes that compute shapes: their values follow from shapes and constants alone, or only shapes follow from them.
 *
 * @param {Graph} graph with its functions
 * @returns {Set<GraphNode>}
 */
export function shapeArithmetic(graph) {
  const graphs = [graph, ...Object.values(graph.functions ?? {})];
  const nodes = graphs.flatMap((one) => Object.values(one.nodes));
  const isRead = (/** @type {GraphNode} */ { op }) => OF_SHAPES.has(op);
  const fed = nodes.filter((node) => (node.op.startsWith("Placeholder") && !isArgument(graphs, node)) || RANDOM.test(node.op));
  const data = reached(graph, new Set([...fed, ...graph.inputs]), isRead);
  const shapes = reached(graph, new Set(nodes.filter(isRead)), () => false);
  const taken = takenAsData(graphs);
  return new Set(nodes.filter((node) => (shapes.has(node) && !data.has(node)) || !taken.has(node)));
}

/**
 * @param {Graph[]} graphs the whole graph, then its functions
 * @param {GraphNode} node
 */
function isArgument([, ...functions], node) {
  return functions.some(({ inputs }) => inputs.includes(node));
}

/**
 * The nodes that follow from `sources`, through the functions that are called too.
 *
 * @param {Graph} graph
 * @param {Set<GraphNode>} sources
 * @param {(node: GraphNode) => boolean} isBarrier whether a node's output does not follow from its inputs
 */
function reached(graph, sources, isBarrier) {
  const found = new Set(sources);
  const nodes = [graph, ...Object.values(graph.functions ?? {})].flatMap((one) => Object.values(one.nodes));
  for (let size = -1; size < found.size; ) {
    size = found.size;
    for (const node of nodes) {
      if (!isBarrier(node) && node.inputs.some((input) => found.has(input))) found.add(node);
      call(node, functionsOf(node, graph), found);
    }
  }
  return found;
}

/**
 * Add the arguments and the result of a call to what was found. What a loop's body returns is its next argument.
 *
 * @param {GraphNode} node
 * @param {Graph[]} functions
 * @param {Set<GraphNode>} found
 */
function call(node, functions, found) {
  for (const called of functions) {
    const condition = node.inputs.length - called.inputs.length; // the first input of a branch is its condition
    called.inputs.forEach((argument, at) => {
      const given = node.inputs[condition + at];
      const again = LOOPS.has(node.op) && functions.some(({ inputs, outputs }) => outputs.length === inputs.length && outputs[at] !== undefined && found.has(outputs[at]));
      if (again || (given !== undefined && found.has(given))) found.add(argument);
    });
    if (called.outputs.some((output) => found.has(output))) found.add(node);
  }
}

/**
 * The nodes whose values end up in an output, other than as a shape.
 *
 * @param {Graph[]} graphs
 */
function takenAsData(graphs) {
  const taken = new Set(graphs.flatMap(({ outputs }) => outputs));
  for (const node of taken) {
    if (OF_SHAPES.has(node.op)) continue;
    node.inputs.forEach((input, at) => {
      if (!SHAPES[node.op]?.includes(at)) taken.add(input);
    });
  }
  return taken;
}
