// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

// The browser globals that the page's modules read.
Object.defineProperty(globalThis, "location", { value: new URL("http://127.0.0.1/token/page/index.html?page=1") });
Object.assign(globalThis, { Worker: class { postMessage() {} } });
const { sendActivations } = await import("../../pytest_tfjs/page/activation_sender.js");

/** @typedef {import("../../pytest_tfjs/page/types").TF} TF */
/** @typedef {import("../../pytest_tfjs/page/types").Tensor} Tensor */

/**
 * A backend whose tensors record what is done to them, and a server that records what it receives.
 *
 * @param {string} backend
 */
function world(backend) {
  /** @type {string[]} */
  const log = [];
  const tf = /** @type {TF} */ (/** @type {unknown} */ ({ getBackend: () => backend, backend: () => ({}) }));
  const uploads = {
    announce: (/** @type {{bytes: number}} */ { bytes }) => {
      log.push(`announce ${bytes > 0}`);
      return { arrived: Promise.resolve() };
    },
    send: (/** @type {Uint8Array} */ { byteLength }) => void log.push(`send ${byteLength > 40 ? "head" : byteLength}`),
    flush: () => void log.push("flush"),
  };
  let id = 0;
  /** @param {string} name @param {number} size */
  const tensor = (name, size) =>
    /** @type {Tensor} */ ({
      id: id++,
      shape: [size],
      dtype: "float32",
      data: async () => {
        log.push(`read ${name}`);
        return new Float32Array(size);
      },
      dispose: () => void log.push(`dispose ${name}`),
    });
  return { log, tf, uploads, tensor };
}

const WHAT = { job: { job: 1, chunkLimit: 1 << 20 }, group: 0, feed: 0 };

test("a sent tensor is disposed before the next is read", async () => {
  const { log, tf, uploads, tensor } = world("wasm");
  await sendActivations(tf, uploads, WHAT, new Map([["a", tensor("a", 1)], ["b", tensor("b", 2)]]), () => undefined);
  assert.deepEqual(log, ["announce true", "send head", "read a", "send 4", "dispose a", "read b", "send 8", "dispose b", "flush"]);
});

test("a tensor with two names is disposed after the second", async () => {
  const { log, tf, uploads, tensor } = world("cpu");
  const both = tensor("both", 1);
  await sendActivations(tf, uploads, WHAT, new Map([["a", both], ["b", tensor("b", 2)], ["c", both]]), () => undefined);
  assert.deepEqual(log.filter((line) => line.startsWith("dispose")), ["dispose b", "dispose both"]);
  assert.equal(log.indexOf("dispose both"), log.length - 2);
});

test("a GPU reads all tensors at once", async () => {
  const { log, tf, uploads, tensor } = world("webgpu");
  await sendActivations(tf, uploads, WHAT, new Map([["a", tensor("a", 1)], ["b", tensor("b", 2)]]), () => undefined);
  assert.deepEqual(log.slice(0, 2), ["read a", "read b"]);
});

test("a chunk over the job's limit is not sent", async () => {
  const { log, tf, uploads, tensor } = world("cpu");
  const what = { ...WHAT, job: { job: 1, chunkLimit: 100 } };
  await assert.rejects(
    sendActivations(tf, uploads, what, new Map([["a", tensor("a", 1000)]]), () => undefined),
    /the activations of 'a' have \d+ bytes; this job can send at most 100 bytes at once/,
  );
  assert.deepEqual(log, []);
});
