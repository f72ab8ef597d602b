// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The browser globals that the page's modules read when they are loaded.
Object.defineProperty(globalThis, "location", { value: new URL("http://127.0.0.1/token/page/index.html?page=1") });
Object.assign(globalThis, { Worker: class { postMessage() {} } });
const { AloneRuns, inPieces } = await import("../../pytest_tfjs/page/alone.js");
const { FedTensors } = await import("../../pytest_tfjs/page/fed_tensors.js");

/** @typedef {import("../../pytest_tfjs/page/types").TF} TF */

/** @returns {import("../../pytest_tfjs/page/types").Tap} */
const row = (/** @type {string} */ name, /** @type {string[]} */ ...rows) => ({ name, address: {}, alone: { rows, fed: [] } });

/**
 * @param {ReturnType<typeof row>[]} rows
 * @param {number} limit
 * @param {Record<string, number>} sizes
 */
const pieces = (rows, limit, sizes = {}) =>
  inPieces(rows, (name) => sizes[name] ?? 10, limit).map((piece) => [piece.taps.map(({ name }) => name).join(""), piece.names.join("")]);

test("a reference of several rows is fetched once", () => {
  assert.deepEqual(pieces([row("b", "a"), row("c", "a", "b"), row("d", "a")], 100), [["bcd", "ab"]]);
});

test("a piece ends before its references exceed the limit", () => {
  assert.deepEqual(pieces([row("b", "a"), row("c", "b"), row("d", "c", "a"), row("e", "d")], 20), [["bc", "ab"], ["de", "cd"]]);
});

test("a reference over the limit has its own piece", () => {
  assert.deepEqual(pieces([row("b", "a"), row("d", "c"), row("f", "e")], 20, { c: 50 }), [["b", "a"], ["d", "c"], ["f", "e"]]);
});

test("rows without references form a piece", () => {
  assert.deepEqual(pieces([row("a"), row("b")], 20), [["ab", ""]]);
  assert.deepEqual(pieces([], 20), []);
});

/**
 * Runs rows alone, each of which takes the rows before it, and records what happened.
 *
 * @param {Record<string, string[]>} needs
 * @param {Record<string, () => never>} [failing]
 */
function world(needs, failing = {}, elements = 1) {
  /** @type {string[]} */
  const log = [];
  let made = 0;
  /** @param {string} name @returns {any} */
  const tensor = (name) => ({ name, shape: [elements], dtype: "float32", dispose: () => void log.push(`dispose ${name}`) });
  const tf = /** @type {TF} */ (/** @type {unknown} */ ({
    getBackend: () => "webgl",
    backend: () => ({}),
    tensor: (/** @type {any} */ data) => tensor(`${data}#${++made}`),
    dispose: (/** @type {any[]} */ tensors) => tensors.forEach((one) => one.dispose()),
  }));
  const model = {
    constants: () => new Map(),
    aloneRunner: () => async (/** @type {import("../../pytest_tfjs/page/types").Tap} */ { name, alone }, /** @type {Map<string, any>} */ fed) => {
      log.push(`run ${name}(${alone?.rows.map((need) => fed.get(need).name)})`);
      failing[name]?.();
      return tensor(name);
    },
  };
  const fetch = async (/** @type {number} */ feed, /** @type {string[]} */ names) => {
    log.push(`fetch ${names} of ${feed}`);
    return new Map(names.map((name) => [name, /** @type {any} */ ({ dtype: "float32", shape: [1], data: name })]));
  };
  const aloneRuns = new AloneRuns(tf, model, { chunkLimit: 1 << 26 }, fetch);
  const taps = (/** @type {string} */ names) => [...names].map((name) => {
    const rows = needs[name];
    return { name, address: {}, alone: rows === undefined ? null : { rows, fed: [] } };
  });
  /** @param {string} names @param {number} feed */
  const run = async (names, feed = 0) => {
    log.length = 0;
    const activations = new Map([...names].map((name) => [name, tensor(name)]));
    const results = await aloneRuns.run(aloneRuns.start(taps(names), feed, activations), new FedTensors(tf), () => undefined);
    return [...results.keys()].join("");
  };
  return { log, aloneRuns, run };
}

