"""Rounding of layers: how much of it their operations and inputs explain."""
