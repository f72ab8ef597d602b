// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { aloneRunner } from "../../pytest_tfjs/page/alone_layers.js";

/** @typedef {import("../../pytest_tfjs/page/types").Step} Step */

// Layers on text: each adds its name to its inputs and records how it was called.

/** @type {{name: string, inputs: any[], mask: any}[]} */
const log = [];

/** @param {unknown[]} values @returns {any} */
function tensor(...values) {
  return { values, clone: () => tensor(...values, "cloned") };
}

/**
 * @param {string} name
 * @param {Record<string, any>} [rest]
 * @returns {any}
 */
function layer(name, { className = "Dense", outputs = 1, calls = 1, ...rest } = {}) {
  return {
    name,
    supportsMasking: true,
    getClassName: () => className,
    inboundNodes: [...Array(calls)].map(() => ({ outputTensors: [{ sourceLayer: null }] })),
    computeMask: (/** @type {any[]} */ inputs) => tensor(...inputs.flatMap(({ values }) => values), `mask of ${name}`),
    apply(/** @type {any[]} */ inputs, /** @type {any} */ kwargs) {
      log.push({ name, inputs, mask: kwargs?.mask });
      const given = inputs.flatMap(({ values }) => values);
      return [...Array(outputs).keys()].map((at) => tensor(...given, outputs > 1 ? `${name}:${at}` : name));
    },
    ...rest,
  };
}

/**
 * A step: `layer` takes `inputs`, each the name of a row, `<input>`, or a step as `0` or `0:1`.
 *
 * @param {string} path
 * @param {string[]} inputs
 * @param {(number | null)[]} [masks]
 * @returns {Step}
 */
function step(path, inputs, masks = inputs.map(() => null), node = 0) {
  const sources = inputs.map((text) => {
    const [, at, output = "0"] = /^(\d+)(?::(\d+))?$/.exec(text) ?? [];
    if (at !== undefined) return { step: Number(at), output: Number(output) };
    return text.startsWith("<") ? { input: text.slice(1, -1) } : { row: text };
  });
  return { layer: path.split("/"), node, inputs: sources, masks };
}

const tf = { tidy: (/** @type {() => any} */ work) => work() };

/**
 * A function that runs steps over layers by their paths, on tensors named after their rows and inputs.
 *
 * @param {Record<string, any>} layers
 */
function runner(layers) {
  const run = aloneRunner(/** @type {any} */ (tf), Object.entries(layers).map(([path, one]) => ({ path: path.split("/"), layer: one })));
  return Object.assign(async (/** @type {Step[]} */ steps, output = 0) => {
    log.length = 0;
    const names = steps.flatMap(({ inputs }) => inputs.flatMap((source) => ("row" in source ? [source.row] : [])));
    const rows = new Map(names.map((name) => [name, tensor(name)]));
    const feed = new Map([["x", tensor("<x>")]]);
    return /** @type {any} */ (await run({ name: "row", address: {}, alone: { rows: names, steps, output } }, rows, feed));
  }, { alone: /** @type {{withoutMask: Set<string>}} */ (/** @type {unknown} */ (run)) });
}

const [a, b, c] = ["a", "b", "c"].map((name) => layer(name));

test("a layer is called with the inputs of its step", async () => {
  const run = runner({ a, b, c });
  assert.deepEqual((await run([step("c", ["b"])])).values, ["b", "c"]);
  assert.deepEqual((await run([step("a", ["<x>"])])).values, ["<x>", "a"]);
  assert.deepEqual((await run([step("b", ["a"]), step("c", ["0", "<x>"])])).values, ["a", "b", "<x>", "c"]);
  assert.deepEqual(log.map(({ name, mask }) => [name, mask]), [["b", undefined], ["c", undefined]]);
});

test("a layer with several outputs is called once", async () => {
  const run = runner({ states: layer("states", { outputs: 3 }), c });
  const states = step("states", ["<x>"]);
  assert.deepEqual((await run([states, step("c", ["0:2", "0"])])).values, ["<x>", "states:2", "<x>", "states:0", "c"]);
  assert.deepEqual(log.map(({ name }) => name), ["states", "c"]);
  assert.deepEqual((await run([states], 1)).values, ["<x>", "states:1"]);
});

