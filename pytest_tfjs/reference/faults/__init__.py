"""Faults injected into the reference, to measure the sensitivity of a comparison."""
