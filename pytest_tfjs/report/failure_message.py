"""The message of a failed comparison; its first line stands alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.divergence_text import divergence_facts, divergence_text, likely_cause, origin
from pytest_tfjs.report.labels import dead_layers_text, retry_note
from pytest_tfjs.report.neighbour_table import neighbour_table
from pytest_tfjs.report.number_text import plural
from pytest_tfjs.report.text_layout import fact, quoted
from pytest_tfjs.report.weight_text import weight_facts, wrong_weight_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.results import Comparison, LayerResult

_NAME_WIDTH = 60
_MOST_LISTED = 8
_STACK_LINES = 12
_LOADING = "loading model"
"""The stage of the page in which TF.js loads a model."""


def failure_message(
    comparison: Comparison, *, others: Sequence[Comparison] = (), repeat: str | None = None
) -> str:
    """What went wrong in a comparison, as plain text that is safe for any terminal.

    `others`: comparisons of the same model on other targets, which distinguish a wrong backend from wrong
    artifacts.
    `repeat`: the command that runs just this test again.
    """
    first = _first_divergence(comparison)
    lines = [_headline(comparison, first), "", *_subject(comparison)]
    if comparison.verdict == "error":
        lines += _rest_of_reason(comparison)
    if comparison.verdict == "unmapped":
        lines += ["", *_unmapped(comparison)]
    elif first:
        lines += [
            "",
            *neighbour_table(comparison, first),
            "",
            *divergence_facts(comparison, first[0], others),
        ]
        for result in first[1 : _MOST_LISTED + 1]:
            name = f"{_known_as(result.layer)}{_named(comparison, result.layer)}"
            lines += fact("also first", f"{name}: {divergence_text(comparison, result)}")
    elif comparison.diagnosis is not None:
        lines += ["", *likely_cause(comparison.diagnosis)]
    lines += [*_stack(comparison), *_reproducers(comparison)]
    if repeat is not None:
        lines += ["", *fact("repeat", repeat, wrap=False)]
    return "\n".join(lines)


def _reproducers(comparison: Comparison) -> list[str]:
    lines = []
    for one in comparison.reproducers:
        note = "" if one.note is None else f" ({one.note})"
        text = f"{quoted(one.layer, _NAME_WIDTH)}: {one.note}" if one.path is None else f"{one.path}{note}"
        lines += fact("reproducer", text, wrap=one.path is None)
    return ["", *lines] if lines else []


def _first_divergence(comparison: Comparison) -> list[LayerResult]:
    by_name = {result.layer.name: result for result in comparison.layers}
    return [by_name[name] for name in comparison.first_divergence if name in by_name]


def _headline(comparison: Comparison, first: Sequence[LayerResult]) -> str:
    target = str(comparison.target)
    if first and comparison.verdict != "error":
        more = f" (and {len(first) - 1} more)" if len(first) > 1 else ""
        name = _known_as(first[0].layer)
        what = divergence_text(comparison, first[0])
        if comparison.growth is not None:
            return printable(
                f"{target}: {comparison.growth} and exceeds the allowance at {name}{more}: {what}"
            )
        where = f"{_as_output(comparison, first[0].layer)}{_origin(comparison, first[0])}"
        return printable(f"{target}: {name} diverged first{more}: {what} ({where})")
    reason = ((comparison.reason or "no reason given").strip().splitlines() or [""])[0]
    stage = comparison.stage if comparison.verdict == "error" else None
    if comparison.refused_layer is not None and stage != _LOADING:
        stage = None  # the layer says more
    stage = "" if stage is None or f"while {stage}" in reason else f" while {stage}"
    return printable(f"{target}: {comparison.verdict}{stage}: {reason}")


def _origin(comparison: Comparison, result: LayerResult) -> str:
    weight, diagnosis = wrong_weight_of(comparison, result), comparison.diagnosis
    if diagnosis is not None and diagnosis.briefly is not None and diagnosis.layer == result.layer.name:
        return diagnosis.briefly
    if weight is not None and (diagnosis is None or diagnosis.kind == "weight"):
        return weight
    return origin(comparison, result)


def _as_output(comparison: Comparison, layer: Layer) -> str:
    """`output 'classes'; ` for one of several outputs that has another name in the signature."""
    if layer.output_name is None or len(comparison.outputs) < 2:  # noqa: PLR2004  (the only output needs no name)
        return ""
    return f"output {quoted(layer.output_name, _NAME_WIDTH)}; "


def _named(comparison: Comparison, layer: Layer) -> str:
    text = _as_output(comparison, layer).removesuffix("; ")
    return f" ({text})" if text else ""


def _known_as(layer: Layer) -> str:
    """The row's name, followed by its Keras layer unless the name begins with that."""
    name = quoted(layer.name, _NAME_WIDTH)
    if layer.group is None or f"{layer.name}/".startswith(f"{layer.group}/"):
        return name
    return f"{name} of layer {quoted(layer.group, _NAME_WIDTH)}"


