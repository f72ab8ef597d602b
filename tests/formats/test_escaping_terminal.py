"""Escaping of the characters that a terminal's encoding cannot show."""

from __future__ import annotations

import pytest

from pytest_tfjs.formats.escaping import printable


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("plain/name:0", "ascii", "plain/name:0"),
        ("a\x1b[31mb\n\tc", "utf-8", r"a\x1b[31mb\n\tc"),
        ("re\u202everse", "utf-8", r"re\u202everse"),
        ("lone \ud800", "utf-8", r"lone \ud800"),
        ("größe 漢", "utf-8", "größe 漢"),
        ("größe 漢", "latin-1", r"größe \u6f22"),
        ("größe 漢", "ascii", r"gr\xf6\xdfe \u6f22"),
    ],
)
def test_control_characters_are_escaped(text, encoding, shown):
    assert printable(text, encoding) == shown
