// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { withFloatsOnGPU } from "../../pytest_tfjs/page/forwarding.js";

/** @typedef {import("../../pytest_tfjs/page/types").TF} TF */

/** A TF.js whose backend forwards what has fewer than 128 elements. @param {string} name @param {boolean} asks */
function world(name, asks = true) {
  /** @type {any} */
  const backend = { asked: 0 };
  /** @param {{size: number}[]} inputs @param {number} limit */
  const forwards = function (inputs, limit = 128) {
    backend.asked++;
    return inputs.every(({ size }) => size < limit);
  };
  if (asks) backend.shouldExecuteOnCPU = forwards;
  const tf = /** @type {TF} */ (/** @type {unknown} */ ({ getBackend: () => name, backend: () => backend }));
  return { tf, backend, forwards };
}

/** @param {string} dtype @param {number} size */
const tensor = (dtype, size) => /** @type {any} */ ({ dtype, size });

for (const name of ["webgl", "webgpu"]) {
  test(`${name} forwards no floats, and integers as TF.js decides`, async () => {
    const { tf, backend, forwards } = world(name);
    await withFloatsOnGPU(tf, () => false, async () => {
      const on = (/** @type {unknown[]} */ inputs, /** @type {number[]} */ ...rest) => backend.shouldExecuteOnCPU(inputs, ...rest);
      assert.equal(on([tensor("float32", 4)]), false);
      assert.equal(on([tensor("float32", 4), tensor("int32", 4)]), false);
      assert.equal(on([tensor("complex64", 4)]), false);
      assert.equal(on([tensor("int32", 4), tensor("bool", 4)]), true);
      assert.equal(on([tensor("int32", 4), tensor("int32", 400)]), false);
      assert.equal(on([tensor("int32", 4)], 3), false);
      assert.equal(backend.asked, 3);
    });
    assert.equal(backend.shouldExecuteOnCPU, forwards);
  });

  test(`${name} forwards floats of shapes`, async () => {
    const { tf, backend } = world(name);
    let shapes = true;
    await withFloatsOnGPU(tf, () => shapes, async () => {
      assert.equal(backend.shouldExecuteOnCPU([tensor("float32", 2)]), true);
      shapes = false;
      assert.equal(backend.shouldExecuteOnCPU([tensor("float32", 2)]), false);
    });
  });
}

test("the backend is left as it was, also after an error", async () => {
  const { tf, backend, forwards } = world("webgl");
  const failing = withFloatsOnGPU(tf, () => false, async () => { throw new Error("no memory"); });
  await assert.rejects(failing, /no memory/);
  assert.equal(backend.shouldExecuteOnCPU, forwards);
});

test("backends of the processor forward nothing", async () => {
  for (const name of ["cpu", "wasm"]) {
    const { tf, backend } = world(name, false);
    assert.equal(await withFloatsOnGPU(tf, () => false, async () => 7), 7);
    assert.equal(backend.shouldExecuteOnCPU, undefined);
  }
});

test("a TF.js that decides otherwise is refused", async () => {
  const { tf } = world("webgl", false);
  await assert.rejects(withFloatsOnGPU(tf, () => false, async () => 0), /webgl of this TF.js has no shouldExecuteOnCPU/);
});
