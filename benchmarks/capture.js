// @ts-check
/**
 * What capture.py measures within the plugin's page, where TF.js is loaded and its backend made. Run once, it
 * leaves `benchmark` behind.
 */

"use strict";

(() => {
  const { tf } = /** @type {any} */ (globalThis);
  /** @type {any} */
  let model;
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

  /** @param {(tensors: any[]) => Promise<any>} read */
  async function run(read) {
    const tensors = model.execute(feed, names);
    try {
      return await read(tensors);
    } finally {
      tf.dispose(tensors);
    }
  }

  Object.assign(globalThis, {
    benchmark: {
      now: async () => now(),
      executedAt: async () => executed,

      /** @type {(url: string, values: number[], shape: number[], nodes: string[]) => Promise<void>} */
      prepare: async (url, values, shape, nodes) => {
        model = await tf.loadGraphModel(url);
        feed = tf.tensor(values, shape, "float32");
        names = nodes;
      },

      /** Milliseconds in which all activations are computed and read. */
      readAll: async () => {
        const start = performance.now();
        return run(async (tensors) => {
          await Promise.all(tensors.map((tensor) => tensor.data()));
          return performance.now() - start;
        });
      },

      /** All activations as lists of numbers, with their shapes. */
      readAsLists: () =>
        run((tensors) => Promise.all(tensors.map(async (tensor) => [tensor.shape, Array.from(await tensor.data())]))),
    },
  });
})();
