"""The message of a failed `assert_agrees`, and the lines on agreement in the summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.task import unproven
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.labels import EXPECTED, colour, retry_note, target_label, verdict_label
from pytest_tfjs.report.number_text import number, plural
from pytest_tfjs.report.text_layout import Line, fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfjs.compare.task import Agreement, Flip, Measure

_SHOWN = 5


def task_message(agreement: Agreement, *, repeat: str | None = None) -> str:
    """What was measured, as plain text that is safe for any terminal."""
    lines = [_headline(agreement), "", *_subject(agreement)]
    for measure in agreement.measures:
        lines += fact("measured", measure_text(measure, agreement.samples))
    for measure in agreement.accuracy or ():
        lines += fact("measured", measure_text(measure, agreement.samples))
    lines += _flips(agreement)
    for measure in agreement.measures:
        if (doubt := unproven(measure, agreement.samples)) is not None:
            lines += fact("unproven", doubt)
    if repeat is not None:
        lines += ["", *fact("repeat", repeat, wrap=False)]
    return "\n".join(lines)


def measure_text(measure: Measure, samples: int) -> str:
    """`top-1 agreement 0.985 (95 % interval 0.97 to 0.993) over 2000 samples, 0.99 required`."""
    interval = ""
    if measure.interval is not None:
        interval = f" (95 % interval {_share(measure.interval[0])} to {_share(measure.interval[1])})"
    required = "" if measure.least is None else f", {measure.least:g} required"
    return f"{measure.name} {_share(measure.value)}{interval} over {plural(samples, 'sample')}{required}"


def task_lines(tasks: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A line for each measure of the JSON's `task`, and one for each that is not proven."""
    return [line for task in tasks for line in _lines_of(task)]


def _lines_of(task: Mapping[str, Any]) -> Iterator[Line]:
    subject = printable(f"{task['model']}, {target_label(task['target'])}")
    if not task["measures"]:
        reason = "" if task["expected"] else f": {printable(task['reason'] or '')}"
        yield Line(f"{subject}: {verdict_label(task)}{reason}", colour(task, task["verdict"]))
    for measure in (*task["measures"], *task["accuracy"]):
        text = f"{subject}: {_short(measure, task['samples'])}"
        verdict = colour(task, _verdict(measure, task["verdict"]))
        yield Line(f"{text} ({EXPECTED})" if verdict == EXPECTED else text, verdict)
        if measure["told"] is not None:
            yield Line(f"  {printable(measure['told'])}")


def _verdict(measure: Mapping[str, Any], whole: str) -> str | None:
    if measure["least"] is None:
        return None
    return whole if measure["passed"] else "diverged"


def _short(measure: Mapping[str, Any], samples: int) -> str:
    value = "NaN or Inf" if measure["value"] is None else _share(measure["value"])
    interval = "" if measure["low"] is None else f" ({_share(measure['low'])} to {_share(measure['high'])})"
    required = "" if measure["least"] is None else f", {measure['least']:g} required"
    return printable(f"{measure['name']} {value}{interval}, {plural(samples, 'sample')}{required}")


def _headline(agreement: Agreement) -> str:
    target = str(agreement.target)
    low = [measure for measure in agreement.measures if not measure.passed]
    if agreement.verdict == "diverged" and low:
        more = f" (and {len(low) - 1} more)" if len(low) > 1 else ""
        return printable(f"{target}: {measure_text(low[0], agreement.samples)}{more}")
    reason = (agreement.reason or "no reason given").strip().splitlines()[0]
    return printable(f"{target}: {agreement.verdict}: {reason}")


def _subject(agreement: Agreement) -> list[str]:
    name, target = printable(agreement.model), agreement.target
    version = "" if agreement.tfjs_version is None else f", TF.js {agreement.tfjs_version}"
    lines = [f"{name} ({agreement.format}, {agreement.weights} weights) against its Python source"]
    lines += fact("browser", f"{target.browser} {target.browser_version}{version}")
    if target.renderer is not None:
        lines += fact("renderer", target.renderer)
    if agreement.output is not None:
        name = agreement.output_name or agreement.output
        lines += fact("output", name if name == agreement.output else f"{name} ({agreement.output})")
    if agreement.retried is not None and agreement.retried not in (agreement.reason or ""):
        lines += fact("note", retry_note(agreement.retried))
    return lines


def _flips(agreement: Agreement) -> list[str]:
    if not agreement.flips:
        return []
    text = f"the class differs at {plural(agreement.flips, 'place')}"
    if agreement.near_ties:
        text += f", {agreement.near_ties} of them near ties, where rounding can decide the class"
    lines = fact("flips", text)
    for flip in agreement.worst_flips[:_SHOWN]:
        lines += fact("", _flip(flip))
    left = agreement.flips - min(_SHOWN, len(agreement.worst_flips))
    return lines + (fact("", f"and {left} more, with smaller margins") if left else [])


def _flip(flip: Flip) -> str:
    place = f" at {list(flip.place)}" if flip.place else ""
    sides = f"class {_class(flip.browser)} in the browser, {_class(flip.reference)} in the reference"
    margin = "" if math.isnan(flip.margin) else f", with a margin of {number(flip.margin)}"
    near = " (a near tie)" if flip.near_tie else ""
    return f"sample {flip.sample}{place}: {sides}{margin}{near}"


def _class(number_: int) -> str:
    return "none (NaN)" if number_ < 0 else str(number_)


def _share(value: float) -> str:
    """A share with enough digits to distinguish it from 1."""
    for digits in range(4, 9):
        shown = f"{value:.{digits}g}"
        if float(shown) != 1 or value == 1:
            return shown
    return repr(value)
