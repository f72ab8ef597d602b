"""The likely cause of a divergence, from evidence on the layer that made it."""
