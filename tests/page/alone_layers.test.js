// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { planner } from "../../pytest_tfjs/page/alone_layers.js";

// Layers of numbers: each adds what it is called for to the sum of what it is given, and notes how it was called.

/** @type {{name: string, inputs: unknown[], mask: unknown}[]} */
const log = [];
let ids = 0;

/**
 * @param {string} name
 * @param {Record<string, any>} [rest]
 * @returns {any}
 */
function layer(name, { className = "Dense", outputs = 1, ...rest } = {}) {
  return {
    name,
    inboundNodes: [],
    supportsMasking: true,
    getClassName: () => className,
    computeMask: (/** @type {unknown[]} */ inputs, /** @type {unknown[]} */ masks) => masks,
    apply(/** @type {any[]} */ inputs, /** @type {any} */ kwargs) {
      log.push({ name, inputs, mask: kwargs?.mask });
      const given = inputs.flatMap(({ values }) => values);
      return [...Array(outputs).keys()].map((at) => tensor(...given, outputs > 1 ? `${name}:${at}` : name));
    },
    outputs: undefined,
    count: outputs,
    ...rest,
  };
}

/** @param {unknown[]} values @returns {any} */
function tensor(...values) {
  return { values, clone: () => tensor(...values, "cloned") };
}

/** Call a layer on symbolic tensors. @param {any} called @param {any[]} inputTensors @returns {any[]} */
function call(called, ...inputTensors) {
  const nodeIndex = called.inboundNodes.length;
  const outputTensors = [...Array(called.count).keys()].map(() => ({ id: ids++, sourceLayer: called, nodeIndex }));
  called.inboundNodes.push({ id: ids++, outboundLayer: called, inputTensors, outputTensors });
  return outputTensors;
}

/** @param {string} name */
function input(name) {
  const made = layer(name, { className: "InputLayer", supportsMasking: false });
  return call(made)[0];
}

/** @param {string} name @param {any[]} inputs @param {any[]} outputs @param {any[]} layers @returns {any} */
function model(name, inputs, outputs, layers) {
  const made = layer(name, { className: "Functional", supportsMasking: false, outputs: outputs.length, layers, inputs });
  made.outputs = outputs;
  made.inboundNodes.push({ id: ids++, outboundLayer: made, inputTensors: inputs, outputTensors: outputs });
  return made;
}

const tf = { tidy: (/** @type {() => any} */ work) => work() };

/**
 * Rows by path: `a`, `inner/b`, `inner#1/b`, `a@1:2` (call 1, output 2).
 *
 * @param {string} path
 */
function tap(path) {
  const [, steps = "", node, output] = /^([^@:]*)(?:@(\d+))?(?::(\d+))?$/.exec(path) ?? [];
  const parts = steps.split("/").map((step) => {
    const [name = "", at] = step.split("#");
    return at === undefined ? name : /** @type {[string, number]} */ ([name, Number(at)]);
  });
  return { name: path, address: { path: parts, ...(node ? { node: Number(node) } : {}), tensor: Number(output ?? 0) } };
}

/**
 * @param {any} of
 * @param {string[]} known
 * @param {string} path
 */
function plan(of, known, path) {
  const found = planner(/** @type {any} */ (tf), of, known.map(tap), of.layers)(tap(path));
  if ("why" in found) throw new Error(found.why);
  return found;
}

/** @param {any} of @param {string[]} known @param {string} path */
const rows = (of, known, path) => plan(of, known, path).rows;

/** @param {any} of @param {string[]} known @param {string} path @returns {Promise<any>} */
async function run(of, known, path) {
  log.length = 0;
  const found = plan(of, known, path);
  const fed = new Map(found.needs.map((name) => [name, tensor(`reference of ${name}`)]));
  return found.run(/** @type {any} */ (fed), /** @type {any} */ (new Map([["x", tensor("x")], ["y", tensor("y")]])));
}

function chain() {
  const x = input("x");
  const [a, b, c] = ["a", "b", "c"].map((name) => layer(name));
  const [one] = call(a, x);
  const [two] = call(b, one);
  const [end] = call(c, two);
  return model("chain", [x], [end], [x.sourceLayer, a, b, c]);
}

