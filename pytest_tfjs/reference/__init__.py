"""Computes reference activations in Python, and matches them with the artifacts' layers."""
