"""Vacuous comparisons: those that would pass even if the browser computed something else."""
