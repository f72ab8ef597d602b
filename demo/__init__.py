"""The demonstration of `make demo`: two sound models pass, and a damaged one fails."""
