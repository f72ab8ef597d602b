from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.browsers.messages import ConsoleLine
from pytest_tfjs.errors import ArtifactsError, FeedError, PageError
from pytest_tfjs.formats.escaping import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv/Relu:0", "conv/Relu:0"),
        ("a\x1b[31mb\x9b0m", "a\\x1b[31mb\\x9b0m"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\nFAILED b\r\u2028\x85", "a\\nFAILED b\\r\\u2028\\x85"),
        ("::error::x", "\\x3a:error::x"),
        ("  ::set-output", "  \\x3a:set-output"),
        ("std::vector", "std::vector"),
        ("a ##vso[task.x] ##[error]", "a \\x23#vso[task.x] \\x23#[error]"),
        ("##teamcity[testFailed name='x']", "\\x23#teamcity[testFailed name='x']"),
        ("## heading [1]", "## heading [1]"),
        ("\ud800", "\\ud800"),
    ],
)
def test_unprintable_characters_are_escaped(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_any_text_becomes_one_printable_line_without_a_ci_command(text):
    shown = printable(text)
    assert shown.isprintable()
    assert not shown.lstrip().startswith("::")
    assert not re.search(r"##(vso|teamcity)?\[", shown)
    assert printable(shown) == shown


@pytest.mark.parametrize("error", [ArtifactsError, FeedError, PageError])
def test_errors_keep_their_lines_without_ci_commands(error):
    shown = str(error("the weight 'a\x1b[2J\n::error::b' is wrong"))
    assert shown == "the weight 'a\\x1b[2J\n\\x3a:error::b' is wrong"


def test_attached_console_lines_have_no_terminal_commands():
    line = ConsoleLine("log", ("\x1b]0;title\x07", "\n##vso[task.complete]"))
    assert printable_lines(str(line)) == "[log] \\x1b]0;title\\x07 \n\\x23#vso[task.complete]"
