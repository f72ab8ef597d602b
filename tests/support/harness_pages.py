"""Opens pages in a real browser and runs small graphs in them."""

from __future__ import annotations

import numpy as np

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.targets import parse_targets
from tests.support.tiny_graphs import dense_graph
from tests.support.tiny_models import RELU, X

RELU_TAP = Tap("relu", {"node": "relu:0"})


def open_page(harness, backend="cpu"):
    return harness.open(parse_targets(["chrome"], [backend])[0])


def script(harness, text):
    """Run JavaScript in the page through the driver."""
    return harness._browser._driver.execute_script(text)


def graph_job(folder, *, feed=None, taps=(RELU_TAP,), **more):
    return Job(
        dense_graph(folder), "graph", ({"x": X} if feed is None else feed,), (taps,) if taps else (), **more
    )


def assert_runs(harness, folder, backend="cpu"):
    """Check that the next job runs normally."""
    received = []
    result = open_page(harness, backend).run(graph_job(folder), received.append)
    np.testing.assert_allclose(received[0].tensors["relu"], RELU)
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
