"""Models in which TF.js 4.22 and TensorFlow differ, each with a way round."""
