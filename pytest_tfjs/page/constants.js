// @ts-check
/**
 * Keeps the constants of a graph model as they are while layers run alone.
 *
 * Kernels of cpu get the values of constants, not copies, and some write into their inputs. What an app computes after
 * that has the changed values, so the whole runs keep them.
 *
 * @typedef {import("./types").TF} TF
 * @typedef {import("./types").Constant} Constant
 * @typedef {Float32Array | Int32Array | Uint8Array} Numbers
 * @typedef {{values: Numbers}} Held
 */

import { sameBits } from "./fed_tensors.js";

// Constants are compared after each layer: large ones only where a kernel is known to write into them.
const LARGEST_BYTES = 1 << 20;

/** Constants by name, with copies of their values. */
export class Constants {
  /**
   * @param {TF} tf
   * @param {Map<string, Constant>} constants
   */
  constructor(tf, constants) {
    /** @type {Map<string, {held: Held, values: Numbers}>} */
    this.known = new Map();
    if (tf.getBackend() !== "cpu") return;
    const { data } = /** @type {{data: {get(id: object): Held | undefined}}} */ (/** @type {unknown} */ (tf.backend()));
    for (const [name, { tensor: { dataId, dtype }, written }] of constants) {
      if (dtype === "string" || dtype === "complex64") continue;
      const held = data.get(dataId);
      if (!(held?.values instanceof Object)) continue;
      if (written || held.values.byteLength <= LARGEST_BYTES) this.known.set(name, { held, values: held.values.slice() });
    }
  }

  /** Give the changed constants their first values, and give their names. */
  restore() {
    const names = [];
    for (const [name, { held, values }] of this.known) {
      if (sameBits(held.values, values)) continue;
      names.push(name);
      held.values = values.slice(); // a result may share the values that were changed
    }
    return names;
  }

  /**
   * Call `work` with the constants as they were first, and give them their changed values again.
   *
   * @template T
   * @param {() => Promise<T>} work
   */
  async asFirst(work) {
    const changed = new Map([...this.known.values()].map(({ held }) => [held, held.values]));
    this.restore();
    try {
      return await work();
    } finally {
      for (const [held, values] of changed) held.values = values;
    }
  }
}
