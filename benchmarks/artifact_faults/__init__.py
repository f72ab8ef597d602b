"""Faults in converted artifacts, and runs with them, which `benchmarks.blame` measures."""
