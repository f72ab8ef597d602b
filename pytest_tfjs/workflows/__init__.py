"""One module for each thing that the tfjs object does."""
