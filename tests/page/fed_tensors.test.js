// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The browser globals that the page's modules read when they are loaded.
Object.defineProperty(globalThis, "location", { value: new URL("http://127.0.0.1/token/page/index.html?page=1") });
const { FedTensors } = await import("../../pytest_tfjs/page/fed_tensors.js");

/** @typedef {import("../../pytest_tfjs/page/types").TF} TF */
/** @typedef {import("../../pytest_tfjs/page/types").Tensor} Tensor */

/** A TF.js that keeps the array that it is given, as the backend cpu does. */
function world(backend = "cpu") {
  const counts = { made: 0, disposed: 0 };
  const tf = /** @type {TF} */ (/** @type {unknown} */ ({
    getBackend: () => backend,
    tensor: (/** @type {any} */ data, /** @type {number[]} */ shape, /** @type {string} */ dtype) => {
      counts.made++;
      return { shape, dtype, dataId: {}, dataSync: () => data, dispose: () => void counts.disposed++ };
    },
  }));
  return { tf, counts };
}

/** @param {number[]} values @returns {import("../../pytest_tfjs/page/types").HostTensor} */
const floats = (...values) => ({ dtype: "float32", shape: [values.length], data: new Float32Array(values) });

/** @param {InstanceType<typeof FedTensors>} fed @param {string} name */
const values = (fed, name) => [.../** @type {Float32Array} */ (fed.tensors.get(name)?.dataSync())];

test("a tensor that was written into is found and fed anew", () => {
  const { tf, counts } = world();
  const fed = new FedTensors(tf, new Map([["a", floats(1, 2)], ["b", floats(3)]]));
  /** @type {Float32Array} */ (fed.tensors.get("a")?.dataSync())[1] = 7;
  assert.deepEqual(fed.restore(["a", "b", "a"]), ["a"]);
  assert.deepEqual(values(fed, "a"), [1, 2]);
  assert.deepEqual(fed.restore(["a", "b"]), []);
  fed.dispose();
  assert.deepEqual(counts, { made: 3, disposed: 3 });
});

test("NaN is not a change, and -0 for 0 is one", () => {
  const { tf } = world();
  const fed = new FedTensors(tf, new Map([["nan", floats(NaN, Infinity)], ["zero", floats(0)]]));
  assert.deepEqual(fed.restore(["nan", "zero"]), []);
  /** @type {Float32Array} */ (fed.tensors.get("zero")?.dataSync())[0] = -0;
  assert.deepEqual(fed.restore(["nan", "zero"]), ["zero"]);
});

test("bools, integers and names that are not fed", () => {
  const { tf } = world();
  const is = { dtype: /** @type {const} */ ("bool"), shape: [3], data: new Uint8Array([1, 0, 1]) };
  const whole = { dtype: /** @type {const} */ ("int32"), shape: [2], data: new Int32Array([5, -6]) };
  const fed = new FedTensors(tf, new Map(Object.entries({ is, whole })));
  assert.deepEqual(fed.restore(["is", "whole", "gone"]), []);
  /** @type {Uint8Array} */ (fed.tensors.get("is")?.dataSync())[0] = 0;
  /** @type {Int32Array} */ (fed.tensors.get("whole")?.dataSync())[1] = 6;
  assert.deepEqual(fed.restore(["is", "whole", "gone"]), ["is", "whole"]);
});

test("a result that shares the values of a fed tensor becomes a copy", () => {
  const { tf } = world();
  const fed = new FedTensors(tf, new Map([["a", floats(1, 2)]]));
  const a = /** @type {Tensor} */ (fed.tensors.get("a"));
  const passedOn = fed.apart({ ...a });
  /** @type {Float32Array} */ (a.dataSync())[0] = 7;
  assert.deepEqual([.../** @type {Float32Array} */ (passedOn.dataSync())], [1, 2]);
  const computed = tf.tensor(new Float32Array(2), [2], "float32");
  assert.equal(fed.apart(computed), computed);
});

test("on a GPU nothing is read back", () => {
  const { tf } = world("webgl");
  const fed = new FedTensors(tf, new Map([["a", floats(1)]]));
  const a = /** @type {Tensor} */ (fed.tensors.get("a"));
  a.dataSync = () => { throw new Error("read"); };
  assert.deepEqual(fed.restore(["a"]), []);
  assert.equal(fed.apart(a), a);
});
