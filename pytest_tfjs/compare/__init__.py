"""Judging what the browser computed: pure functions, which know neither TensorFlow nor a browser."""
