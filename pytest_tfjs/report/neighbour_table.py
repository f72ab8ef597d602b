"""The failure message's table of the layers around a divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.number_text import distinct_numbers, number
from pytest_tfjs.report.text_layout import LOG_WIDTH, Column, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.results import Comparison, LayerResult

_MOST_LISTED = 8
_BEFORE = 2
_AFTER = 3

_PROPAGATED = Column("propagated", "right")

_AROUND = (
    Column(" "),
    Column("layer", flexible=True),
    Column("op", flexible=True),
    Column("shape"),
    Column("|error|", "right"),
    Column("allowed", "right"),
    _PROPAGATED,
    Column("verdict"),
)


def neighbours(
    comparison: Comparison, result: LayerResult, others: Sequence[LayerResult] = ()
) -> list[LayerResult]:
    """A layer, the layers nearest to it in the graph, and `others`; in the comparison's order."""
    inputs = {each.layer.name: each.layer.inputs for each in comparison.layers}
    consumers: dict[str, list[str]] = {}
    for name, entering in inputs.items():
        for each in entering:
            consumers.setdefault(each, []).append(name)
    shown = {result.layer.name, *(other.layer.name for other in others)}
    shown |= set(_nearest(result.layer.name, lambda name: inputs.get(name, ()), _BEFORE))
    shown |= set(_nearest(result.layer.name, lambda name: consumers.get(name, ()), _AFTER))
    return [each for each in comparison.layers if each.layer.name in shown]


def _nearest(start: str, step: Callable[[str], Iterable[str]], most: int) -> list[str]:
    """Up to `most` names reachable from `start` by `step`, nearest first."""
    found: list[str] = []
    edge = [start]
    while edge and len(found) < most:
        edge = [name for each in edge for name in step(each) if name != start and name not in found]
        edge = list(dict.fromkeys(edge))
        found += edge
    return found[:most]


def neighbour_table(comparison: Comparison, first: Sequence[LayerResult]) -> list[str]:
    """A table of the first diverged layers and of the layers next to the first one in the graph."""
    shown = neighbours(comparison, first[0], first[1:_MOST_LISTED])
    names = {result.layer.name for result in first}
    rows = [_row(result, result.layer.name in names) for result in shown]
    columns: tuple[Column, ...] = _AROUND
    if all(result.propagated is None for result in shown):
        columns = tuple(column for column in _AROUND if column is not _PROPAGATED)
        place = _AROUND.index(_PROPAGATED)
        rows = [row[:place] + row[place + 1 :] for row in rows]
    lines = table(columns, rows, LOG_WIDTH)
    diverged = sum(result.verdict == "diverged" for result in comparison.layers)
    left = diverged - sum(result.verdict == "diverged" for result in shown)
    return [*lines, f"   and {left} more diverged"] if left else lines


def _decisive(result: LayerResult, metrics: Metrics) -> tuple[float, float]:
    """The error that made the layer diverge, and its allowance; for a close layer those of the whole run."""
    local = result.local
    if not result.made_error or local is None:
        return metrics.worst_error, metrics.allowed
    if local.failed_by == "rms":
        return local.metrics.rms, local.rms_allowed
    return local.metrics.worst_error, local.metrics.allowed


def _row(result: LayerResult, first: bool) -> tuple[str, ...]:
    layer, metrics = result.layer, result.metrics
    error = allowed = "-"
    if metrics is not None and metrics.reason is None:
        error, allowed = distinct_numbers(*_decisive(result, metrics))
    return (
        ">" if first else " ",
        printable(layer.name),
        printable(layer.op),
        "-" if layer.shape is None else f"[{', '.join(str(size) for size in layer.shape)}]",
        error,
        "-" if allowed == "nan" else allowed,
        "-" if result.propagated is None else number(result.propagated),
        "diverged first" if first else result.verdict or layer.coverage,
    )