test("each reference is uploaded once and disposed after its last use", async () => {
  const { log, run } = world({ a: [], b: ["a"], c: ["a", "b"] });
  assert.equal(await run("abc"), "abc");
  assert.deepEqual(log, ["fetch a,b of 0", "run a()", "run b(a#1)", "run c(a#1,b#2)", "dispose a#1", "dispose b#2"]);
});

test("the next references are requested before the current piece runs", async () => {
  const { log, run } = world({ b: ["a"], c: ["b"], d: ["c", "a"] }, {}, 2 << 20);
  assert.equal(await run("bcd", 3), "bcd");
  // 8 MiB each, except the first, whose size is unknown.
  assert.deepEqual(log, [
    "fetch a,b of 3", "fetch c of 3", "run b(a#1)", "run c(b#2)", "dispose b#2", "run d(c#3,a#1)", "dispose c#3", "dispose a#1",
  ]);
});

test("a failed row has a reason and is not run for the next feed", async () => {
  const { aloneRuns, run, log } = world({ a: [], b: ["a"], c: ["b"] }, { b: () => { throw new Error("no such shape"); } });
  assert.equal(await run("abc"), "ac");
  assert.equal(await run("abc", 1), "ac");
  assert.ok(!log.some((line) => line.startsWith("run b")));
  assert.deepEqual(aloneRuns.failures(), [["b", "the layer failed: no such shape"]]);
});

/** A TF.js that keeps the array that it is given, as the backend cpu does. */
function inMemory() {
  return /** @type {TF} */ (/** @type {unknown} */ ({
    getBackend: () => "cpu",
    backend: () => ({}),
    dispose: () => undefined,
    tensor: (/** @type {any} */ data, /** @type {number[]} */ shape, /** @type {string} */ dtype) => (
      { shape, dtype, dataId: {}, dataSync: () => data, dispose: () => undefined }
    ),
  }));
}

test("a row that writes into what it takes is recorded, and the next row takes what was fed", async () => {
  const tf = inMemory();
  const host = (/** @type {number} */ value) => (
    { dtype: /** @type {const} */ ("float32"), shape: [1], data: new Float32Array([value]) }
  );
  const model = {
    constants: () => new Map(), aloneRunner: () => async (/** @type {import("../../pytest_tfjs/page/types").Tap} */ { name }, /** @type {Map<string, any>} */ fed, /** @type {Map<string, any>} */ input) => {
      const taken = [fed.get("a").dataSync(), input.get("x").dataSync()];
      const result = tf.tensor(new Float32Array([taken[0][0] + taken[1][0]]), [1], "float32");
      if (name === "b") taken[0][0] = 70;
      if (name === "c") taken[1][0] = 80;
      return result;
    },
  };
  const fetch = async () => new Map([["a", host(1)]]);
  const aloneRuns = new AloneRuns(tf, model, { chunkLimit: 1 << 26 }, fetch);
  /** @type {import("../../pytest_tfjs/page/types").GraphPlan} */
  const alone = { rows: ["a"], fed: [["a:0", { row: "a" }], ["x:0", { input: "x" }]] };
  const taps = ["b", "c", "d"].map((name) => ({ name, address: {}, alone }));
  const activations = new Map(taps.map(({ name }) => [name, tf.tensor(new Float32Array(1), [1], "float32")]));
  const results = await aloneRuns.run(aloneRuns.start(taps, 0, activations), new FedTensors(tf, new Map([["x", host(2)]])), () => undefined);
  assert.deepEqual([...results.values()].map((one) => one.dataSync()[0]), [3, 3, 3]);
  assert.deepEqual(aloneRuns.overwrites(), [["b", "a"], ["c", "x"]]);
});

test("a row without a plan is not run", async () => {
  const { aloneRuns, run } = world({ a: [] });
  assert.equal(await run("ax"), "a");
  assert.deepEqual(aloneRuns.failures(), []);
});

test("a row over the limit of one fetch has that as its reason", async () => {
  const { aloneRuns, run, log } = world({ a: [], b: ["a"], c: ["a", "b"] }, {}, 3 << 22);
  assert.equal(await run("abc"), "ab");
  assert.equal(aloneRuns.failures().join(), `c,the layer's inputs have ${6 << 24} bytes, and a job can receive at most ${1 << 26} bytes at once`);
  assert.deepEqual(log.filter((line) => line.startsWith("fetch")), ["fetch a of 0"]);
});
