// @ts-check
/**
 * Keeps tensors that are fed as they are: some kernels of TF.js write into their inputs.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").HostTensor} HostTensor
 * @typedef {import("./types").Tensor} Tensor
 */

import { toTensor } from "./model_loading.js";

// A kernel of the GPU cannot write into its inputs.
const IN_MEMORY = new Set(["cpu", "wasm"]);

/** Uploaded tensors by name, with what was uploaded. */
export class FedTensors {
  /**
   * @param {TF} tf
   * @param {Map<string, HostTensor>} [hosts]
   */
  constructor(tf, hosts = new Map()) {
    this.tf = tf;
    this.inMemory = IN_MEMORY.has(tf.getBackend());
    /** @type {Map<string, Tensor>} */
    this.tensors = new Map();
    /** @type {Map<string, HostTensor>} */
    this.hosts = new Map();
    this.add(hosts);
  }

  /** @param {Map<string, HostTensor>} hosts */
  add(hosts) {
    for (const [name, host] of hosts) {
      this.tensors.set(name, toTensor(this.tf, host));
      if (this.inMemory) this.hosts.set(name, host);
    }
  }

  /**
   * Upload those tensors again that no longer hold what was uploaded, and give their names.
   *
   * @param {Iterable<string>} names
   */
  restore(names) {
    const changed = [...new Set(names)].filter((name) => this.isChanged(name));
    for (const name of changed) {
      this.tensors.get(name)?.dispose();
      this.tensors.set(name, toTensor(this.tf, /** @type {HostTensor} */ (this.hosts.get(name))));
    }
    return changed;
  }

  /** @param {string} name */
  isChanged(name) {
    const [tensor, host] = [this.tensors.get(name), this.hosts.get(name)];
    if (tensor === undefined || host === undefined || host.dtype === "string") return false;
    return !sameBits(/** @type {ArrayBufferView} */ (tensor.dataSync()), /** @type {ArrayBufferView} */ (host.data));
  }

  /**
   * The tensor; a copy if it shares its values with one that is fed, which a later kernel may change.
   *
   * @param {Tensor} tensor
   */
  apart(tensor) {
    if (!this.inMemory || tensor.dtype === "string") return tensor;
    if (![...this.tensors.values()].some(({ dataId }) => dataId === tensor.dataId)) return tensor;
    const { dtype, shape } = tensor;
    const copy = toTensor(this.tf, { dtype, shape, data: tensor.dataSync() });
    tensor.dispose();
    return copy;
  }

  /** @param {string} name */
  release(name) {
    this.tensors.get(name)?.dispose();
    this.tensors.delete(name);
    this.hosts.delete(name);
  }

  dispose() {
    for (const name of [...this.tensors.keys()]) this.release(name);
  }
}

/**
 * Whether two arrays of numbers have the same bits, so that NaN is the same as itself.
 *
 * @param {ArrayBufferView} one
 * @param {ArrayBufferView} other
 */
export function sameBits(one, other) {
  if (one.byteLength !== other.byteLength) return false;
  const [left, right] = [asIntegers(one), asIntegers(other)];
  if (left.length !== right.length) return false;
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** @param {ArrayBufferView} view */
function asIntegers({ buffer, byteOffset, byteLength }) {
  return byteOffset % 4 === 0 && byteLength % 4 === 0
    ? new Int32Array(buffer, byteOffset, byteLength / 4)
    : new Uint8Array(buffer, byteOffset, byteLength);
}
