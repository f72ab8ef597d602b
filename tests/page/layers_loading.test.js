// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { findUnloadableLayer, inputIn, refusedLayer } from "../../pytest_tfjs/page/layers_loading.js";

/** @param {string} name @param {string} op @returns {any} */
const part = (name, op) => ({ name, op, inputs: null });
/** @param {string} name @param {string} op @param {object[]} layers @param {object} [rest] */
const model = (name, op, layers, rest = {}) => ({ class_name: op, config: { name, layers, ...rest } });
/** @param {string} name @param {string} op */
const layer = (name, op) => ({ class_name: op, config: { name } });

test("the innermost layer that was being made is the one", () => {
  const open = [part("m", "Functional"), part("inner", "Sequential"), part("d", "Dense")];
  assert.deepEqual(refusedLayer(open, "no", {}), part("inner/d", "Dense"));
  assert.deepEqual(refusedLayer([...open, part("inner2", "Functional")], "no", {}), part("inner/d", "Dense"));
});

test("a wrapped layer is named behind its wrapper", () => {
  const open = [part("m", "Functional"), part("both", "Bidirectional"), part("gru_7", "GRU")];
  assert.deepEqual(refusedLayer(open, "no", {}), part("both/gru_7", "GRU"));
});

test("a class that TF.js does not know is found in the topology", () => {
  const topology = { model_config: model("m", "Functional", [layer("x", "InputLayer"), layer("mine", "Mine")]) };
  const message = "Unknown layer: Mine. This may be due to";
  assert.deepEqual(refusedLayer([part("m", "Functional")], message, topology), part("mine", "Mine"));
  assert.deepEqual(refusedLayer([part("m", "Functional"), part("in", "Functional")], message, topology), part("in/mine", "Mine"));
});

test("the layer of a weight is found by the weight's name", () => {
  const topology = model("m", "Functional", [layer("d", "Dense"), layer("d2", "Conv2D")]);
  assert.deepEqual(refusedLayer([], "d2/kernel", topology), part("d2", "Conv2D"));
});

test("a dict of outputs is told where no layer fails", () => {
  const topology = model("m", "Functional", [layer("d", "Dense")], { output_layers: { a: ["d", 0, 0], b: ["d", 0, 0] } });
  assert.deepEqual(refusedLayer([part("m", "Functional")], "not iterable", topology), part("m", "Functional with a dict of outputs: a, b"));
  assert.equal(refusedLayer([], "no", topology), null);
});

/** A TF.js with a layer class, a variable class and a map of classes. @returns {any} */
function tfjs() {
  class Layer {
    name = "base";
    getClassName() {
      return "Dense";
    }
    /** @param {unknown} _inputs */
    apply(_inputs) {}
  }
  class Dense extends Layer {
    name = "d";
  }
  class LayerVariable {
    originalName = "d/kernel";
    /** @param {unknown} value */
    write(value) {
      if (value === null) throw new Error("Shape mismatch");
    }
  }
  const classNameMap = {
    Dense: [Dense, (/** @type {any} */ _cls, /** @type {any} */ config) => {
      if (config.bad) throw new Error("bad config");
      return new Dense();
    }],
  };
  return { layers: { Layer }, LayerVariable, serialization: { SerializationMap: { getMap: () => ({ classNameMap }) } }, Dense };
}

test("loading is watched, and afterwards nothing is", async () => {
  const tf = tfjs();
  const { classNameMap } = tf.serialization.SerializationMap.getMap();
  const [before, apply, write] = [{ ...classNameMap }, tf.layers.Layer.prototype.apply, tf.LayerVariable.prototype.write];
  const topology = model("m", "Functional", [layer("d", "Dense")]);
  /** @param {() => unknown} work */
  const find = (work) => findUnloadableLayer(tf, { modelTopology: topology }, async () => {
    work();
    return { dispose: () => undefined };
  });
  const make = (/** @type {object} */ config) => classNameMap.Dense[1](tf.Dense, { name: "d", ...config });
  assert.deepEqual(await find(() => make({ bad: true })), part("d", "Dense"));
  tf.layers.Layer.prototype.apply = () => {
    throw new Error("ndim");
  };
  const x = { dtype: "float32", shape: [null, 3] };
  assert.deepEqual(await find(() => make({}).apply(x)), { name: "d", op: "Dense", inputs: ["float32 [any, 3]"] });
  tf.layers.Layer.prototype.apply = apply;
  assert.deepEqual(await find(() => new tf.LayerVariable().write(null)), part("d", "Dense"));
  assert.equal(await find(() => make({})), null);
  assert.deepEqual(classNameMap, before);
  assert.equal(tf.layers.Layer.prototype.apply, apply);
  assert.equal(tf.LayerVariable.prototype.write, write);
});

test("an input that TF.js refuses is found by its name", () => {
  const described = { describe: () => [{ name: "x", class: "InputLayer" }, { name: "d", class: "Dense" }] };
  const error = (/** @type {string} */ name) => new Error(`Error when checking : expected ${name} to have shape [null,8] but got array with shape [2,4].`);
  assert.deepEqual(inputIn(described, error("x")), part("x", "InputLayer"));
  assert.equal(inputIn(described, error("d")), null);
  assert.equal(inputIn(described, "expected x to have"), null);
});
