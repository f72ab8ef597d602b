"""Sound models raise no false alarm: a sample of `python -m benchmarks.false_alarms`."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from benchmarks.false_alarms import main
from benchmarks.sound_models.building import SoundModel, save
from benchmarks.sound_models.cases import GROUPS, SoundCase
from benchmarks.sound_models.results import ResultsFile, report
from benchmarks.sound_models.running import nearest, record_of
from tests.support.comparisons import comparison, layer, wrong

QUICK = (
    SoundCase(SoundModel("mobile", 2), "layers", "uniform"),
    SoundCase(SoundModel("mobile", 2), "layers", "tiny16"),
    SoundCase(SoundModel("mobile", 3), "graph", "tiny8"),
    SoundCase(SoundModel("swish", 2), "graph", "one_hot"),
    SoundCase(SoundModel("wide_depthwise", 2), "layers", "tiny16"),
    SoundCase(SoundModel("only_depthwise_relu6", 2), "layers", "tiny16"),
    SoundCase(SoundModel("only_elu", 2), "layers", "tiny8"),
    SoundCase(SoundModel("only_tanh", 3), "graph", "tiny16"),
    SoundCase(SoundModel("only_dense_wide", 2), "layers", "tiny8"),
)
SEED = 4
MORE = (
    *islice(GROUPS["networks"].cases(SEED), 0, None, 5),
    *islice(GROUPS["layers"].cases(SEED), 0, None, 3),
    *islice(GROUPS["quantised"].cases(SEED), 0, None, 6),
)
HALF = tuple(islice(GROUPS["half"].cases(SEED), 0, None, 9))


@pytest.fixture(scope="session")
def built(tfjs_tensorflow, tmp_path_factory):
    """What builds a model once and gives its path."""
    folder = tmp_path_factory.mktemp("sound")

    def path_of(model):
        path = model.path(folder)
        if not path.exists():
            tfjs_tensorflow.run(f"building {model}", save, model, folder)
        return path

    return path_of


def check(tfjs, target, case, built):
    found = tfjs.compare(
        built(case.model), case.model.feed(case.feed, case.seed), format=case.format, weights=case.weights
    )
    record = record_of(found, case, f"{target.browser}/{target.backend_variant}")
    assert record["outcome"] in ("close", "vacuous"), record["message"]
    assert record["layers"] > 0


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers="chrome", backends="cpu,wasm,webgl")
@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(case, id=str(case)) for case in QUICK),
        *(pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in MORE),
    ],
)
def test_sound_model_raises_no_alarm(tfjs, tfjs_target, case, built):
    check(tfjs, tfjs_target, case, built)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers="chrome", backends="webgl:f16")
@pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in HALF])
def test_sound_model_raises_no_alarm_in_half_precision(tfjs, tfjs_target, case, built):
    check(tfjs, tfjs_target, case, built)


def test_benchmark_has_enough_comparisons_and_none_twice(capsys):
    assert main(["--list"]) == 0
    keys = capsys.readouterr().out.splitlines()
    assert len(keys) == len(set(keys))
    counts = Counter(key.partition(" on ")[2] for key in keys)
    assert sum(counts[f"chrome/{backend}"] for backend in ("cpu", "wasm", "webgl")) >= 500
    assert counts["chrome/webgl:f16"] >= 100
    assert sum(count for target, count in counts.items() if not target.startswith("chrome")) >= 60


def test_diverged_comparison_is_an_alarm_and_is_reported(tmp_path):
    case = SoundCase(SoundModel("mlp", 2), "layers", "normal")
    record = record_of(comparison([layer("hidden")], {"hidden": wrong()}), case, "chrome/webgl")
    assert record["outcome"] == "alarm"
    results = ResultsFile(tmp_path / "results.jsonl")
    results.add("mlp on chrome/webgl", "networks", "chrome/webgl", record)
    results.add("cnn on chrome/webgl", "networks", "chrome/webgl", {"outcome": "close", "misses": {}})
    text = report(results.of(["mlp on chrome/webgl", "cnn on chrome/webgl", "not run"]))
    assert "false alarm: mlp on chrome/webgl\n    webgl on chrome: 'hidden' diverged first" in text
    assert text.endswith("2 comparisons, 0 layers run alone: 1 false alarms")


def test_gap_of_a_family_is_no_alarm_where_its_message_is_there():
    case = SoundCase(SoundModel("transformer", 3, None), "graph", "own")
    told = "cannot run: needs the kernel Einsum, which wasm does not register"
    rows = [layer("hidden")], {"hidden": wrong()}
    assert record_of(comparison(*rows), case, "chrome/wasm")["outcome"] == "alarm"
    refused = comparison(*rows, verdict="error", reason=told, first_divergence=())
    assert record_of(refused, case, "chrome/wasm")["outcome"] == "limit"
    assert record_of(refused, case, "chrome/webgl")["outcome"] == "alarm"


def test_interrupted_results_are_read_up_to_the_line_that_was_cut(tmp_path):
    path = tmp_path / "results.jsonl"
    ResultsFile(path).add("first", "layers", "chrome/cpu", {"outcome": "close"})
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"key": "second", "outc')
    results = ResultsFile(path)
    assert "first" in results
    assert "second" not in results
    results.add("third", "layers", "chrome/cpu", {"outcome": "alarm"})
    assert ResultsFile(path).outcome("third") == "alarm"


def test_layers_that_were_not_run_alone_miss_nothing():
    assert nearest(comparison([layer("hidden")], {"hidden": wrong()})) == {}
