"""Judges what the browser computed: pure functions without TensorFlow or a browser."""
