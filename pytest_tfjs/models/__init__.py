"""From what the user hands in to artifacts: sources, conversion, artifacts, feeds and the content cache."""
