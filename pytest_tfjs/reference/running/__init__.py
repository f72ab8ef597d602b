"""Runs models in TensorFlow: whole, with taps, and one layer alone."""
