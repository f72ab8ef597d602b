"""Measurements of the plugin; README.md tells how to read them."""
