// @ts-check
/**
 * The part of capture.py that runs in the plugin's page, once TF.js has its backend.
 *
 * It runs once, and defines `benchmark`.
 */

"use strict";

(() => {
  const { tf } = /** @type {any} */ (globalThis);
  /** @type {any} */
  let model;
  /** @type {string} */
  let source;
  /** @type {any} */
  let feed;
  /** @type {string[]} */
  let names;
  let executed = 0;

  // When the plugin's own model is executed is told by TF.js itself: the page's code is measured as it is.
  const { execute } = tf.GraphModel.prototype;
  tf.GraphModel.prototype.execute = function (/** @type {unknown[]} */ ...values) {
    executed = now();
    return execute.apply(this, values);
  };

  /** Milliseconds since the epoch. */
  function now() {
    return performance.timeOrigin + performance.now();
  }

  /**
   * @param {any} of
   * @param {(tensors: any[]) => Promise<any>} read
   */
  async function run(of, read) {
    const tensors = of.execute(feed, names);
    try {
      return await read(tensors);
    } finally {
      tf.dispose(tensors);
    }
  }

  /** Milliseconds in which all activations are computed and read. @param {any} of */
  async function readAll(of) {
    const start = performance.now();
    return run(of, async (tensors) => {
      await Promise.all(tensors.map((tensor) => tensor.data()));
      return performance.now() - start;
    });
  }

  Object.assign(globalThis, {
    benchmark: {
      now: async () => now(),
      executedAt: async () => executed,

      /** @type {(url: string, values: number[], shape: number[], nodes: string[]) => Promise<void>} */
      prepare: async (url, values, shape, nodes) => {
        source = url;
        model = await tf.loadGraphModel(url);
        feed = tf.tensor(values, shape, "float32");
        names = nodes;
      },

      readAll: () => readAll(model),

      /** The same by a model that has just been built. */
      readAllFirst: async () => {
        const fresh = await tf.loadGraphModel(source);
        try {
          return await readAll(fresh);
        } finally {
          fresh.dispose();
        }
      },

      /** All activations as lists of numbers, with their shapes. */
      readAsLists: () =>
        run(model, (tensors) => Promise.all(tensors.map(async (tensor) => [tensor.shape, Array.from(await tensor.data())]))),
    },
  });
})();
