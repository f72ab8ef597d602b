// The cases of tests/compare/numbers/test_element_check.py: a reproducer's page gives the same results as pytest.
import assert from "node:assert/strict";
import { test } from "node:test";

import { checkElements, indexOf } from "../../pytest_tfjs/page/repro/element_check.js";

const f32 = (...data) => ({ dtype: "float32", shape: [data.length], data: Float32Array.from(data) });
const allowing = (...allowed) => Float64Array.from(allowed);

for (const [actual, reference, error] of [
  [1, 1, 0],
  [1, 3, 2],
  [NaN, NaN, 0],
  [Infinity, Infinity, 0],
  [Infinity, -Infinity, Infinity],
  [NaN, 1, Infinity],
  [1, NaN, Infinity],
  [NaN, Infinity, Infinity],
  [0, -0, 0],
]) {
  test(`the error of ${actual} against ${reference}`, () => {
    const check = checkElements(f32(actual), f32(reference), allowing(0), null);
    assert.equal(check.maxAbs, error);
    assert.equal(check.wrong, error > 0 ? 1 : 0);
  });
}

test("the worst elements are ordered by error relative to the allowance", () => {
  const { worst, wrong } = checkElements(f32(10, 2, 5), f32(0, 0, 5), allowing(10, 1, 0), null);
  assert.deepEqual(worst.map(({ at }) => at), [1, 0, 2]);
  assert.equal(wrong, 1);
});

test("without an allowance the largest error is worst", () => {
  const whole = (data) => ({ dtype: "int32", shape: [2, 2], data: Int32Array.from(data) });
  const { worst, maxAbs } = checkElements(whole([1, 5, 9, 2]), whole([1, 4, 2, 2]), allowing(0, 0, 0, 0), null);
  assert.equal(maxAbs, 7);
  assert.deepEqual(indexOf(worst[0].at, [2, 2]), [1, 0]);
});

test("complex numbers are compared by modulus", () => {
  const complex = (...data) => ({ dtype: "complex64", shape: [1], data: Float32Array.from(data) });
  const check = checkElements(complex(3, 4), complex(0, 0), allowing(1), null);
  assert.equal(check.maxAbs, 5);
  assert.equal(check.wrong, 1);
});

for (const [actual, reference, reason] of [
  [{ ...f32(0), shape: [2, 3] }, { ...f32(0), shape: [3, 2] }, "shape [2, 3] in the browser, [3, 2] in the reference"],
  [{ ...f32(0), dtype: "int32" }, f32(0), "dtype int32 in the browser, float32 in the reference"],
  [f32(), f32(), "there are no elements"],
]) {
  test(`incomparable tensors are wrong: ${reason}`, () => {
    const check = checkElements(actual, reference, allowing(), null);
    assert.equal(check.reason, reason);
    assert.deepEqual(check.worst, []);
  });
}

test("the RMS error may exceed its limit", () => {
  const errors = [f32(1, 1, 1, 1), f32(0, 0, 0, 0), allowing(1, 1, 1, 1)];
  assert.equal(checkElements(...errors, 1).exceedsRms, false);
  assert.equal(checkElements(...errors, 0.5).exceedsRms, true);
  assert.equal(checkElements(...errors, 0.5).wrong, 0);
});

test("only the worst elements are listed, equal ones in index order", () => {
  const data = Array.from({ length: 100 }, (_, at) => at % 50);
  const { worst } = checkElements(f32(...data), f32(...data.map(() => 0)), new Float64Array(100), null);
  assert.equal(worst.length, 20);
  assert.deepEqual(worst.slice(0, 4).map(({ at }) => at), [49, 99, 48, 98]);
});
