"""Checks the demonstration's results in the files of `--tfjs-json` and `--junitxml`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

Comparison = dict[str, Any]
Case = tuple[str, str, str]
"""A model, a format and a backend."""


def problems_of_close(comparisons: Sequence[Comparison], expected: Collection[Case]) -> list[str]:
    """Problems in words: each case must have one comparison that is close at every layer."""
    problems = _problems_of_cases(comparisons, expected)
    for comparison in comparisons:
        rows = comparison["layers"]
        unmapped = [row["name"] for row in rows if row["coverage"] == "unmapped"]
        if comparison["verdict"] != "close":
            problems.append(f"{_name(comparison)}: {comparison['verdict']} ({comparison['reason']})")
        if unmapped:
            problems.append(f"{_name(comparison)}: not compared: {', '.join(unmapped)}")
        if not any(row["coverage"] == "compared" for row in rows):
            problems.append(f"{_name(comparison)}: no layer was compared")
    return problems


def problems_of_fault(
    comparisons: Sequence[Comparison], messages: Mapping[str, str], expected: Collection[Case], layer: str
) -> list[str]:
    """Problems in words: each case must diverge first at `layer` only, and its failure must name it.

    `messages`: by test, the failure messages, of which the first line must name the layer. Layers of format
    `graph` are named `layer/op`.
    """
    problems = _problems_of_cases(comparisons, expected)
    for comparison in comparisons:
        first = comparison["first_divergence"]
        if comparison["verdict"] != "diverged" or [name.split("/")[0] for name in first] != [layer]:
            problems.append(
                f"{_name(comparison)}: {comparison['verdict']}, first divergence {first}, not '{layer}' alone"
            )
            continue
        message = messages.get(comparison["test"].rpartition("::")[2], "")
        line = message.partition("\n")[0]
        if f"'{first[0]}' diverged first: " not in line:
            problems.append(
                f"{_name(comparison)}: the failure's first line does not name the layer: {line!r}"
            )
    return problems


def read_messages(xml: Path) -> dict[str, str]:
    """The failure message of each test in a JUnit XML file, by test."""
    cases = ET.parse(xml).iter("testcase")
    return {
        str(case.get("name")): str(failure.get("message"))
        for case in cases
        for failure in case.iter("failure")
    }


def _problems_of_cases(comparisons: Sequence[Comparison], expected: Collection[Case]) -> list[str]:
    found = [(one["model"], one["format"], one["target"]["backend"]) for one in comparisons]
    problems = [f"{_spell(case)}: was not compared" for case in sorted(expected) if case not in found]
    problems += [f"{_spell(case)}: this comparison is unexpected" for case in found if case not in expected]
    problems += [
        f"{_spell(case)}: compared {found.count(case)} times"
        for case in sorted(set(found))
        if found.count(case) > 1
    ]
    return problems


def _name(comparison: Comparison) -> str:
    return _spell((comparison["model"], comparison["format"], comparison["target"]["backend"]))


def _spell(case: Case) -> str:
    return "{} as {} on {}".format(*case)
