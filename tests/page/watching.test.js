// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { watchLayers, watchNodes } from "../../pytest_tfjs/page/watching.js";

/** @param {string} name @returns {any} */
const node = (name) => ({ name, op: "Relu", category: "basic_math" });

test("watchNodes() returns the node computed last", () => {
  const [a, b] = [node("a"), node("b")];
  const { current, take } = watchNodes([a, b]);
  assert.deepEqual([current(), take()], [null, null]);
  assert.equal(a.category, "basic_math");
  assert.equal(current(), a);
  assert.equal(b.category, "basic_math");
  assert.deepEqual(take(), { name: "b", class: "Relu", inputs: null });
  assert.deepEqual([current(), take()], [b, null]);
});

test("watchLayers() returns the innermost layer that threw, and what it took", () => {
  const x = { dtype: "float32", shape: [2, null] };
  /** @param {string} op @param {(...values: any[]) => any} apply @returns {any} */
  const layer = (op, apply) => ({ apply, getClassName: () => op });
  const inner = layer("Dense", () => {
    throw new Error("refused");
  });
  const fine = layer("ReLU", (value) => value);
  const outer = layer("Functional", (value) => [fine.apply(value), inner.apply([value, value])]);
  const threw = watchLayers([{ layer: outer, name: "outer" }, { layer: inner, name: "outer/inner" }, { layer: fine, name: "outer/fine" }]);
  assert.equal(fine.apply(x), x);
  assert.equal(threw(), null);
  for (let run = 0; run < 2; run++) {
    assert.throws(() => outer.apply(x), /refused/);
    assert.deepEqual(threw(), { name: "outer/inner", class: "Dense", inputs: ["float32 [2, any]", "float32 [2, any]"] });
    assert.equal(threw(), null);
  }
});
