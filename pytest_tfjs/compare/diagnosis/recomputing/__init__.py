"""Recomputes a layer in numpy, with the semantics of the source or other interpretations of them."""
