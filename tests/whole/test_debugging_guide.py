"""The example in docs/debugging.md fails as the page shows, and passes once fixed."""

from __future__ import annotations

import re

import pytest

from pytest_tfjs.compare.diagnosis.diagnose import Cause
from tests.support.paths import DOCS

pytestmark = [pytest.mark.browser, pytest.mark.convert]

PAGE = (DOCS / "debugging.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
BACKENDS = "--tfjs-backends=wasm,webgl"


def masked(message):
    """The message without numbers, the renderer and the test's folder."""
    lines = message.partition("\n  repeat")[0].strip().splitlines()
    stable = [line for line in lines if not re.match(r" *(renderer|\(software|ANGLE)", line)]
    return [" ".join(re.sub(r"[-+]?\d[\d.]*(e[-+]\d+)?", "#", line).split()) for line in stable]


def test_example_fails_with_the_message_shown(project):
    project.write(masked_mean=BLOCKS[0], test_masked_mean=BLOCKS[1])
    run = project.run(BACKENDS)
    assert run.cases["test_masked_mean[chrome-wasm]"].outcome == "passed", run.text
    case = run.cases["test_masked_mean[chrome-webgl]"]
    message = [re.sub("^E {0,7}", "", line) for line in case.failure.splitlines() if line.startswith("E")]
    message[0] = message[0].removeprefix("pytest_tfjs.NotClose: ")
    shown = re.search(r"```\n(webgl on chrome.*?)```", PAGE, re.DOTALL).group(1)
    assert masked("\n".join(message)) == masked(shown)


def test_fixed_example_passes(project):
    mended = BLOCKS[2].partition("\n\n")[2].partition("\n")[2]
    start, found, rest = BLOCKS[0].partition("        total = ")
    assert found
    whole = start + mended.replace("\n    ", "\n        ").replace("    total", "        total", 1)
    whole = whole.replace("return tf.math", 'return {"mean": tf.math').rstrip() + "}\n\n"
    project.write(masked_mean=whole + rest[rest.index("def save") :], test_masked_mean=BLOCKS[1])
    run = project.run(BACKENDS)
    assert {case.outcome for case in run.cases.values()} == {"passed"}, run.text


def test_every_cause_has_advice():
    table = PAGE.partition("| kind | look at |")[2]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == set(Cause.__args__)
