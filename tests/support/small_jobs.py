"""A job of three taps in two chunks, and the activations that answer it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.formats.safetensors import encode

A, B, C = (Tap(name, {"node": f"{name}:0"}) for name in "abc")
FEED = {"x": np.ones((1, 2), np.float32)}


def job(**changes):
    given = {"feeds": (FEED,), "chunks": ((A, B), (C,))}
    return Job(Path("model.json"), "graph", **{**given, **changes})


def activations(*names, value=0.0):
    """The activations of these taps, as they are sent."""
    return memoryview(encode({name: np.array(value, np.float32) for name in names}))
