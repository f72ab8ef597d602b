// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { nodeOrWeightIn } from "../../pytest_tfjs/page/graph_loading.js";

const ARTIFACTS = {
  weightSpecs: [{ name: "mask", dtype: "uint8" }, { name: "mask/kernel", dtype: "float32" }],
  modelTopology: { node: [{ name: "x", op: "Placeholder" }, { name: "odd", op: "Nonsense" }] },
  modelInitializer: { node: [{ name: "fill", op: "InitializeTableV2" }] },
};

for (const [message, expected] of /** @type {const} */ ([
  ["Unsupported dtype in weight 'mask': uint8", { name: "mask", op: "uint8 weight", inputs: null }],
  ["Node type InitializeTableV2 is not implemented", { name: "fill", op: "InitializeTableV2", inputs: null }],
  ["Unknown op 'Nonsense'. File an issue", { name: "odd", op: "Nonsense", inputs: null }],
  ["Unknown op 'Other'. File an issue", null],
  ["Cannot read properties of undefined", null],
])) {
  test(`"${message}" names ${expected?.name ?? "nothing"}`, () => {
    assert.deepEqual(nodeOrWeightIn(ARTIFACTS, message), expected);
  });
}
