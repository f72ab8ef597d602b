"""Reading activations without changing the outputs, in a fake page and in a real one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Activations, Job, JobResult
from pytest_tfjs.browsers.targets import Target
from pytest_tfjs.compare.numbers.tolerances import Tolerances
from pytest_tfjs.compare.weight_check import WeightCheck
from pytest_tfjs.errors import PageError
from pytest_tfjs.reference.activation_store import Stored
from pytest_tfjs.reference.capture import Reference
from pytest_tfjs.reference.comparison_plan import Plan
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.workflows.preparation import PreparedModel
from pytest_tfjs.workflows.tapping import ActivationReader
from tests.support.comparisons import TOLERANCE, layer
from tests.support.page_jobs import layer_tap, node_tap, open_page
from tests.support.tiny_graphs import dense_graph
from tests.support.tiny_layers_models import dense_model
from tests.support.tiny_models import X

ROWS = (
    layer("conv", op="Conv2D", tap={}),
    layer("relu", "conv", op="Relu", tap={}),
    layer("y", "relu", op="MatMul", output=True, tap={}),
)
RIGHT = {"conv": 1.0, "relu": 2.0, "y": 3.0}


@pytest.fixture
def reference(tmp_path):
    stored = Stored(tmp_path)
    stored.add(0, {name: np.full(4, value, np.float32) for name, value in RIGHT.items()})
    return Reference(Plan(ROWS, dict.fromkeys(RIGHT, "")), tmp_path, stored, stored, WeightCheck.of(()))


class FakePage:
    """A page whose output `y` is off by what `alters` gives for the rows read and the number of the run."""

    def __init__(self, alters):
        self.alters = alters
        self.jobs = []
        self.runs = 0

    @property
    def facts(self):
        return SimpleNamespace(tfjs_version="4.22.0")

    def run(self, job, on_activations, *, timeout_s, on_progress):
        assert job.references is None
        assert (timeout_s, on_progress) == (7.0, print)
        names = [tap.name for chunk in job.chunks for tap in chunk]
        self.jobs.append((names, job.plain_runs, job.timing is not None))
        for run in range(job.plain_runs):
            tensors = {tap.name: self.value(tap.name, set()) for tap in job.outputs}
            on_activations(Activations(0, tensors, run))
        for chunk in job.chunks:
            tensors = {tap.name: self.value(tap.name, set(names)) for tap in chunk}
            on_activations(Activations(0, tensors))
        return JobResult(load_ms=float(len(self.jobs)))

    def value(self, name, read):
        self.runs += 1
        off = self.alters(read, self.runs) if name == "y" else 0.0
        return np.full(4, RIGHT[name] + off, np.float32)


def reader_of(reference):
    artifacts = SimpleNamespace(model_json=Path("model.json"), format="graph")
    model = PreparedModel(None, artifacts, (SimpleNamespace(browser={}),), reference)
    settings = Settings(timeout=7.0, tap_budget=1 << 20)
    context = SimpleNamespace(settings=settings, target=Target("chrome", "cpu"), progress=print)
    return ActivationReader(model, Tolerances(dict.fromkeys(RIGHT, TOLERANCE)), None, context)


def read(reference, alters):
    page, reader = FakePage(alters), reader_of(reference)
    reader.run(page)
    return page.jobs, reader


def coverage(reader):
    return [row.coverage for row in reader.reference.plan.layers]


def test_one_job_is_run_if_reading_changes_no_output(reference):
    jobs, reader = read(reference, lambda read, run: 0.0)
    assert jobs == [(["conv", "relu", "y"], 1, True)]
    assert (reader.observation.checked, reader.observation.cause) == (("y",), None)
    assert set(reader.measurements.merged()) == set(RIGHT)
    assert reader.nbytes == 3 * 16


def test_nondeterministic_model_is_detected(reference):
    jobs, reader = read(reference, lambda read, run: 0.25 * run)
    assert jobs == [(["conv", "relu", "y"], 1, True), ([], 2, False)]
    found = reader.observation
    assert (found.altered, found.cause, found.read, found.settled) == (
        ("y",),
        "nondeterministic",
        "all",
        False,
    )


def test_only_boundaries_are_read_if_reading_all_layers_changes_outputs(reference):
    jobs, reader = read(reference, lambda read, run: 0.5 if "relu" in read else 0.0)
    assert [names for names, _, _ in jobs] == [["conv", "relu", "y"], [], ["conv", "y"]]
    found = reader.observation
    assert (found.altered, found.cause, found.read, found.settled) == (("y",), "reading", "boundaries", True)
    assert coverage(reader) == ["compared", "fused", "compared"]
    metrics = reader.measurements.merged()
    assert metrics.keys() == reader.measurements.tolerances().keys() == {"conv", "y"}
    assert metrics["y"].passed
    assert reader.result.load_ms == 1.0


def test_only_outputs_are_read_if_reading_boundaries_changes_outputs(reference):
    jobs, reader = read(reference, lambda read, run: 0.5 if "conv" in read else 0.0)
    assert [names for names, _, _ in jobs] == [["conv", "relu", "y"], [], ["conv", "y"], ["y"]]
    assert (reader.observation.read, reader.observation.settled) == ("outputs", True)
    assert coverage(reader) == ["fused", "fused", "compared"]


@pytest.mark.parametrize(("plain", "passes"), [(0.0, True), (0.5, False)])
def test_outputs_of_the_plain_run_are_judged(reference, plain, passes):
    _, reader = read(reference, lambda read, run: 0.25 if read else plain)
    assert (reader.observation.read, reader.observation.settled) == ("outputs", False)
    (metrics,) = reader.measurements.merged().values()
    assert metrics.passed is passes
    assert metrics.max_abs == plain


def test_measurements_remain_if_the_page_fails_later(reference):
    def alters(read, run):
        if run == 5:
            raise PageError("gone")
        return 0.5 if read else 0.0

    page, reader = FakePage(alters), reader_of(reference)
    with pytest.raises(PageError):
        reader.run(page)
    assert reader.result is not None
    assert set(reader.measurements.merged()) == set(RIGHT)
    assert reader.observation.altered == ("y",)


CASES = {
    "layers": (dense_model, [layer_tap("dense"), layer_tap("relu")]),
    # Its output is an Identity of the last layer, and is not compared.
    "graph": (dense_graph, [node_tap("sum"), node_tap("relu")]),
}


@pytest.mark.browser
@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl"])
@pytest.mark.parametrize("form", CASES)
def test_plain_run_returns_only_outputs_under_their_layer_names(harness, tmp_path, backend, form):
    write, (aside, output) = CASES[form]
    feeds = ({"x": X}, {"x": 2 * X})
    # A plain run returns outputs only.
    job = Job(write(tmp_path), form, feeds, ((aside, output),), outputs=(output, aside), plain_runs=2)
    seen = []
    result = open_page(harness, backend).run(job, seen.append)
    assert [(one.plain_run, one.feed) for one in seen] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (None, 0),
        (None, 1),
    ]
    assert [set(one.tensors) for one in seen[:4]] == [{output.name}] * 4
    for plain in seen[:4]:
        np.testing.assert_array_equal(plain.tensors[output.name], seen[4 + plain.feed].tensors[output.name])
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]


RANDOM = """
import numpy as np
import tensorflow as tf

@tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])
def noisy(x):
    return {"noise": x + tf.random.uniform([1, 3]), "steady": tf.nn.relu(x) * 2.0}

@tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])
def steady(x):
    return {"steady": tf.nn.relu(x) * 2.0}

def test_noisy(tfjs):
    found = tfjs.compare(noisy, np.array([[1, 2, 3]], np.float32)).observation
    assert found.cause == "nondeterministic"
    assert len(found.altered) == 1 and len(found.checked) == 2

def test_steady(tfjs):
    comparison = tfjs.assert_close(steady, np.array([[1, 2, 3]], np.float32))
    assert comparison.observation.cause is None
    assert comparison.observation.checked == comparison.outputs

def test_noisy_fails(tfjs):
    tfjs.assert_close(noisy, np.array([[1, 2, 3]], np.float32))
"""


@pytest.mark.browser
@pytest.mark.convert
def test_failure_says_that_two_runs_of_a_random_model_differ(project):
    pytest.importorskip("tensorflow")
    project.write(test_model=RANDOM)
    run = project.run("--tfjs-backends=cpu")
    assert {name for name, case in run.cases.items() if case.outcome != "passed"} == {
        "test_noisy_fails[chrome-cpu]"
    }, run.text
    text = " ".join(run.cases["test_noisy_fails[chrome-cpu]"].failure.split())
    assert "two runs on the same feed gave different outputs" in text
    effects = [one["observer_effect"] for one in run.results["comparisons"]]
    assert [effect["cause"] for effect in effects] == ["nondeterministic", None, "nondeterministic"]
