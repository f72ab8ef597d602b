"""Computes how much of a layer's error rounding can explain."""
