"""Running models in TensorFlow: whole, tapped, and one layer alone."""
