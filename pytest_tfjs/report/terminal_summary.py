"""The sections at the end of a run: layers, comparisons, tasks, browsers that were lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_tfjs.report.agreement_message import task_lines
from pytest_tfjs.report.labels import retry_line
from pytest_tfjs.report.layer_table import layer_table
from pytest_tfjs.report.sensitivity_summary import summary_lines
from pytest_tfjs.report.summary_table import summary_table
from pytest_tfjs.report.text_layout import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLOURS = {
    "close": "green",
    "diverged": "red",
    "error": "red",
    "unmapped": "yellow",
    "vacuous": "yellow",
    "expected": "yellow",
}
"""The terminal colour of a line, by its verdict."""

_WARNING = "vacuous"


class Section(NamedTuple):
    """Lines of the summary under a title; None for lines that follow without one."""

    title: str | None
    lines: Sequence[Line]


def summary_sections(
    *,
    comparisons: Sequence[dict[str, Any]],
    tasks: Sequence[dict[str, Any]],
    lost: Sequence[tuple[str, str]],
    not_run: Sequence[dict[str, str]],
    verbosity: int,
    width: int,
    encoding: str,
) -> Iterator[Section]:
    """Yields what the tests of a run found.

    - `comparisons`, `tasks`, `not_run`: entries as the JSON has them.
    - `lost`: for each browser that was lost and replaced, the test's node id and how it was lost.
    - `verbosity`: the count of `-v` minus that of `-q`. Below 0 only the tests that did not run are listed.
    - `width`: of the terminal, in columns. `encoding`: of its text.
    """
    if verbosity >= 0:
        if tasks:
            yield Section("tfjs tasks", task_lines(tasks))
        if comparisons and verbosity > 0:
            tables = (
                layer_table(comparison, width=width, encoding=encoding, nodes=verbosity > 1)
                for comparison in comparisons
            )
            yield Section("tfjs layers", [line for table in tables for line in (*table, Line(""))])
        if comparisons:
            table = summary_table(comparisons, width=width, encoding=encoding)
            below = summary_lines(comparisons, width=width, encoding=encoding)
            yield Section("tfjs", [*table, *map(Line, below)])
        if lost:
            yield Section("tfjs browsers lost", [Line(retry_line(*entry), _WARNING) for entry in lost])
    reasons = Counter(entry["reason"] for entry in not_run)
    if reasons:
        yield Section(
            None,
            [
                Line(f"not run: {reason} ({count} test{'s' if count > 1 else ''})", _WARNING)
                for reason, count in reasons.items()
            ],
        )