test("a layer is called alone on what is known in front of it", async () => {
  assert.deepEqual(rows(chain(), ["a", "b", "c"], "c"), ["b"]);
  assert.deepEqual((await run(chain(), ["a", "b", "c"], "c")).values, ["reference of b", "c"]);
  assert.deepEqual(log.map(({ name, inputs }) => [name, inputs.length]), [["c", 1]]);
});

test("what is not known is computed, from the nearest that is", async () => {
  assert.deepEqual(rows(chain(), ["a", "c"], "c"), ["a"]);
  assert.deepEqual((await run(chain(), ["a", "c"], "c")).values, ["reference of a", "b", "c"]);
  assert.deepEqual((await run(chain(), [], "b")).values, ["x", "a", "b"]);
});

test("the first layer is given the feed", async () => {
  assert.deepEqual(rows(chain(), ["a"], "a"), []);
  assert.deepEqual((await run(chain(), ["a"], "a")).values, ["x", "a"]);
});

test("an input of the model is not computed", () => {
  assert.throws(() => plan(chain(), [], "x"), /it is the model's input 'x'/);
});

test("a layer that is called twice is known by its calls", async () => {
  const [x, y] = [input("x"), input("y")];
  const [shared, both] = [layer("shared"), layer("both")];
  const [left] = call(shared, x);
  const [right] = call(shared, y);
  const [end] = call(both, right, left);
  const whole = model("whole", [x, y], [end], [x.sourceLayer, y.sourceLayer, shared, both]);
  const known = ["shared@0", "shared@1", "both"];
  assert.deepEqual(rows(whole, known, "both"), ["shared@1", "shared@0"]);
  assert.deepEqual((await run(whole, known, "shared@1")).values, ["y", "shared"]);
});

test("outputs of a layer are told apart", async () => {
  const x = input("x");
  const [states, end] = [layer("states", { outputs: 3 }), layer("end")];
  const [first, , third] = call(states, x);
  const [out] = call(end, third, first);
  const whole = model("whole", [x], [out], [x.sourceLayer, states, end]);
  assert.deepEqual(rows(whole, ["states", "states:2"], "end"), ["states:2", "states"]);
  // Not known: the layer is called, once for all its outputs.
  assert.deepEqual((await run(whole, ["states"], "end")).values, ["x", "states:2", "reference of states", "end"]);
  assert.deepEqual((await run(whole, [], "states:1")).values, ["x", "states:1"]);
});

/** A model called twice within another, between other layers. */
function nested() {
  const within = input("within");
  const [first, last] = [layer("first"), layer("last")];
  const inner = model("inner", [within], call(last, ...call(first, within)), [within.sourceLayer, first, last]);
  const x = input("x");
  const [pre, mid, end] = [layer("pre"), layer("mid"), layer("end")];
  const [once] = call(inner, ...call(pre, x));
  const [twice] = call(inner, ...call(mid, once));
  return model("outer", [x], call(end, twice), [x.sourceLayer, pre, inner, mid, end]);
}

test("what goes into a nested model is what its call is given", async () => {
  const known = ["pre", "mid", "inner#1/last", "inner#2/last"];
  assert.deepEqual(rows(nested(), known, "inner#1/first"), ["pre"]);
  assert.deepEqual(rows(nested(), known, "inner#2/first"), ["mid"]);
  assert.deepEqual((await run(nested(), known, "inner#2/first")).values, ["reference of mid", "first"]);
});

test("what comes out of a nested model is what its last layer computes", () => {
  assert.deepEqual(rows(nested(), ["inner#1/last", "inner#2/last"], "mid"), ["inner#1/last"]);
  assert.deepEqual(rows(nested(), ["inner#1/last", "inner#2/last"], "end"), ["inner#2/last"]);
  assert.deepEqual(rows(nested(), ["inner@1", "inner#1/last"], "mid"), ["inner@1"]);
});

test("a nested model as a row is its last layer", async () => {
  const known = ["pre", "inner@1", "inner#1/first"];
  assert.deepEqual(rows(nested(), known, "inner@1"), ["inner#1/first"]);
  assert.deepEqual((await run(nested(), known, "inner@1")).values, ["reference of inner#1/first", "last"]);
});

test("within a nested model nothing of another call of it is known", async () => {
  assert.deepEqual((await run(nested(), ["pre", "inner#2/first"], "inner#1/last")).values, ["reference of pre", "first", "last"]);
});

test("a model in front that lends its inputs is no call", () => {
  const x = input("x");
  const [first, end] = [layer("first"), layer("end")];
  const front = model("front", [x], call(first, x), [x.sourceLayer, first]);
  const whole = model("whole", front.inputs, call(end, ...front.outputs), [front, end]);
  assert.deepEqual(rows(whole, ["front/first", "end"], "end"), ["front/first"]);
  assert.deepEqual(rows(whole, ["front/first", "end"], "front/first"), []);
});

/** @param {Record<string, unknown>} maker */
function masked(maker) {
  const x = input("x");
  const hides = layer("hides", { computeMask: (/** @type {any} */ [given]) => tensor(...given.values, "mask"), ...maker });
  const [carries, end] = [layer("carries"), layer("end")];
  return model("masked", [x], call(end, ...call(carries, ...call(hides, x))), [x.sourceLayer, hides, carries, end]);
}

test("a mask is made of the reference, and handed on", async () => {
  for (const maker of [{ className: "Masking" }, { className: "Embedding", maskZero: true }]) {
    const whole = masked(maker);
    await run(whole, ["hides", "carries", "end"], "end");
    assert.deepEqual(log.map(({ name }) => name), ["end"]);
    assert.deepEqual(/** @type {any} */ (log[0]?.mask).values, ["x", "mask"]);
    assert.deepEqual(rows(whole, ["hides", "carries", "end"], "end"), ["carries"]);
  }
});

test("what a mask is made of is fetched, and is not what the layer takes", async () => {
  const x = input("x");
  const [pre, hides, end] = [layer("pre"), layer("hides", { className: "Masking" }), layer("end")];
  const whole = model("whole", [x], call(end, ...call(hides, ...call(pre, x))), [x.sourceLayer, pre, hides, end]);
  const found = plan(whole, ["pre", "hides", "end"], "end");
  assert.deepEqual([found.rows, found.needs], [["hides"], ["hides", "pre"]]);
});

test("there is no mask where nothing makes one, or a layer does not hand it on", async () => {
  await run(masked({ className: "Embedding", maskZero: false }), ["hides", "carries"], "end");
  assert.equal(log[0]?.mask, undefined);
  const whole = masked({ className: "Masking" });
  whole.layers[2].supportsMasking = false;
  await run(whole, ["hides", "carries"], "end");
  assert.equal(log[0]?.mask, undefined);
});

test("a layer that keeps its state is not called again", () => {
  const x = input("x");
  const [keeps, end] = [layer("keeps", { stateful: true }), layer("end")];
  const whole = model("whole", [x], call(end, ...call(keeps, x)), [x.sourceLayer, keeps, end]);
  assert.throws(() => plan(whole, ["keeps"], "keeps"), /'keeps' keeps a state from run to run/);
  assert.deepEqual(rows(whole, ["keeps"], "end"), ["keeps"]);
});

test("a layer that gives back what it is given gives a tensor of its own", async () => {
  const x = input("x");
  const same = layer("same", { apply: (/** @type {any[]} */ inputs) => inputs[0] });
  const whole = model("whole", [x], call(same, x), [x.sourceLayer, same]);
  assert.deepEqual((await run(whole, [], "same")).values, ["x", "cloned"]);
});

test("a layer that the model calls with a mask of another's is not called without", async () => {
  const x = input("x");
  const [rnn, end] = [layer("rnn", { className: "LSTM", call: () => null }), layer("end")];
  const whole = model("whole", [x], call(end, ...call(rnn, x)), [x.sourceLayer, rnn, end]);
  const found = plan(whole, ["rnn"], "rnn");
  const feed = /** @type {any} */ (new Map([["x", tensor("x")]]));
  rnn.call([], { mask: null });
  assert.deepEqual(/** @type {any} */ (await found.run(new Map(), feed)).values, ["x", "rnn"]);
  rnn.call([], { mask: tensor("mask") });
  await assert.rejects(found.run(new Map(), feed), /TF.js gives 'rnn' a mask, though no input of it carries one/);
});
