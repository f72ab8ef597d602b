"""Matches each tensor of the artifacts with the source tensor that it computes."""
