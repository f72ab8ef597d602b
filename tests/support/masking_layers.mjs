/** Prints the layer classes of TF.js that can be loaded and that hand on masks, as JSON. */

import * as tf from "@tensorflow/tfjs-core";
import { layers } from "@tensorflow/tfjs-layers";

// Arguments that satisfy every layer's constructor.
const config = () => ({
  units: 1, filters: 1, kernelSize: 1, rate: 0.5, stddev: 1, size: [1, 1], axes: 1, axis: -1, n: 1, activation: "relu",
  dims: [1], targetShape: [1], poolSize: 1, inputDim: 1, outputDim: 1, mergeMode: "concat",
  layer: layers.simpleRNN({ units: 1, returnSequences: true }), cell: layers.simpleRNNCell({ units: 1 }),
});
const classes = Object.entries(tf.serialization.SerializationMap.getMap().classNameMap);
const masking = classes.filter(([, [create]]) => {
  try {
    return new create.prototype.constructor(config()).supportsMasking;
  } catch {
    return false; // an optimizer or another class that is not a layer
  }
});
console.log(JSON.stringify(masking.map(([name]) => name)));
