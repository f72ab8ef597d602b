"""Conversion steps that need TensorFlow, and the TensorFlow process."""
