"""Loads and converts models: sources, artifacts, feeds and the cache."""
