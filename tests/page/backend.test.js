// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The browser globals that the page's modules read.
const location = new URL("http://127.0.0.1/token/page/index.html?page=1");
const navigator = { hardwareConcurrency: 1, userAgent: "test" }; // Node has one of its own, or none
/** @type {string[]} */
let loaded = [];
/** @type {Record<string, object | null>} */
let contexts = { webgl2: {} };
class WebGL2RenderingContext {}
Object.defineProperties(globalThis, {
  location: { value: location },
  navigator: { value: navigator },
  crossOriginIsolated: { value: true, writable: true },
  isSecureContext: { value: true, writable: true },
  document: { value: { createElement: () => ({ getContext: (/** @type {string} */ kind) => contexts[kind] ?? null }) } },
  WebGL2RenderingContext: { value: WebGL2RenderingContext },
  performance: { value: { getEntriesByType: () => loaded.map((name) => ({ name: new URL(name, location).href })) } },
});
const { factsOf, makeBackend } = await import("../../pytest_tfjs/page/backend.js");
const { UnavailableError } = await import("../../pytest_tfjs/page/unavailable.js");

/** @typedef {import("../../pytest_tfjs/page/types").TF} TF */

const fakeGL = Object.assign(new WebGL2RenderingContext(), {
  canvas: { addEventListener: () => undefined },
  getExtension: () => null,
  getParameter: () => "Test GPU",
});

/**
 * A TF.js whose backends behave as the arguments say.
 *
 * @param {{made?: boolean, there?: string, change?: Record<string, unknown>, threads?: number, known?: string}} behaviour
 */
