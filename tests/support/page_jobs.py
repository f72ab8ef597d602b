"""Jobs in a real page, for the tests of what the page computes."""

from __future__ import annotations

from dataclasses import replace

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.targets import parse_targets


def open_page(harness, backend="cpu", browser="chrome"):
    return harness.open(parse_targets([browser], [backend])[0])


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


def run_alone(page, job, reference):
    """A job with each layer run alone on `reference`: the result, what the model gave, and what came alone.

    `reference`, and the latter two, have a dictionary for each feed.
    """
    fetched = []

    def references(feed, names):
        fetched.extend(names)
        return {name: reference[feed][name] for name in names}

    known = job.known or tuple(tap for chunk in job.chunks for tap in chunk)
    tapped = [{} for _ in job.feeds]
    alone = [{} for _ in job.feeds]

    def take(activations):
        (alone if activations.alone else tapped)[activations.feed].update(activations.tensors)

    result = page.run(replace(job, alone=references, known=known), take)
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    assert {name for rows in result.alone.values() for name in rows} <= set(fetched)
    assert result.alone.keys() | result.not_alone.keys() == {
        tap.name for chunk in job.chunks for tap in chunk
    }
    for given in alone:
        assert result.alone.keys() <= given.keys()
    return result, tapped, alone
