// @ts-check
/**
 * Reads and writes safetensors, with string tensors in the metadata.
 *
 * formats/safetensors.py does the same in Python.
 *
 * @typedef {import("./types").DType} DType
 * @typedef {import("./types").Data} Data
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {{dtype: string, shape: number[], data_offsets: [number, number]}} Entry
 */

const STRINGS = "pytest_tfjs.strings";
const METADATA = "__metadata__";

/** @type {Record<"F32" | "I32" | "BOOL" | "C64", {dtype: DType, array: Float32ArrayConstructor | Int32ArrayConstructor | Uint8ArrayConstructor, width: number}>} */
const READ = {
  F32: { dtype: "float32", array: Float32Array, width: 4 },
  I32: { dtype: "int32", array: Int32Array, width: 4 },
  BOOL: { dtype: "bool", array: Uint8Array, width: 1 },
  C64: { dtype: "complex64", array: Float32Array, width: 8 },
};
/** @type {Record<Exclude<DType, "string">, keyof typeof READ>} */
const WRITE = { float32: "F32", int32: "I32", bool: "BOOL", complex64: "C64" };

/**
 * The layout of a safetensors file: `head` are its first bytes, followed by the data of the tensors in `order`; `bytes`
 * is its whole length. Only string tensors, which are in the header, need their data.
 *
 * @param {Map<string, Omit<HostTensor, "data"> & {data?: Data}>} tensors
 */
export function plan(tensors) {
  /** @type {Map<string, unknown>} */
  const header = new Map();
  /** @type {Map<string, unknown>} */
  const strings = new Map();
  /** @type {string[]} */
  const order = [];
  let end = 0;
  // Bools last, so that all other tensors are aligned to four bytes.
  const ordered = [...tensors].sort(([, a], [, b]) => Number(a.dtype === "bool") - Number(b.dtype === "bool"));
  for (const [name, { dtype, shape, data }] of ordered) {
    if (name === METADATA) throw new Error(`a tensor cannot be named '${METADATA}': safetensors reserves this name`);
    if (dtype === "string") {
      strings.set(name, { shape, values: data });
      continue;
    }
    const begin = end;
    end += shape.reduce((size, dimension) => size * dimension, READ[WRITE[dtype]].width);
    header.set(name, { dtype: WRITE[dtype], shape, data_offsets: [begin, end] });
    order.push(name);
  }
  if (strings.size > 0) header.set(METADATA, { [STRINGS]: stringify(strings) });
  const head = headOf(stringify(header));
  return { head, order, bytes: head.byteLength + end };
}

/**
 * A tensor's data as bytes, without a copy where the array type is that of the dtype. (For a float32 tensor that TF.js
 * cast from bools it gives bytes.) Throws where the length is not that of the shape.
 *
 * @param {HostTensor} tensor
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOf({ dtype, shape, data }) {
  // For a tensor without elements webgl returns an untyped array, for any dtype.
  const numbers = Array.isArray(data) && data.length === 0 ? new Uint8Array(0) : data;
  if (dtype === "string" || Array.isArray(numbers)) throw new TypeError("a tensor of strings has no bytes to copy");
  const { array, width } = READ[WRITE[dtype]];
  const { buffer, byteOffset, byteLength } = numbers instanceof array ? numbers : array.from(numbers);
  const expected = shape.reduce((size, dimension) => size * dimension, width);
  if (byteLength !== expected) {
    throw new Error(`TF.js returned ${byteLength} bytes for a ${dtype} tensor of shape [${shape}], which has ${expected}`);
  }
  return new Uint8Array(/** @type {ArrayBuffer} */ (buffer), byteOffset, byteLength);
}

/**
 * The tensors of a safetensors file, by name; views of `buffer` where they are aligned. Nothing is cast: throws for a
 * dtype that TF.js does not have.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Map<string, HostTensor>}
 */
export function decode(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const start = 8 + length;
  /** @type {Record<string, Entry>} */
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  /** @type {Map<string, HostTensor>} */
  const tensors = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== METADATA) tensors.set(name, read(name, entry, buffer, start));
  }
  const metadata = /** @type {Record<string, string> | undefined} */ (/** @type {unknown} */ (header[METADATA]));
  for (const [name, { shape, values }] of Object.entries(JSON.parse(metadata?.[STRINGS] ?? "{}"))) {
    tensors.set(name, { dtype: "string", shape, data: values });
  }
  return tensors;
}

/**
 * @param {string} name
 * @param {Entry} entry
 * @param {ArrayBuffer} buffer
 * @param {number} start
 * @returns {HostTensor}
 */
function read(name, { dtype, shape, data_offsets: [begin, end] }, buffer, start) {
  const type = READ[/** @type {keyof typeof READ} */ (dtype)];
  if (type === undefined) {
    throw new Error(`feed '${name}' has dtype ${dtype}, which TF.js does not have: expected float32, int32, bool, complex64 or str`);
  }
  const at = start + begin;
  const { array } = type;
  const length = (end - begin) / array.BYTES_PER_ELEMENT;
  const aligned = at % array.BYTES_PER_ELEMENT === 0;
  const data = aligned ? new array(buffer, at, length) : new array(buffer.slice(at, start + end), 0, length);
  return { dtype: type.dtype, shape, data };
}

/**
 * JSON of an object with any keys: an object literal would lose `__proto__`.
 *
 * @param {Map<string, unknown>} entries
 */
function stringify(entries) {
  const pairs = [...entries].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  return `{${pairs.join(",")}}`;
}

/**
 * The length of the header and the header, padded with spaces so that the data is aligned.
 *
 * @param {string} json
 */
function headOf(json) {
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  return bytes;
}
