// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The browser globals that the page's modules read when they are loaded.
Object.defineProperty(globalThis, "location", { value: new URL("http://127.0.0.1/token/page/index.html?page=1") });
Object.assign(globalThis, { Worker: class { postMessage() {} } });
const { aloneRunner } = await import("../../pytest_tfjs/page/alone_graph.js");
const { needsAsync } = await import("../../pytest_tfjs/page/graph_execution.js");

/** @typedef {import("../../pytest_tfjs/page/types").Graph} Graph */
/** @typedef {import("../../pytest_tfjs/page/types").GraphNode} GraphNode */
/** @typedef {import("../../pytest_tfjs/page/types").GraphPlan} GraphPlan */

const CONTROL = ["While", "TensorListStack", "TensorListReserve"];

/**
 * A graph model of lines `name op input input:1 …` that records how it is executed and returns the tensors of `results`.
 *
 * @param {string[]} lines
 * @param {any[]} [results]
 */
function modelOf(lines, results = [{ shape: [] }]) {
  /** @type {Record<string, GraphNode>} */
  const nodes = {};
  for (const line of lines) {
    const [name = "", op = "", ...inputNames] = line.split(" ");
    nodes[name] = { name, op, category: CONTROL.includes(op) ? "control" : "basic_math", inputs: [], inputNames };
  }
  for (const node of Object.values(nodes)) {
    node.inputs = node.inputNames.map((input) => /** @type {GraphNode} */ (nodes[input.replace(/:.*/, "")]));
  }
  /** @type {any[]} */
  const log = [];
  const executor = { graph: { nodes, outputs: [] }, weightMap: { w: [] } };
  const model = /** @type {any} */ ({ executor });
  for (const how of ["execute", "executeAsync"]) {
    model[how] = (/** @type {any} */ inputs, /** @type {any} */ names) => {
      assert.ok(Object.hasOwn(executor, "checkInputShapeAndType"), "TF.js would check what it is fed");
      log.push([how, inputs, names]);
      return results;
    };
  }
  return { model, log };
}

/** @param {string} node @param {GraphPlan["fed"]} fed */
const tap = (node, fed) => ({ name: "row", address: { node }, alone: { rows: [], fed } });

const CHAIN = ["x Placeholder", "w Const", "conv Conv2D x w", "relu Relu conv", "loop While relu", "end TensorListStack loop:1", "neg Neg end"];

test("each tensor is fed from its row's reference or the feed", async () => {
  const result = /** @type {any} */ ({ result: true, shape: [2, 0] });
  const { model, log } = modelOf(CHAIN, [result]);
  const [conv, image] = /** @type {any[]} */ ([{ row: true }, { image: true }]);
  const run = aloneRunner(model);
  const rows = new Map([["a", conv]]);
  const feed = new Map([["image", image]]);
  assert.equal(await run(tap("relu:0", [["conv:0", { row: "a" }]]), rows, feed), result);
  await run(tap("conv", [["x:0", { input: "image" }]]), rows, feed);
  assert.deepEqual(log, [
    ["execute", { "conv:0": conv }, ["relu:0"]],
    ["execute", { "x:0": image }, ["conv:0"]],
  ]);
});

test("a fed tensor returned by the model is cloned", async () => {
  const fed = /** @type {any} */ ({ shape: [], clone: () => "its clone" });
  const { model } = modelOf(CHAIN, [fed]);
  assert.equal(await aloneRunner(model)(tap("relu:0", [["conv:0", { row: "a" }]]), new Map([["a", fed]]), new Map()), "its clone");
});

test("executeAsync() is called only if an asynchronous node is computed", async () => {
  const { model, log } = modelOf(CHAIN);
  const run = aloneRunner(model);
  await run(tap("end:0", [["relu:0", { row: "a" }]]), new Map([["a", /** @type {any} */ ({})]]), new Map());
  await run(tap("neg:0", [["end:0", { row: "a" }]]), new Map([["a", /** @type {any} */ ({})]]), new Map());
  assert.deepEqual(log.map(([how]) => how), ["executeAsync", "execute"]);
});

test("TF.js needs executeAsync() for some operations even if they are fed", () => {
  const { model } = modelOf(["x Placeholder", "loop While x", "neg Neg loop:2", "stack TensorListStack x", "abs Abs stack"]);
  assert.equal(needsAsync(model, ["neg:0"], new Set(["loop"])), true);
  assert.equal(needsAsync(model, ["abs:0"], new Set(["stack"])), false);
  assert.equal(needsAsync(model, ["abs:0"]), true);
});

test("TF.js's feed check is off while a node runs alone and restored after a failure", async () => {
  const { model } = modelOf(CHAIN);
  const run = aloneRunner(model);
  const relu = tap("relu:0", [["conv:0", { row: "a" }]]);
  await run(relu, new Map([["a", /** @type {any} */ ({})]]), new Map());
  assert.equal(Object.hasOwn(model.executor, "checkInputShapeAndType"), false);
  model.execute = () => { throw new Error("no such shape"); };
  await assert.rejects(run(relu, new Map(), new Map()), /no such shape/);
  assert.equal(Object.hasOwn(model.executor, "checkInputShapeAndType"), false);
});

test("a tap of an unknown node is rejected", async () => {
  const { model } = modelOf(CHAIN);
  await assert.rejects(aloneRunner(model)(tap("gone:0", []), new Map(), new Map()), /no node 'gone'/);
});
