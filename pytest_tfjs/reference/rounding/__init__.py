"""How much rounding a layer's operations and inputs explain."""
