"""Models in which TF.js 4.22 computes something else than TensorFlow, with how to get round each."""
