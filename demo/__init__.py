"""The demonstration of `make demo`: two models that are close in the browser, and a fault that is found."""
