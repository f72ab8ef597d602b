"""Telling what was found: the failure's message, the terminal's tables, the JSON and the JUnit properties."""