function fakeTF({ made = true, there, change = {}, threads = 1, known = "W" } = {}) {
  /** @type {Record<string, unknown>} */
  const flags = { WEBGL_RENDER_FLOAT32_ENABLED: true };
  const calls = /** @type {unknown[]} */ ([]);
  let backend = "cpu";
  const tf = {
    version: { tfjs: "4.22.0" },
    env: () => ({
      set: (/** @type {string} */ name, /** @type {unknown} */ value) => {
        if (!name.startsWith(known)) throw new Error(`Cannot set flag ${name} as it has not been registered.`);
        flags[name] = value;
      },
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
    backend: () => (backend === "webgl" ? { gpgpu: { gl: fakeGL } } : {}),
    wasm: {
      setWasmPaths: (/** @type {string} */ path) => calls.push(path),
      setThreadsCount: (/** @type {number} */ count) => calls.push(count),
      getThreadsCount: () => threads,
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

test("flags are set before the backend is created", async () => {
  const { tf, calls } = fakeTF();
  await makeBackend(tf, setup("webgl", { WEBGL_CPU_FORWARD: false }));
  assert.deepEqual(calls, ["webgl", { WEBGL_RENDER_FLOAT32_ENABLED: true, WEBGL_CPU_FORWARD: false }]);
});

test("a failed backend error names the requested and the active backend", async () => {
  const { tf } = fakeTF({ made: false, there: "cpu" });
  await assert.rejects(makeBackend(tf, setup("webgl", { WEBGL_PACK: false })), {
    message:
      'TF.js does not use the requested backend webgl with the flags {"WEBGL_PACK":false}: setBackend() returned false, and the backend in use is cpu',
  });
});

test("another active backend is an error even if setBackend() succeeds", async () => {
  await assert.rejects(makeBackend(fakeTF({ there: "wasm" }).tf, setup("webgl")), /the backend in use is wasm/);
});

test("a backend the browser does not support is unavailable", async () => {
  contexts = {};
  const failure = await makeBackend(fakeTF({ made: false, there: "cpu" }).tf, setup("webgl")).catch((error) => error);
  contexts = { webgl2: {} };
  assert.ok(failure instanceof UnavailableError);
  assert.equal(failure.message, "the browser provides no WebGL context");
  await assert.rejects(makeBackend(fakeTF().tf, setup("webgpu")), UnavailableError);
});

test("a GPU without float32 textures supports only half-precision webgl", async () => {
  const lacking = { change: { WEBGL_RENDER_FLOAT32_ENABLED: false } };
  await assert.rejects(makeBackend(fakeTF(lacking).tf, setup("webgl")), UnavailableError);
  await makeBackend(fakeTF(lacking).tf, setup("webgl", { WEBGL_FORCE_F16_TEXTURES: true }));
  await assert.rejects(
    makeBackend(fakeTF().tf, setup("webgl", { WEBGL_FORCE_F16_TEXTURES: true })),
    /WEBGL_FORCE_F16_TEXTURES is false, but true was requested/,
  );
});

test("a flag that disables float32 textures is an error of the flag", async () => {
  const change = { WEBGL_RENDER_FLOAT32_ENABLED: false };
  for (const [flag, value] of /** @type {[string, boolean | number][]} */ ([
    ["WEBGL_RENDER_FLOAT32_CAPABLE", false],
    ["WEBGL_RENDER_FLOAT32_ENABLED", 0],
    ["WEBGL_FORCE_F16_TEXTURES", 1],
  ])) {
    const failure = await makeBackend(fakeTF({ change }).tf, setup("webgl", { [flag]: value })).catch((error) => error);
    assert.ok(!(failure instanceof UnavailableError), flag);
    assert.ok(failure.message.includes(flag), failure.message);
  }
  // With flags that allow float32 textures, or unrelated flags, the GPU itself is at fault.
  for (const flags of [{ WEBGL_FORCE_F16_TEXTURES: false }, { WEBGL_RENDER_FLOAT32_CAPABLE: true }, { WEBGL_PACK: false }]) {
    await assert.rejects(makeBackend(fakeTF({ change }).tf, setup("webgl", flags)), UnavailableError);
  }
});

test("a flag changed by TF.js is an error", async () => {
  const { tf } = fakeTF({ change: { WEBGL_PACK: true } });
  await assert.rejects(makeBackend(tf, setup("webgl", { WEBGL_PACK: false })), /WEBGL_PACK is true, but false was requested/);
});

test("an unknown flag is an error with the requested value", async () => {
  await assert.rejects(makeBackend(fakeTF().tf, setup("cpu", { NO_SUCH: 3 })), {
    message: "TF.js refuses 3 for the flag NO_SUCH: Cannot set flag NO_SUCH as it has not been registered.",
  });
});

test("a WebGL context of another version than the flag's is an error", async () => {
  await assert.rejects(makeBackend(fakeTF().tf, setup("webgl", { WEBGL_VERSION: 1 })), /WEBGL_VERSION is 2, but 1 was requested/);
});

const SIMD = { WASM_HAS_SIMD_SUPPORT: true };
const THREADS = { ...SIMD, WASM_HAS_MULTITHREAD_SUPPORT: true };

test("the loaded wasm file shows which build runs", async () => {
  loaded = ["tfjs-backend-wasm.wasm", "tf.min.js"];
  await makeBackend(fakeTF().tf, setup("wasm", { WASM_HAS_SIMD_SUPPORT: false }));
  await assert.rejects(makeBackend(fakeTF().tf, setup("wasm", SIMD)), /WASM_HAS_SIMD_SUPPORT is false, but true was requested/);
  loaded = ["tfjs-backend-wasm-simd.wasm"];
  await makeBackend(fakeTF().tf, setup("wasm", SIMD));
  await assert.rejects(
    makeBackend(fakeTF({ threads: 2 }).tf, setup("wasm", THREADS)),
    /WASM_HAS_MULTITHREAD_SUPPORT is false, but true was requested/,
  );
  loaded = [];
  await assert.rejects(makeBackend(fakeTF().tf, setup("wasm", SIMD)), /no \.wasm file/);
});

test("wasm files come from the server and at least two threads run", async () => {
  loaded = ["tfjs-backend-wasm-threaded-simd.wasm"];
  Object.assign(navigator, { hardwareConcurrency: 1 });
  const { tf, calls } = fakeTF({ threads: 2 });
  await makeBackend(tf, setup("wasm", THREADS));
  assert.deepEqual(calls.slice(0, 2), ["http://127.0.0.1/token/dist/@tensorflow/tfjs-backend-wasm/dist/", 2]);
  assert.equal(navigator.hardwareConcurrency, 4); // TF.js starts half as many
  await assert.rejects(makeBackend(fakeTF({ threads: 1 }).tf, setup("wasm", THREADS)), /has 1 threads instead of at least 2/);
});

test("threads need a cross-origin isolated page", async () => {
  Object.assign(globalThis, { crossOriginIsolated: false });
  await assert.rejects(makeBackend(fakeTF({ threads: 2 }).tf, setup("wasm", THREADS)), UnavailableError);
  Object.assign(globalThis, { crossOriginIsolated: true });
});

test("an insecure context is an error that names the remedy", async () => {
  Object.assign(globalThis, { isSecureContext: false });
  for (const given of [setup("wasm", THREADS), setup("webgpu")]) {
    await assert.rejects(makeBackend(fakeTF({ threads: 2 }).tf, given), (error) => {
      return error instanceof UnavailableError && /needs a secure context.*https .--tfjs-public-url/.test(error.message);
    });
  }
  Object.assign(globalThis, { isSecureContext: true });
});

test("a backend without a GPU has no renderer", async () => {
  const { tf } = fakeTF();
  await makeBackend(tf, setup("cpu"));
  const { renderer, software, float32Textures } = factsOf(tf, setup("cpu"));
  assert.deepEqual([renderer, software, float32Textures], [null, null, null]);
});

/** @param {string} renderer */
function onWebGL(renderer) {
  const { tf } = fakeTF();
  const gl = { getExtension: () => ({ UNMASKED_RENDERER_WEBGL: 1 }), getParameter: () => renderer };
  Object.assign(tf, { getBackend: () => "webgl", backend: () => ({ gpgpu: { gl } }) });
  return factsOf(tf, setup("webgl"));
}

test("a renderer name tells software from hardware, except on WebKit", () => {
  const renderers = ["llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe, or similar", "NVIDIA GeForce GTX 980, or similar"];
  assert.deepEqual(
    renderers.map((renderer) => onWebGL(renderer).software),
    [true, true, false],
  );
  const hidden = onWebGL("Apple GPU");
  assert.deepEqual([hidden.renderer, hidden.software], ["hidden by the browser", null]);
});
