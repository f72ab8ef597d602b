// @ts-check
/**
 * Tensors as bytes, as formats/safetensors.py does: safetensors, with string tensors in its metadata.
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
 * A safetensors file as it will be: its first bytes, then the data of the tensors in `order`, `bytes` in all. Only
 * string tensors, which travel in the header, must have their data.
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
  // The narrow ones last, so that all others begin at a multiple of four.
  const ordered = [...tensors].sort(([, a], [, b]) => Number(a.dtype === "bool") - Number(b.dtype === "bool"));
  for (const [name, { dtype, shape, data }] of ordered) {
    if (name === METADATA) throw new Error(`a tensor cannot be named '${METADATA}': safetensors keeps it for itself`);
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
 * A tensor's data as bytes: without a copy where the data is of the kind that its dtype says. TF.js gives bytes of
 * a float32 tensor that it cast from bools. Throws where there are more or fewer numbers than the shape says.
 *
 * @param {HostTensor} tensor
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOf({ dtype, shape, data }) {
  // Of a tensor without elements webgl gives a bare array, whatever its dtype.
  const numbers = Array.isArray(data) && data.length === 0 ? new Uint8Array(0) : data;
  if (dtype === "string" || Array.isArray(numbers)) throw new TypeError("strings have no bytes of their own");
  const { array, width } = READ[WRITE[dtype]];
  const { buffer, byteOffset, byteLength } = numbers instanceof array ? numbers : array.from(numbers);
  const expected = shape.reduce((size, dimension) => size * dimension, width);
  if (byteLength !== expected) {
    throw new Error(`TF.js gave ${byteLength} bytes for a ${dtype} tensor of shape [${shape}], which has ${expected}`);
  }
  return new Uint8Array(/** @type {ArrayBuffer} */ (buffer), byteOffset, byteLength);
}

/**
 * The tensors of a safetensors file, by name: views of `buffer` where they are aligned. Throws where TF.js has
 * no such dtype, as nothing is cast.
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
    throw new Error(`feed '${name}' has dtype ${dtype}, which TF.js has not: it takes float32, int32, bool, complex64 and str`);
  }
  const at = start + begin;
  const { array } = type;
  const length = (end - begin) / array.BYTES_PER_ELEMENT;
  const aligned = at % array.BYTES_PER_ELEMENT === 0;
  const data = aligned ? new array(buffer, at, length) : new array(buffer.slice(at, start + end), 0, length);
  return { dtype: type.dtype, shape, data };
}

/**
 * JSON of an object with these keys, whatever they are called: in an object literal `__proto__` would be lost.
 *
 * @param {Map<string, unknown>} entries
 */
function stringify(entries) {
  const pairs = [...entries].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  return `{${pairs.join(",")}}`;
}

/**
 * The length of the header and the header, filled up with blanks so that the data is aligned.
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
