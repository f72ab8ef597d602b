"""Plans for running a layer of the artifacts alone, and models of just that layer."""
