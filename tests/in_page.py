"""Jobs in a real page, for the tests of what the page computes."""

from __future__ import annotations

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.targets import parse_targets


def open_page(harness, backend="cpu"):
    return harness.open(parse_targets(["chrome"], [backend])[0])


def layer_tap(name, *path, **address):
    return Tap(name, {"path": list(path or [name]), **address})


def node_tap(name):
    return Tap(name, {"node": name})


def run(page, job):
    """The result, and the activations as a list of (feed, tensors)."""
    received = []
    result = page.run(job, lambda activations: received.append((activations.feed, activations.tensors)))
    return result, received


def tap(page, model, form, feed, *taps):
    """The activations of one feed, read in one chunk."""
    result, ((_, tensors),) = run(page, Job(model, form, (feed,), (taps,)))
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    return tensors
