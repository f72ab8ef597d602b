// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The page's address, which the modules read when they are loaded.
Object.assign(globalThis, { location: new URL("http://localhost/page/index.html?page=1") });
const { GPUError } = await import("../../pytest_tfjs/page/gpu.js");
const { KernelError } = await import("../../pytest_tfjs/page/kernels.js");
const { byTF, isRefusal } = await import("../../pytest_tfjs/page/model_refusal.js");

/**
 * Whether an error that TF.js throws, synchronously or not, is a refusal.
 *
 * @param {unknown} error
 */
async function thrownByTF(error) {
  const thrower = () => {
    throw error;
  };
  await assert.rejects(byTF(thrower), (caught) => caught === error);
  await assert.rejects(byTF(() => Promise.reject(error)), (caught) => caught === error);
  return isRefusal(error);
}

test("results of TF.js are returned", async () => {
  assert.deepEqual([await byTF(() => 1), await byTF(() => Promise.resolve(2))], [1, 2]);
});

test("an error thrown by TF.js is a refusal", async () => {
  assert.ok(await thrownByTF(new Error("Unknown layer: Nonsense")));
  assert.ok(await thrownByTF(new TypeError("Cannot read properties of undefined")));
});

test("an error of other code is not a refusal, whatever its message", () => {
  for (const text of ["Unknown layer: Nonsense", "the server answered 500 to jobs/1/feeds/0: "]) {
    assert.equal(isRefusal(new Error(text)), false);
  }
  assert.equal(isRefusal("Unknown layer"), false);
});

test("an out-of-memory error of TF.js is not a refusal", async () => {
  for (const error of [
    new RangeError("Array buffer allocation failed"),
    new RangeError("Invalid typed array length: 4000000000"),
    new RangeError("Out of memory"),
    new Error("Unable to create WebGLTexture."),
    new WebAssembly.RuntimeError("unreachable"),
    "a string",
  ]) {
    assert.equal(await thrownByTF(error), false, String(error));
  }
});

test("a missing kernel or an invalid shader is a refusal, GPU memory is not", () => {
  assert.ok(isRefusal(new KernelError("'a' needs the kernel B")));
  assert.ok(isRefusal(new GPUError("invalid WGSL", true)));
  assert.equal(isRefusal(new GPUError("out of memory", false)), false);
});
