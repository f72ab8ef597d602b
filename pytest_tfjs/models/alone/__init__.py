"""One layer of artifacts alone: plans for running it, and models of just that layer."""