test("a layer is found by its path through nested models", async () => {
  const run = runner({ same: layer("outer"), "inner/same": layer("inner") });
  assert.deepEqual((await run([step("inner/same", ["<x>"])])).values, ["<x>", "inner"]);
  await assert.rejects(run([step("inner/gone", ["<x>"])]), /TF.js's model has no layer 'inner\/gone'/);
});

test("a mask is computed from the inputs of its layer without calling the layer", async () => {
  const run = runner({ hides: layer("hides"), c });
  await run([step("hides", ["pre"]), step("c", ["hides"], [0])]);
  assert.deepEqual(log.map(({ name, inputs, mask }) => [name, inputs[0].values, mask.values]), [["c", ["hides"], ["pre", "mask of hides"]]]);
});

test("layers in between pass a mask on", async () => {
  const masks = /** @type {any[]} */ ([]);
  const carries = layer("carries", { computeMask: (/** @type {any} */ _, /** @type {any[]} */ given) => (masks.push(given), given) });
  const run = runner({ hides: layer("hides"), carries, c });
  await run([step("hides", ["<x>"]), step("carries", ["hides"], [0]), step("c", ["carries"], [1])]);
  assert.deepEqual(log[0]?.mask.values, ["<x>", "mask of hides"]);
  assert.equal(masks.length, 1);
});

test("there is no mask if TF.js passes none on", async () => {
  for (const silent of [{ supportsMasking: false }, { computeMask: () => null }, { computeMask: undefined }]) {
    await runner({ hides: layer("hides", silent), c })([step("hides", ["pre"]), step("c", ["hides"], [0])]);
    assert.equal(log[0]?.mask, undefined);
  }
});

test("the first of several masks is used, even if it is null", async () => {
  const run = runner({ hides: layer("hides"), c });
  await run([step("hides", ["pre"]), step("c", ["hides", "a"], [0, null])]);
  assert.deepEqual(log[0]?.mask.values, ["pre", "mask of hides"]);
  await run([step("hides", ["pre"]), step("c", ["a", "hides"], [null, 0])]);
  assert.equal(log[0]?.mask, null);
});

test("a layer that returns its input returns a new tensor", async () => {
  const run = runner({ same: layer("same", { apply: (/** @type {any[]} */ inputs) => inputs[0] }) });
  assert.deepEqual((await run([step("same", ["<x>"])])).values, ["<x>", "cloned"]);
  assert.deepEqual((await run([step("same", ["a"])])).values, ["a", "cloned"]);
});

/**
 * A call in the whole model: TF.js's executor reads the symbolic tensor of the call after it.
 *
 * @param {any} rnn
 * @param {number} node
 * @param {any} mask
 */
function callInModel(rnn, node, mask) {
  rnn.call([], { mask });
  return rnn.inboundNodes[node].outputTensors[0].sourceLayer;
}

test("a layer called with another layer's mask is not run without it", async () => {
  const rnn = layer("rnn", { className: "LSTM", call: () => null });
  const run = runner({ rnn });
  assert.equal(callInModel(rnn, 0, null), rnn);
  assert.deepEqual((await run([step("rnn", ["<x>"])])).values, ["<x>", "rnn"]);
  const masked = layer("rnn", { className: "LSTM", call: () => null });
  const other = runner({ rnn: masked });
  callInModel(masked, 0, tensor("mask"));
  await assert.rejects(other([step("rnn", ["<x>"])]), /TF.js gives 'rnn' a mask in the whole model, although no input of the layer has one/);
});

test("each call of a shared layer has its own mask, or none", async () => {
  const rnn = layer("rnn", { className: "LSTM", calls: 2, call: () => null });
  const run = runner({ rnn, hides: layer("hides") });
  callInModel(rnn, 1, tensor("mask"));
  callInModel(rnn, 0, null);
  await run([step("rnn", ["a"], [null], 0)]);
  assert.equal(log[0]?.mask, undefined);
  await run([step("hides", ["pre"]), step("rnn", ["a"], [0], 1)]);
  assert.deepEqual(log[0]?.mask.values, ["pre", "mask of hides"]);
  await assert.rejects(run([step("rnn", ["a"], [null], 1)]), /although no input/);
});

test("a mask that the model does not pass on is not passed on alone", async () => {
  const rnn = layer("rnn", { className: "LSTM", call: () => null });
  const run = runner({ rnn, hides: layer("hides"), end: layer("end") });
  const masked = [step("hides", ["pre"]), step("rnn", ["a"], [0])];
  await run(masked);
  assert.deepEqual([log[0]?.mask.values, [...run.alone.withoutMask]], [["pre", "mask of hides"], []]);
  callInModel(rnn, 0, null);
  await run(masked);
  assert.deepEqual([log[0]?.mask, [...run.alone.withoutMask]], [undefined, ["row"]]);
});

test("a call that is made in two ways is not run", async () => {
  const rnn = layer("rnn", { className: "LSTM", call: () => null });
  const run = runner({ rnn });
  callInModel(rnn, 0, null);
  callInModel(rnn, 0, tensor("mask"));
  await assert.rejects(run([step("rnn", ["a"])]), /'rnn' both with a mask and without one/);
});

test("calls of layers that run alone are not calls of the model", async () => {
  const rnn = layer("rnn", { className: "LSTM", call: () => null });
  rnn.apply = () => callInModel(rnn, 0, tensor("mask")) && [tensor("rnn")];
  const run = runner({ rnn });
  callInModel(rnn, 0, null);
  await run([step("rnn", ["a"])]);
  await run([step("rnn", ["a"])]);
});
