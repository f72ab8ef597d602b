// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { explain, kernelOf, missingKernels, nodesToRun, unregistered } from "../../pytest_tfjs/page/kernels.js";

/** @typedef {import("../../pytest_tfjs/page/types").GraphNode} GraphNode */
/** @typedef {import("../../pytest_tfjs/page/types").Graph} Graph */

const REGISTERED = new Map([
  ["cpu", new Set(["Add", "BatchMatMul", "Conv3D", "FusedConv2D", "GatherV2", "NonMaxSuppressionV4", "Relu", "TopK", "_FusedMatMul"])],
  ["wasm", new Set(["Add", "BatchMatMul", "FusedConv2D", "Relu"])],
  ["webgl", new Set(["Add", "Conv3D", "Relu"])],
]);

/** @param {string} kernel */
const exists = (kernel) => [...REGISTERED.values()].some((kernels) => kernels.has(kernel));

/**
 * @param {string} name
 * @param {string} op
 * @param {GraphNode[]} inputs
 * @param {Partial<GraphNode>} rest
 * @returns {GraphNode}
 */
const node = (name, op, inputs = [], rest = {}) => ({ name, op, inputs, category: "basic_math", ...rest });

/**
 * @param {GraphNode[]} nodes
 * @param {Record<string, Graph>} functions
 * @returns {Graph}
 */
const graph = (nodes, functions = {}) => ({ nodes: Object.fromEntries(nodes.map((one) => [one.name, one])), inputs: [], outputs: nodes.slice(-1), functions });

for (const [op, kernel] of [
  ["Relu", "Relu"],
  ["AddV2", "Add"],
  ["BiasAdd", "Add"],
  ["MatMul", "BatchMatMul"],
  ["BatchMatMulV2", "BatchMatMul"],
  ["TopKV2", "TopK"],
  ["GatherV2", "GatherV2"], // the kernel has the V2 as well
  ["_FusedConv2D", "FusedConv2D"],
  ["_FusedMatMul", "_FusedMatMul"], // and the underscore
  ["BroadcastTo", null],
]) {
  test(`the kernel of ${op} is ${kernel}`, () => {
    assert.equal(kernelOf(node("n", String(op)), exists), kernel);
  });
}

test("operations that run in JavaScript need no kernel", () => {
  assert.equal(kernelOf(node("n", "NonMaxSuppressionV4", [], { category: "dynamic" }), exists), null);
});

test("a missing kernel is reported with its node", () => {
  const first = node("conv3d/Conv3D", "Conv3D");
  const model = graph([first, node("relu", "Relu", [first])]);
  assert.deepEqual(missingKernels(model, {}, "wasm", REGISTERED), [{ layer: "conv3d/Conv3D", kernel: "Conv3D" }]);
  assert.deepEqual(missingKernels(model, {}, "cpu", REGISTERED), []);
});

test("only nodes that lead to an output are checked, and no weights", () => {
  const weight = node("weight", "Conv3D");
  const model = graph([node("aside", "Conv3D"), weight, node("relu", "Relu", [weight])]);
  assert.deepEqual(missingKernels(model, { weight: [] }, "wasm", REGISTERED), []);
});

test("bodies of loops and branches are checked, uncalled functions are not", () => {
  const inner = graph([node("inner", "Conv3D")]);
  /** @param {string} value */
  const calls = (value) => ({ category: "control", attrParams: { body: { type: "func", value } } });
  const outer = graph([node("if", "StatelessIf", [], calls("inner"))]);
  const model = graph([node("while", "StatelessWhile", [], calls("outer"))], { outer, inner, other: graph([node("other", "Conv3D")]) });
  assert.deepEqual(nodesToRun(model, {}).map(({ name }) => name), ["while", "if", "inner"]);
  assert.deepEqual(missingKernels(model, {}, "wasm", REGISTERED), [{ layer: "inner", kernel: "Conv3D" }]);
});

test("functions that call each other are checked once", () => {
  const own = graph([node("again", "While", [], { category: "control", attrParams: { body: { type: "func", value: "own" } } })]);
  own.functions = { own };
  assert.equal(nodesToRun(own, {}).length, 1);
});

test("a missing kernel is reported with the backends that have it", () => {
  const needs = [{ layer: "a", kernel: "Conv3D" }, { layer: "b", kernel: "TopK" }, { layer: null, kernel: "Nowhere" }];
  assert.deepEqual(explain(needs, "wasm", REGISTERED).split("\n"), [
    "'a' needs the kernel Conv3D, which wasm does not register; cpu, webgl have it",
    "'b' needs the kernel TopK, which wasm does not register; cpu has it",
    "the model needs the kernel Nowhere, which wasm does not register; no backend in the page has it",
  ]);
});

test("only TF.js's message for a missing kernel is recognised", () => {
  const said = new Error("Kernel 'FFT' not registered for backend 'wasm'");
  assert.deepEqual(unregistered(said), { kernel: "FFT", backend: "wasm" });
  assert.equal(unregistered(new Error("out of memory")), null);
  assert.equal(unregistered("Kernel 'FFT' not registered for backend 'wasm'"), null);
});
