"""Errors of activations: measured, and held against tolerances and allowances."""
