"""Checks the artifacts' weights against the source's."""
