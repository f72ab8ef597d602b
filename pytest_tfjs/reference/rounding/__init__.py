"""Computes how much of a layer's error can come from rounding."""
