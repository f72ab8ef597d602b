"""Computes a layer again in numpy, in as many readings of its operations as there are."""
