"""Matching of layers: which source tensor each tensor of the artifacts stands for."""
