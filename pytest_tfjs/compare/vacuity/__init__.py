"""Comparisons that could not have failed."""
