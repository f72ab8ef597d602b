// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// What the page's modules find in a browser.
const location = new URL("http://127.0.0.1/token/page/index.html?page=1");
const navigator = { hardwareConcurrency: 1, userAgent: "test" }; // Node has one of its own, or none
Object.defineProperties(globalThis, { location: { value: location }, navigator: { value: navigator } });
const { factsOf, makeBackend } = await import("../../pytest_tfjs/page/backend.js");

/** @typedef {import("../../pytest_tfjs/page/types").TF} TF */

/**
 * A TF.js whose backends do what they are told to.
 *
 * @param {{made?: boolean, there?: string, change?: Record<string, unknown>}} behaviour
 */
function fakeTF({ made = true, there, change = {} } = {}) {
  /** @type {Record<string, unknown>} */
  const flags = {};
  const calls = /** @type {unknown[]} */ ([]);
  let backend = "cpu";
  const tf = {
    version: { tfjs: "4.22.0" },
    env: () => ({
      set: (/** @type {string} */ name, /** @type {unknown} */ value) => void (flags[name] = value),
      get: (/** @type {string} */ name) => flags[name],
    }),
    setBackend: async (/** @type {string} */ name) => {
      calls.push(name, { ...flags });
      backend = there ?? name;
      Object.assign(flags, change);
      return made;
    },
    ready: async () => undefined,
    getBackend: () => backend,
    backend: () => ({}),
    wasm: {
      setWasmPaths: (/** @type {string} */ path) => calls.push(path),
      setThreadsCount: (/** @type {number} */ count) => calls.push(count),
    },
  };
  return { tf: /** @type {TF} */ (/** @type {unknown} */ (tf)), calls };
}

/**
 * @param {string} backend
 * @param {Record<string, boolean | number>} flags
 */
function setup(backend, flags = {}) {
  return { backend, flags, scripts: [], wasmDirectory: "@tensorflow/tfjs-backend-wasm/dist/" };
}

test("flags are set before the backend is made", async () => {
  const { tf, calls } = fakeTF();
  await makeBackend(tf, setup("webgl", { WEBGL_CPU_FORWARD: false }));
  assert.deepEqual(calls, ["webgl", { WEBGL_CPU_FORWARD: false }]);
});

test("a backend that was not made is an error that tells what was asked for and what there is", async () => {
  const { tf } = fakeTF({ made: false, there: "cpu" });
  await assert.rejects(makeBackend(tf, setup("webgl", { WEBGL_PACK: false })), {
    message:
      'the backend asked for is webgl, with the flags {"WEBGL_PACK":false}; setBackend() gave false, and the backend there is cpu',
  });
});

test("another backend is an error though TF.js says that all is well", async () => {
  await assert.rejects(makeBackend(fakeTF({ there: "wasm" }).tf, setup("webgl")), /the backend there is wasm/);
});

test("a flag that TF.js changed is an error", async () => {
  const { tf } = fakeTF({ change: { WASM_HAS_SIMD_SUPPORT: false } });
  await assert.rejects(
    makeBackend(tf, setup("wasm", { WASM_HAS_SIMD_SUPPORT: true })),
    /WASM_HAS_SIMD_SUPPORT is false, true was asked for/,
  );
});

test("wasm files come from the server, and threads have a count of at least two", async () => {
  const { tf, calls } = fakeTF();
  await makeBackend(tf, setup("wasm", { WASM_HAS_MULTITHREAD_SUPPORT: true }));
  assert.deepEqual(calls.slice(0, 2), ["http://127.0.0.1/token/dist/@tensorflow/tfjs-backend-wasm/dist/", 2]);
});

test("a backend without a GPU has no renderer", async () => {
  const { tf } = fakeTF();
  await makeBackend(tf, setup("cpu"));
  const { renderer, software, float32Textures } = factsOf(tf, setup("cpu"));
  assert.deepEqual([renderer, software, float32Textures], [null, null, null]);
});
