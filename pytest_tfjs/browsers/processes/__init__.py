"""Processes and temporary files of browsers, and their clean-up."""
