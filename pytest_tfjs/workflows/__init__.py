"""What the `tfjs` fixture does: one module for each of its tasks."""
