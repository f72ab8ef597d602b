// @ts-check
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { bytesOf, decode, plan } from "../../pytest_tfjs/page/safetensors.js";

/** @typedef {import("../../pytest_tfjs/page/types").HostTensor} HostTensor */

/** @param {Uint8Array} bytes */
function bufferOf(bytes) {
  return /** @type {ArrayBuffer} */ (bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Written by formats/safetensors.py from the tensors in tests/formats/test_safetensors.py. */
async function golden() {
  return bufferOf(await readFile(new URL("golden.safetensors", import.meta.url)));
}

/** @param {Map<string, HostTensor>} tensors */
function encode(tensors) {
  const { head, order, bytes } = plan(tensors);
  const parts = [head, ...order.map((name) => bytesOf(/** @type {HostTensor} */ (tensors.get(name))))];
  const file = Buffer.concat(parts);
  assert.equal(file.byteLength, bytes);
  return bufferOf(file);
}

test("data is converted to its dtype", () => {
  const bytes = new Uint8Array([1, 0, 1]);
  const tensors = decode(encode(new Map([["cast", { dtype: "float32", shape: [3], data: bytes }]])));
  assert.deepEqual(tensors.get("cast")?.data, new Float32Array([1, 0, 1]));
  const floats = new Float32Array([0, 1]);
  const flags = decode(encode(new Map([["flags", { dtype: "bool", shape: [2], data: floats }]])));
  assert.deepEqual(flags.get("flags")?.data, new Uint8Array([0, 1]));
});

test("data of another length than its shape is rejected", () => {
  const short = { dtype: /** @type {const} */ ("float32"), shape: [2, 2], data: new Float32Array(3) };
  assert.throws(() => bytesOf(short), /TF.js returned 12 bytes for a float32 tensor of shape \[2,2\], which has 16/);
});

test("a file written by Python is read", async () => {
  const tensors = decode(await golden());
  const { data } = /** @type {HostTensor} */ (tensors.get("float"));
  assert.deepEqual(tensors.get("float")?.shape, [2, 3]);
  assert.deepEqual([...data], [0, -0, 1.5, Infinity, -Infinity, NaN]);
  assert.deepEqual(tensors.get("int"), {
    dtype: "int32",
    shape: [4],
    data: Int32Array.of(-(2 ** 31), -1, 0, 2 ** 31 - 1),
  });
  assert.deepEqual(tensors.get("bool"), { dtype: "bool", shape: [3, 1], data: Uint8Array.of(1, 0, 1) });
  assert.deepEqual(tensors.get("scalar"), { dtype: "float32", shape: [], data: Float32Array.of(2.5) });
  assert.deepEqual(tensors.get("empty"), { dtype: "float32", shape: [2, 0, 3], data: new Float32Array(0) });
  assert.deepEqual(tensors.get("strings"), { dtype: "string", shape: [2, 2], data: ["", "ä€😀", "a/b", '"\n'] });
  assert.deepEqual(tensors.get("ends in NUL")?.data, ["a\0"]);
  assert.deepEqual(tensors.get("no strings"), { dtype: "string", shape: [0], data: [] });
  assert.deepEqual([.../** @type {HostTensor} */ (tensors.get("complex")).data], [1, 2, -0, -3.5]);
  assert.deepEqual(tensors.get("__proto__")?.data, Int32Array.of(7));
  assert.deepEqual(tensors.get("ünïcode/:0")?.data, Uint8Array.of(1));
  assert.deepEqual(tensors.get("")?.data, Float32Array.of(1));
  assert.equal(tensors.size, 12);
});

test("written tensors are read back", async () => {
  const tensors = decode(await golden());
  assert.deepEqual(decode(encode(tensors)), tensors);
});

test("data is aligned with narrow tensors last", () => {
  const one = { dtype: /** @type {const} */ ("bool"), shape: [1], data: Uint8Array.of(1) };
  const two = { dtype: /** @type {const} */ ("float32"), shape: [1], data: Float32Array.of(2) };
  for (const name of ["x", "xy", "xyz", "a longer name"]) {
    const { head, order } = plan(new Map(Object.entries({ [name]: one, two })));
    assert.equal(head.byteLength % 8, 0);
    assert.deepEqual(order, ["two", name]);
  }
});

test("unaligned data is read", () => {
  const json = JSON.stringify({
    flag: { dtype: "BOOL", shape: [1], data_offsets: [0, 1] },
    number: { dtype: "F32", shape: [1], data_offsets: [1, 5] },
  });
  const file = Buffer.alloc(8 + json.length + 5);
  file.writeBigUInt64LE(BigInt(json.length));
  file.write(json, 8);
  file.writeFloatLE(1.5, 8 + json.length + 1);
  assert.deepEqual(decode(bufferOf(file)).get("number")?.data, Float32Array.of(1.5));
});

test("the size of a tensor is planned without its data", () => {
  const { bytes, order } = plan(new Map([["x", { dtype: /** @type {const} */ ("complex64"), shape: [2, 3] }]]));
  assert.deepEqual(order, ["x"]);
  assert.equal(bytes % 8, 0);
  assert.ok(bytes >= 8 + 48);
});

test("a lone surrogate is written as a JSON escape", () => {
  const tensors = new Map([["s", { dtype: /** @type {const} */ ("string"), shape: [1], data: ["\ud800"] }]]);
  assert.deepEqual(decode(encode(tensors)), tensors);
});

test("an unsupported dtype is rejected by name", () => {
  const json = JSON.stringify({ "my feed": { dtype: "F64", shape: [0], data_offsets: [0, 0] } });
  const file = Buffer.alloc(8 + json.length);
  file.writeBigUInt64LE(BigInt(json.length));
  file.write(json, 8);
  assert.throws(() => decode(bufferOf(file)), /feed 'my feed' has dtype F64, which TF.js does not have/);
});

test("the reserved name __metadata__ is rejected", () => {
  const tensor = { dtype: /** @type {const} */ ("bool"), shape: [0], data: new Uint8Array(0) };
  assert.throws(() => plan(new Map([["__metadata__", tensor]])), /cannot be named '__metadata__'/);
});

test("an empty tensor has no bytes, even if webgl returns a plain array", () => {
  const empty = { dtype: /** @type {const} */ ("float32"), shape: [0, 3], data: [] };
  assert.equal(bytesOf(empty).byteLength, 0);
  assert.throws(() => bytesOf({ ...empty, shape: [3] }), /returned 0 bytes/);
  assert.throws(() => bytesOf({ ...empty, data: ["a"] }), /strings has no bytes/);
});
