"""Injects faults into layers, to measure what a comparison would notice."""
