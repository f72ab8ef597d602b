"""Computes reference activations in Python, and matches them with the layers of the artifacts."""
