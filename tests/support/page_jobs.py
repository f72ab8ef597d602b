"""Runs jobs in a real page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.models.alone.planner import plan_alone
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.workflows.layer_measurement import with_plans


@dataclass
class RunAlone:
    """The result of each layer: the rows fed to it, or the reason it was not run alone."""

    alone: dict
    not_alone: dict


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


def run_alone(page, job, reference, known=None):
    """Runs a job with each layer alone: what became of them, the activations in the model, and those alone.

    `reference` and the activations have a dictionary for each feed. `known`: the taps of the layers that can
    be fed; None: all of the job's.
    """
    fetched = set()

    def references(feed, names):
        fetched.update(names)
        return {name: reference[feed][name] for name in names}

    taps = {tap.name: tap.address for chunk in job.chunks for tap in chunk}
    known = taps if known is None else {tap.name: tap.address for tap in known}
    plans = plan_alone(read_artifacts(job.artifacts), taps, known)
    tapped = [{} for _ in job.feeds]
    alone = [{} for _ in job.feeds]

    def take(activations):
        (alone if activations.alone else tapped)[activations.feed].update(activations.tensors)

    result = page.run(replace(job, chunks=with_plans(job.chunks, plans), references=references), take)
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    not_alone = plans.reasons | result.not_alone
    rows = {name: plan.takes for name, plan in plans.plans.items() if name not in not_alone}
    assert {name for takes in rows.values() for name in takes} <= fetched
    for given in alone:
        assert rows.keys() <= given.keys()
    return RunAlone(rows, not_alone), tapped, alone
