// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

Object.defineProperty(globalThis, "location", { value: new URL("http://127.0.0.1/token/page/index.html?page=1") });
const { Constants } = await import("../../pytest_tfjs/page/constants.js");

/** @param {string} backend @param {Record<string, Float32Array>} values */
function world(backend, values, written = false) {
  const held = new Map(Object.entries(values).map(([name, one]) => [name, { values: one }]));
  const tf = /** @type {any} */ ({ getBackend: () => backend, backend: () => ({ data: held }) });
  const tensors = /** @type {any} */ (new Map([...held.keys()].map((name) => [name, { tensor: { dataId: name, dtype: "float32" }, written }])));
  return { constants: new Constants(tf, tensors), now: (/** @type {string} */ name) => held.get(name)?.values ?? new Float32Array() };
}

test("a constant that a kernel wrote into is named and has its first values again, and the result keeps its own", () => {
  const { constants, now } = world("cpu", { a: Float32Array.of(1, NaN), b: Float32Array.of(3) });
  assert.deepEqual(constants.restore(), []);
  const result = now("a");
  result[0] = 9;
  assert.deepEqual(constants.restore(), ["a"]);
  assert.deepEqual([...now("a")], [1, NaN]);
  assert.equal(result[0], 9);
});

test("layers that run alone get the first values, and whole runs the changed ones", async () => {
  const { constants, now } = world("cpu", { a: Float32Array.of(1, 2) });
  now("a")[1] = 7;
  const alone = await constants.asFirst(async () => {
    now("a")[0] = 5;
    return [constants.restore(), ...now("a")];
  });
  assert.deepEqual(alone, [["a"], 1, 2]);
  assert.deepEqual([...now("a")], [1, 7]);
});

test("large constants are not looked at, nor those of backends whose kernels cannot write into them", () => {
  for (const [backend, size] of /** @type {const} */ ([["cpu", (1 << 18) + 1], ["wasm", 2]])) {
    const { constants, now } = world(backend, { a: new Float32Array(size) });
    now("a")[0] = 1;
    assert.deepEqual(constants.restore(), []);
  }
});

test("a large constant that a kernel is known to write into is looked at", () => {
  const { constants, now } = world("cpu", { a: new Float32Array(300_000) }, true);
  now("a")[7] = 1;
  assert.deepEqual(constants.restore(), ["a"]);
});