def _subject(comparison: Comparison) -> list[str]:
    """What was compared with what, on which target, and what to know about it."""
    target = comparison.target
    feeds = plural(comparison.feeds, "feed")
    name = printable(comparison.model)
    lines = [
        f"{name} ({comparison.format}, {comparison.weights} weights) against its Python reference, {feeds}"
    ]
    version = "" if comparison.tfjs_version is None else f", TF.js {comparison.tfjs_version}"
    lines += fact("browser", f"{target.browser} {target.browser_version}{version}")
    if target.renderer is not None:
        software = {True: " (software, no GPU)", False: "", None: ""}[target.software]
        lines += fact("renderer", f"{target.renderer}{software}")
    if target.flags:
        flags = (f"{name}={str(value).lower()}" for name, value in target.flags.items())
        lines += fact("flags", ", ".join(flags))
    if comparison.layers and comparison.verdict != "error":
        lines += fact("layers", _counts(comparison))
    if observation := str(comparison.observation):
        lines += fact("observer", observation)
    lines += weight_facts(comparison)
    dead = None if comparison.vacuity is None else dead_layers_text(comparison.vacuity.dead)
    lines += [] if dead is None else fact("dead", dead)
    if comparison.retried is not None and comparison.retried not in (comparison.reason or ""):
        lines += fact("note", retry_note(comparison.retried))
    for note in comparison.notes[:_MOST_LISTED]:
        lines += fact("note", note)
    left = len(comparison.notes) - _MOST_LISTED
    return lines + (fact("", f"and {left} more") if left > 0 else [])


def _counts(comparison: Comparison) -> str:
    counts = {"close": 0, "diverged": 0, "unmapped": 0, "fused": 0, "eliminated": 0}
    for result in comparison.layers:
        counts[result.verdict or result.layer.coverage] += 1
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _rest_of_reason(comparison: Comparison) -> list[str]:
    rest = (comparison.reason or "").strip().splitlines()[1:]
    return ["", *(f"  {printable(line)}" for line in rest)] if rest else []


def _stack(comparison: Comparison) -> list[str]:
    if not comparison.stack:
        return []
    stack = comparison.stack.strip().splitlines()
    left = len(stack) - _STACK_LINES
    lines = ["", "  JavaScript stack:", *(f"    {printable(line.strip())}" for line in stack[:_STACK_LINES])]
    return [*lines, f"    and {plural(left, 'frame')} more"] if left > 0 else lines


def _unmapped(comparison: Comparison) -> list[str]:
    unmapped = [result for result in comparison.layers if result.verdict == "unmapped"]
    lines = []
    for result in unmapped[:_MOST_LISTED]:
        name, op = quoted(result.layer.name, _NAME_WIDTH), printable(result.layer.op)
        name += _named(comparison, result.layer)
        lines += fact("unmapped", f"{name} ({op}): {printable(result.reason or 'no reason is known')}")
    if len(unmapped) > _MOST_LISTED:
        lines += fact("", f"and {len(unmapped) - _MOST_LISTED} more")
    return lines + fact("what to do", _advice(unmapped))


def _advice(unmapped: Sequence[LayerResult]) -> str:
    if not any(result.layer.output for result in unmapped):
        return "compare only the model's outputs with layers='outputs'"
    if any("swapped in the artifacts" in (result.reason or "") for result in unmapped):
        return (
            "convert the model again, or give the outputs in model.json the order of the source. An app that "
            "takes outputs by their place gets one for the other"
        )
    return (
        "every output must be compared. If TF.js cannot hold the values of an output, cast the output in the "
        "model or feed smaller values"
    )
