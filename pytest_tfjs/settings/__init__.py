"""Settings from options, ini values, markers and calls, resolved into one frozen object."""
