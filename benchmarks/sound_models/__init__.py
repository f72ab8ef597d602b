"""Sound models, their feeds and their comparisons, which `benchmarks.false_alarms` runs."""
