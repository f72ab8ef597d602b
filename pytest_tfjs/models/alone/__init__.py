"""One layer of converted artifacts alone: plans for running it, and models of just that layer."""
