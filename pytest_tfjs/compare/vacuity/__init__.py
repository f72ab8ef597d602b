"""Finds vacuous comparisons, which would pass even if the browser computed something else."""
