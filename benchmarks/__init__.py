"""Measurements of the plugin; README.md explains how to read them."""
