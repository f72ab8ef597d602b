"""The text of the progress line."""

from __future__ import annotations

import pytest

from pytest_tfjs.report.progress_line import progress_line


def test_progress_line_names_test_target_and_stage():
    line = progress_line("test_cnn", "webgl on chrome", "layers", 41, 70, width=80)
    assert line == "tfjs: test_cnn, webgl on chrome: layers 41/70"


@pytest.mark.parametrize(
    ("done", "total", "end"), [(None, None, "loading"), (3, None, "loading 3"), (0, 70, "loading 0/70")]
)
def test_stage_with_and_without_a_count(done, total, end):
    assert progress_line("t", "cpu on chrome", "loading", done, total, width=80).endswith(end)


def test_long_test_name_is_shortened_and_the_stage_is_not():
    line = progress_line("test_" + "x" * 200, "webgl on chrome", "compiling shaders", None, None, width=70)
    assert len(line) == 70
    assert line.startswith("tfjs: test_xxx")
    assert line.endswith("xx, webgl on chrome: compiling shaders")
