"""Finds the likely cause of a divergence from evidence about the layer that made it."""
