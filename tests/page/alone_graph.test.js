// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { planner } from "../../pytest_tfjs/page/alone_graph.js";

/** @typedef {import("../../pytest_tfjs/page/types").Graph} Graph */
/** @typedef {import("../../pytest_tfjs/page/types").GraphNode} GraphNode */

/**
 * A graph of lines `name op input input:1 …`.
 *
 * @param {string[]} lines
 * @param {Partial<GraphNode>} rest of every node
 * @returns {Graph}
 */
function graphOf(lines, rest = {}) {
  /** @type {Record<string, GraphNode>} */
  const nodes = {};
  for (const line of lines) {
    const [name = "", op = "", ...inputNames] = line.split(" ");
    const category = ["While", "TensorListStack"].includes(op) ? "control" : "basic_math";
    nodes[name] = { name, op, category, inputs: [], inputNames, ...rest };
  }
  for (const node of Object.values(nodes)) {
    node.inputs = node.inputNames.map((input) => /** @type {GraphNode} */ (nodes[input.replace(/:.*/, "")]));
  }
  return { nodes, outputs: [] };
}

/**
 * What `tensor` is fed, where the tensors `known` are rows of the same name.
 *
 * @param {Graph} graph
 * @param {string[]} known
 * @param {string} tensor
 */
function plan(graph, known, tensor) {
  const parts = { graph, weights: { w: [], v: [] }, inputs: new Map([["x", "image"], ["y", "mask"]]), resources: new Set(["table"]) };
  const found = planner(parts, known.map((name) => ({ name, tensor: name })))({ name: tensor, tensor });
  if ("why" in found) return found.why;
  return { cuts: [...found.cuts].map((pair) => pair.join("<")), inputs: [...found.inputs.keys()], dynamic: found.dynamic };
}

const CHAIN = graphOf(["x Placeholder", "w Const", "v Const", "conv Conv2D x w", "bias AddV2 conv v", "relu Relu bias"]);

test("a node is fed the known tensor in front of it", () => {
  assert.deepEqual(plan(CHAIN, ["bias:0"], "relu:0"), { cuts: ["bias:0<bias:0"], inputs: [], dynamic: false });
});

test("what is not known is computed, from the nearest that is", () => {
  assert.deepEqual(plan(CHAIN, ["conv:0"], "relu:0"), { cuts: ["conv:0<conv:0"], inputs: [], dynamic: false });
  assert.deepEqual(plan(CHAIN, [], "relu:0"), { cuts: [], inputs: ["x"], dynamic: false });
});

test("what is known farther off is not fed", () => {
  assert.deepEqual(plan(CHAIN, ["conv:0", "bias:0"], "relu:0"), { cuts: ["bias:0<bias:0"], inputs: [], dynamic: false });
});

test("a node is not fed its own tensor", () => {
  assert.deepEqual(plan(CHAIN, ["conv:0", "relu:0"], "relu:0"), { cuts: ["conv:0<conv:0"], inputs: [], dynamic: false });
});

test("weights and the model's inputs are no layers", () => {
  assert.equal(plan(CHAIN, [], "w:0"), "it is a weight, which is not computed");
  assert.equal(plan(CHAIN, [], "x:0"), "it is the model's input 'image'");
});

test("what is fed comes in the order in which the artifacts have it", () => {
  const graph = graphOf(["w Const", "a Relu", "b Relu", "c Relu", "d Sub b a", "e ConcatV2 c d a w"]);
  assert.deepEqual(plan(graph, ["a:0", "b:0", "c:0"], "e:0"), { cuts: ["c:0<c:0", "b:0<b:0", "a:0<a:0"], inputs: [], dynamic: false });
});

const SPLIT = graphOf(["x Placeholder", "y Placeholder", "split Split w x", "w Const", "sum AddV2 split split:1", "one Relu split:1", "some AddV2 split:1 y"]);

test("one output of a node is fed alone", () => {
  assert.deepEqual(plan(SPLIT, ["split:1"], "one:0"), { cuts: ["split:1<split:1"], inputs: [], dynamic: false });
  assert.deepEqual(plan(SPLIT, ["split:1"], "some:0"), { cuts: ["split:1<split:1"], inputs: ["y"], dynamic: false });
});

test("a node of which two outputs are taken is computed, known or not", () => {
  for (const known of [["split:0", "split:1"], ["split:0"], ["split:1"], []]) {
    assert.deepEqual(plan(SPLIT, known, "sum:0"), { cuts: [], inputs: ["x"], dynamic: false });
  }
});

