"""The results of a run: compressed, in order, and found by test."""

from __future__ import annotations

import pytest

from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.run_results import _BLOCK, EarlierComparisons, StoredResults
from tests.support.comparisons import close, comparison, layer, target, wrong

TEST = "test_digits.py::test_classifier[chrome-webgl]"


def numbered_comparison(number: int, **fields: object):
    """A comparison of 40 layers, one of which diverged."""
    names = [f"block_{at}/conv" for at in range(40)]
    rows = [layer(name, output=name == names[-1]) for name in names]
    found = {name: close() for name in names} | {names[number % 40]: wrong()}
    return comparison(rows, found, **{"test": f"test_digits.py::test_{number}[chrome-webgl]", **fields})


def test_entries_come_back_unchanged():
    results, entries = (
        StoredResults(),
        [comparison_to_json(numbered_comparison(number)) for number in range(3)],
    )
    results.extend(entries[:1])
    results.extend(entries[1:])
    results.extend([])
    assert results.all() == entries
    assert results.all() == entries


def test_entries_of_several_blocks_are_ordered_by_place():
    results = StoredResults()
    entries = [{"test": number, "text": "x" * (_BLOCK // 3)} for number in range(10)]
    for number in (3, 7, 0, 9, 4, 1, 8, 6, 2, 5):
        results.extend([entries[number]], number)
    assert len(results._archive._blocks) == 3
    assert results.all() == entries


def test_entries_are_ordered_by_place():
    results = StoredResults()
    for place, names in ((2, "cd"), (0, "a"), (1, "b"), (2, "e")):
        results.extend([{"test": name} for name in names], place)
    assert [one["test"] for one in results.all()] == list("abcde")


def test_similar_entries_are_compressed():
    results, earlier = StoredResults(), EarlierComparisons()
    for number in range(200):
        one = numbered_comparison(number)
        results.extend([comparison_to_json(one)])
        earlier.add(one)
    for archive in (results._archive, earlier._archive):
        assert sum(map(len, archive._blocks)) / archive._starts[-1] < 500
        assert archive._open_size < _BLOCK
    assert len(str(comparison_to_json(numbered_comparison(0)))) > 30_000


def test_elsewhere_finds_the_same_comparison_on_other_targets():
    earlier, here = EarlierComparisons(), numbered_comparison(0, test=TEST)
    on_wasm, on_cpu = (
        numbered_comparison(
            0, test=f"test_digits.py::test_classifier[chrome-{name}]", target=target(backend=name)
        )
        for name in ("wasm", "cpu")
    )
    earlier.add(numbered_comparison(0, test=TEST, model="another", target=target(backend="cpu")))
    earlier.add(numbered_comparison(0, test=TEST, format="layers", target=target(backend="cpu")))
    earlier.add(numbered_comparison(0, test=TEST, weights="uint8", target=target(backend="cpu")))
    earlier.add(
        numbered_comparison(0, test="test_digits.py::test_other[chrome-cpu]", target=target(backend="cpu"))
    )
    earlier.add(on_wasm)
    earlier.add(here)
    earlier.add(on_cpu)
    assert earlier.elsewhere(here) == [on_wasm, on_cpu]
    assert earlier.elsewhere(on_cpu) == [on_wasm, here]


@pytest.mark.parametrize(
    ("here", "same", "others"),
    [
        ("[chrome-cpu-3]", "[chrome-wasm-3]", ["[chrome-wasm-7]", "[chrome-wasm]", "[chrome-wasm-3-x]"]),
        ("[3-chrome-cpu]", "[3-chrome-wasm]", ["[7-chrome-wasm]", "[x-3-chrome-wasm]"]),
        ("[a-chrome-cpu-b]", "[a-chrome-wasm-b]", ["[b-chrome-wasm-a]", "[ab-chrome-wasm]"]),
        # The user's own parameter looks like a target.
        ("[chrome-cpu-chrome-cpu]", "[chrome-wasm-chrome-cpu]", ["[chrome-wasm-chrome-wasm]"]),
    ],
)
def test_elsewhere_keeps_to_the_parameters_of_the_test(here, same, others):
    earlier, wasm = EarlierComparisons(), target(backend="wasm")
    for parameters in [*others, same]:
        earlier.add(numbered_comparison(0, test=f"test_a.py::test_a{parameters}", target=wasm))
    own = numbered_comparison(0, test=f"test_a.py::test_a{here}", target=target(backend="cpu"))
    assert [one.test for one in earlier.elsewhere(own)] == [f"test_a.py::test_a{same}"]


def test_elsewhere_recognises_variants():
    earlier = EarlierComparisons()
    half = target(variant="f16")
    earlier.add(numbered_comparison(0, test="test_a.py::test_a[3-chrome-webgl:f16]", target=half))
    own = numbered_comparison(0, test="test_a.py::test_a[3-chrome-webgl]")
    assert [one.target for one in earlier.elsewhere(own)] == [half]


def test_elsewhere_finds_comparisons_in_all_blocks():
    earlier, here = EarlierComparisons(), numbered_comparison(0, test=TEST)
    others = {
        40 * place: numbered_comparison(
            0, test=f"test_digits.py::test_classifier[chrome-{name}]", target=target(backend=name)
        )
        for place, name in enumerate(("cpu", "wasm", "webgpu"))
    }
    for number in range(100):
        earlier.add(others.get(number) or numbered_comparison(number))
    assert len(earlier._archive._blocks) > 1
    assert earlier.elsewhere(here) == list(others.values())
    assert earlier.count(others[0].test) == 1


def test_elsewhere_pairs_the_comparisons_of_a_loop():
    earlier = EarlierComparisons()
    wasm, cpu = target(backend="wasm"), target(backend="cpu")
    for number in range(2):
        earlier.add(
            numbered_comparison(number, test="test_a.py::test_a[chrome-cpu]", target=cpu, model="model")
        )
    found = []
    for number in range(3):
        own = numbered_comparison(number, test="test_a.py::test_a[chrome-wasm]", target=wasm, model="model")
        earlier.add(own)
        found.append([one.layers[0] for one in earlier.elsewhere(own)])
    assert found == [[numbered_comparison(0).layers[0]], [numbered_comparison(1).layers[0]], []]


def test_count_is_the_number_of_comparisons_of_a_test():
    earlier = EarlierComparisons()
    assert (earlier.count(TEST), len(earlier)) == (0, 0)
    earlier.add(numbered_comparison(0, test=TEST))
    earlier.add(numbered_comparison(1, test=TEST, model="another"))
    earlier.add(numbered_comparison(2))
    assert (earlier.count(TEST), len(earlier)) == (2, 3)
