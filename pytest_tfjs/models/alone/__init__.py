"""Cuts of converted artifacts around one layer, so that it runs alone."""
