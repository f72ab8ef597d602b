// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { timeRuns } from "../../pytest_tfjs/page/timing.js";

/** @typedef {import("../../pytest_tfjs/page/types").Tensor} Tensor */

/** A model that counts its runs and its disposed outputs. */
function counter() {
  const counts = { resets: 0, runs: 0, read: 0, disposed: 0 };
  const output = () =>
    /** @type {Tensor} */ ({
      id: 0,
      shape: [],
      dtype: "float32",
      data: async () => {
        counts.read += 1;
        return new Float32Array(1);
      },
      dispose: () => void (counts.disposed += 1),
    });
  const model = {
    reset: () => void (counts.resets += 1),
    run: async () => {
      counts.runs += 1;
      assert.equal(counts.resets, counts.runs);
      const one = output();
      return [one, one, output()]; // a model may give one tensor as two of its outputs
    },
    tap: async () => [],
    describe: () => [],
    dispose: () => undefined,
  };
  return { counts, model };
}

/**
 * @param {{warmup: number, runs: number, budgetMs: number}} plan
 */
async function time(plan) {
  const { counts, model } = counter();
  /** @type {string[]} */
  const stages = [];
  const report = (/** @type {string} */ stage, /** @type {number} */ done = 0) => void stages.push(`${stage} ${done}`);
  const result = await timeRuns(model, new Map(), plan, { report, first: "first run" });
  return { ...result, counts, stages };
}

test("the first run, the warm-up and the timed runs are separate", async () => {
  const { firstMs, warmMs, counts, stages } = await time({ warmup: 2, runs: 3, budgetMs: 60_000 });
  assert.ok(firstMs >= 0);
  assert.equal(warmMs.length, 3);
  assert.equal(counts.runs, 1 + 2 + 3);
  assert.equal(counts.read, 3 * counts.runs);
  assert.equal(counts.disposed, 2 * counts.runs);
  assert.deepEqual(stages, ["first run 0", "warm runs 0", "warm runs 1", "warm runs 2"]);
});

test("one run is timed even if no time is left", async () => {
  const { warmMs, counts } = await time({ warmup: 5, runs: 5, budgetMs: 0 });
  assert.equal(warmMs.length, 1);
  assert.equal(counts.runs, 2);
});

test("without timed runs only the first run happens", async () => {
  const { warmMs, counts } = await time({ warmup: 0, runs: 0, budgetMs: 60_000 });
  assert.deepEqual(warmMs, []);
  assert.equal(counts.runs, 1);
});