test("a node of which two outputs are taken is computed from what is known in front of it", () => {
  const graph = graphOf(["x Placeholder", "w Const", "pre Relu x", "split Split w pre", "sum AddV2 split split:1"]);
  assert.deepEqual(plan(graph, ["pre:0", "split:0", "split:1"], "sum:0"), { cuts: ["pre:0<pre:0"], inputs: [], dynamic: false });
});

test("outputs with names are known by their numbers", () => {
  const graph = graphOf(["x Placeholder", "top TopKV2 x w", "w Const", "relu Relu top:indices:1"]);
  assert.deepEqual(plan(graph, ["top:1"], "relu:0"), { cuts: ["top:1<top:1"], inputs: [], dynamic: false });
});

const ALIASES = graphOf(["x Placeholder", "relu Relu x", "same Identity relu", "again Identity same", "neg Neg relu", "abs Abs again"]);

test("what a node passes on unchanged is known by any of its names", () => {
  assert.deepEqual(plan(ALIASES, ["again:0"], "neg:0"), { cuts: ["relu:0<again:0"], inputs: [], dynamic: false });
  assert.deepEqual(plan(ALIASES, ["again:0", "relu:0"], "neg:0"), { cuts: ["relu:0<relu:0"], inputs: [], dynamic: false });
});

test("what a node passes on unchanged is not computed from what it passes it on to", () => {
  assert.deepEqual(plan(ALIASES, ["again:0"], "again:0"), { cuts: [], inputs: ["x"], dynamic: false });
  assert.deepEqual(plan(ALIASES, ["same:0", "again:0"], "same:0"), { cuts: [], inputs: ["x"], dynamic: false });
  assert.deepEqual(plan(ALIASES, ["same:0", "again:0"], "again:0"), { cuts: ["same:0<same:0"], inputs: [], dynamic: false });
});

test("a loop is run whole, from what goes into it", () => {
  const graph = graphOf(["x Placeholder", "pre Relu x", "list TensorListReserve w", "w Const", "loop While pre list", "end TensorListStack loop:1 w", "neg Neg end"]);
  assert.deepEqual(plan(graph, ["pre:0", "end:0"], "end:0"), { cuts: ["pre:0<pre:0"], inputs: [], dynamic: true });
  assert.deepEqual(plan(graph, ["pre:0", "end:0"], "neg:0"), { cuts: ["end:0<end:0"], inputs: [], dynamic: false });
});

test("what is fed for a loop needs executeAsync() as well", () => {
  const graph = graphOf(["x Placeholder", "loop While x", "neg Neg loop:2"]);
  assert.deepEqual(plan(graph, ["loop:2"], "neg:0"), { cuts: ["loop:2<loop:2"], inputs: [], dynamic: true });
});

test("loops of version 1, which are circles, end", () => {
  const graph = graphOf(["x Placeholder", "enter Enter x", "merge Merge enter next", "switch Switch merge w", "w Const", "next NextIteration body", "body Relu switch:1", "exit Exit switch"]);
  assert.deepEqual(plan(graph, ["exit:0"], "exit:0"), { cuts: [], inputs: ["x"], dynamic: false });
});

test("what gives random numbers is not computed, and what takes them is", () => {
  const graph = graphOf(["x Placeholder", "w Const", "drawn RandomStandardNormal w", "noisy AddV2 x drawn"]);
  assert.match(String(plan(graph, [], "noisy:0")), /'drawn' \(RandomStandardNormal\) gives random numbers/);
  assert.deepEqual(plan(graph, ["drawn:0"], "noisy:0"), { cuts: ["drawn:0<drawn:0"], inputs: ["x"], dynamic: false });
});

test("random numbers within a loop are found", () => {
  const graph = graphOf(["x Placeholder", "loop While x"], { attrParams: { body: { type: "func", value: "body" } } });
  graph.functions = { body: graphOf(["x Placeholder", "drawn RandomUniform x"]) };
  assert.match(String(plan(graph, [], "loop:0")), /'drawn'/);
});

test("what is not in the feed is told", () => {
  const graph = graphOf(["left Placeholder", "relu Relu left"]);
  assert.equal(plan(graph, [], "relu:0"), "it takes 'left', which is not in the feed");
});

test("a resource is TF.js's to feed", () => {
  const graph = graphOf(["x Placeholder", "table Placeholder", "find LookupTableFindV2 table x w", "w Const"]);
  assert.deepEqual(plan(graph, [], "find:0"), { cuts: [], inputs: ["x"], dynamic: false });
});
