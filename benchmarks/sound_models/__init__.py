"""Sound models, what they are fed, and their comparisons: the material of `benchmarks.false_alarms`."""
