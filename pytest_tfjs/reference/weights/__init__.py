"""Checks that the artifacts' weights are the source's."""
