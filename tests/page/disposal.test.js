// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

const { disposing, isUndisposed } = await import("../../pytest_tfjs/page/disposal.js");

const fails = (/** @type {string} */ text) => () => {
  throw new Error(text);
};

test("work is disposed of, whether it fails or not", async () => {
  let disposed = 0;
  const dispose = () => void disposed++;
  assert.equal(await disposing(async () => 7, dispose), 7);
  await assert.rejects(disposing(async () => fails("work")(), dispose), (error) => !isUndisposed(error));
  assert.equal(disposed, 2);
});

test("the error is that of the work where the disposal fails too", async () => {
  await assert.rejects(disposing(async () => 7, fails("disposal")), /disposal/);
  await assert.rejects(disposing(async () => fails("work")(), fails("disposal")), (error) => {
    assert.match(String(error), /work/);
    return isUndisposed(error);
  });
});
