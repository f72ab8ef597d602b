"""Recomputes a layer in numpy, as the source defines it or by other interpretations."""
