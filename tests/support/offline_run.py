"""Runs a model through the product's code without a browser.

What a browser would compute of the artifacts is computed by TensorFlow (`converted_graph.py`).
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from pytest_tfjs.browsers.jobs import Activations
from pytest_tfjs.compare.numbers.tolerances import resolve_tolerances
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.models.artifacts import with_weights
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.workflows.layer_measurement import LayerMeasurements
from tests.support.converted_graph import run_converted


class OfflineRun:
    """One model through the product's code: source, artifacts and reference."""

    def __init__(self, model, given, format_, cache):
        self.model = model
        source = as_source(model)
        self.artifacts = convert(source, format=format_, cache=cache)
        self.feeds = normalise_feeds(given, self.artifacts.inputs)
        self.reference = capture_reference(source, self.artifacts, self.feeds, "all", cache)
        self.rows = [layer for layer in self.reference.plan.layers if layer.tap is not None]
        assert self.reference.weights.findings == ()

    def unmapped(self):
        layers = self.reference.plan.layers
        return {layer.name: layer.reason for layer in layers if layer.coverage == "unmapped"}

    def judge(self, activations):
        """The product's judgement on activations by row."""
        layers = self.reference.plan.layers
        tolerances = resolve_tolerances(
            layers, backend="wasm", half=False, rtol=None, atol=None, per_layer=None
        )
        measurements = LayerMeasurements(self.reference, tolerances)
        measurements.add(Activations(0, activations))
        return judge(layers, measurements.merged(), measurements.tolerances())

    def changed(self, name, draw, folder):
        """The artifacts with one element of one weight changed by more than the weight's range."""
        weight = self.artifacts.read_weights()[name].copy()
        place = np.unravel_index(draw(st.integers(0, weight.size - 1)), weight.shape)
        weight[place] += 1 + 2 * np.abs(weight).max()
        return with_weights(self.artifacts, {name: weight}, folder)


def graph_activations(run, artifacts):
    taps = {row.name: row.tap["node"] for row in run.rows}
    values = run_converted(artifacts, run.feeds[0].reference, list(taps.values()))
    return {name: np.asarray(values[node]) for name, node in taps.items()}
