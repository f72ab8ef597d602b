// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { shapeArithmetic } from "../../pytest_tfjs/page/shape_arithmetic.js";

/** @typedef {import("../../pytest_tfjs/page/types").GraphNode} GraphNode */
/** @typedef {import("../../pytest_tfjs/page/types").Graph} Graph */

/**
 * A graph of nodes `name: [op, ...inputs]`, in their order. A fourth part of an op's name is the function that it calls.
 *
 * @param {Record<string, [string, ...string[]]>} described
 * @param {{inputs?: string[], outputs: string[], functions?: Record<string, Graph>}} rest
 * @returns {Graph}
 */
function graph(described, { inputs = ["x"], outputs, functions = {} }) {
  /** @type {Record<string, GraphNode>} */
  const nodes = {};
  for (const [name, [op, ...taken]] of Object.entries(described)) {
    const [plain = "", ...called] = op.split(" ");
    const attrParams = Object.fromEntries(called.map((value, at) => [`f${at}`, { type: "func", value }]));
    nodes[name] = { name, op: plain, category: "", inputs: [], inputNames: taken, attrParams };
  }
  const named = (/** @type {string} */ name) => /** @type {GraphNode} */ (nodes[name]);
  for (const node of Object.values(nodes)) node.inputs = node.inputNames.map(named);
  return { nodes, inputs: inputs.map(named), outputs: outputs.map(named), functions };
}

/** @param {Graph} made @param {Graph} [of] */
const found = (made, of = made) => {
  const shapes = shapeArithmetic(made);
  return Object.values(of.nodes).filter((node) => shapes.has(node)).map(({ name }) => name).join(" ");
};

test("what follows from shapes and constants alone is a shape", () => {
  const resized = graph({
    x: ["Placeholder"], scale: ["Const"], half: ["Const"],
    shape: ["Shape", "x"], float: ["Cast", "shape"], scaled: ["Mul", "float", "scale"], size: ["Cast", "scaled"],
    halved: ["Mul", "x", "half"], out: ["ResizeBilinear", "halved", "size"],
  }, { outputs: ["out"] });
  assert.equal(found(resized), "scale shape float scaled size");
});

test("what is fed and taken as a shape only is a shape", () => {
  const fed = graph({
    x: ["Placeholder"], factor: ["Placeholder"],
    shape: ["Shape", "x"], float: ["Cast", "shape"], scaled: ["Mul", "float", "factor"], size: ["Cast", "scaled"],
    out: ["Reshape", "x", "size"],
  }, { inputs: ["x", "factor"], outputs: ["out"] });
  assert.equal(found(fed), "factor shape float scaled size");
});

test("data that a shape is mixed with is none", () => {
  const mean = graph({
    x: ["Placeholder"], shape: ["Shape", "x"], float: ["Cast", "shape"], sum: ["Sum", "x"], mean: ["RealDiv", "sum", "float"],
  }, { outputs: ["mean"] });
  assert.equal(found(mean), "shape float");
});

test("what is computed from weights alone is no shape", () => {
  const table = graph({
    ids: ["Placeholder"], table: ["Const"], offset: ["Const"],
    moved: ["Add", "table", "offset"], rows: ["GatherV2", "moved", "ids"],
  }, { inputs: ["ids"], outputs: ["rows"] });
  assert.equal(found(table), "");
});

test("random numbers are no shape, although they take one", () => {
  const noise = graph({
    x: ["Placeholder"], shape: ["Shape", "x"], noise: ["RandomStandardNormal", "shape"], scale: ["Const"],
    scaled: ["Mul", "noise", "scale"], out: ["Add", "x", "scaled"],
  }, { outputs: ["out"] });
  assert.equal(found(noise), "shape");
});

test("arguments of a loop are what they are given, and what its body returns", () => {
  const condition = graph({ i: ["Placeholder"], n: ["Placeholder"], y: ["Placeholder"], go: ["Less", "i", "n"] },
    { inputs: ["i", "n", "y"], outputs: ["go"] });
  const body = graph({
    i: ["Placeholder"], n: ["Placeholder"], y: ["Placeholder"], one: ["Const"],
    next: ["Add", "i", "one"], same: ["Identity", "n"], z: ["Mul", "y", "one"],
  }, { inputs: ["i", "n", "y"], outputs: ["next", "same", "z"] });
  const loop = graph({
    x: ["Placeholder"], zero: ["Const"], shape: ["Shape", "x"], n: ["Cast", "shape"],
    loop: ["StatelessWhile c b", "zero", "n", "x"],
  }, { outputs: ["loop"], functions: { c: condition, b: body } });
  assert.equal(found(loop), "shape n");
  assert.equal(found(loop, body), "n same");
  assert.equal(found(loop, condition), "n y go"); // nothing takes its `y`
});

test("what a loop's body makes of data is data in its next round", () => {
  const condition = graph({ sum: ["Placeholder"], y: ["Placeholder"], go: ["Less", "sum", "y"] }, { inputs: ["sum", "y"], outputs: ["go"] });
  const body = graph({
    sum: ["Placeholder"], y: ["Placeholder"], next: ["Add", "sum", "y"], same: ["Identity", "y"],
  }, { inputs: ["sum", "y"], outputs: ["next", "same"] });
  const loop = graph({
    x: ["Placeholder"], shape: ["Shape", "x"], n: ["Cast", "shape"], loop: ["While c b", "n", "x"],
  }, { outputs: ["loop"], functions: { c: condition, b: body } });
  assert.equal(found(loop), "shape n");
  assert.equal(found(loop, body), "");
});

test("the first input of a branch is its condition, not an argument", () => {
  const branch = graph({ a: ["Placeholder"], twice: ["Mul", "a", "a"] }, { inputs: ["a"], outputs: ["twice"] });
  const made = (/** @type {string} */ taken) => graph({
    x: ["Placeholder"], shape: ["Shape", "x"], float: ["Cast", "shape"], is: ["Any", "x"], out: ["If f", "is", taken],
  }, { outputs: ["out"], functions: { f: branch } });
  assert.equal(found(made("x"), branch), "");
  assert.equal(found(made("float"), branch), "a twice");
});

test("a loop of version 1, which is a circle, ends", () => {
  const old = graph({
    x: ["Placeholder"], enter: ["Enter", "x"], merge: ["Merge", "enter", "next"], half: ["Const"],
    y: ["Mul", "merge", "half"], next: ["NextIteration", "y"], exit: ["Exit", "merge"],
  }, { outputs: ["exit"] });
  assert.equal(found(old), "");
});
