"""Tables of text that fit a terminal, whatever the characters."""

from __future__ import annotations

import pytest

from pytest_tfjs.report.text_layout import Column, shorten, table, width_of


@pytest.mark.parametrize(
    ("width", "encoding", "shown"),
    [
        (40, "utf-8", "block_12/expand/batch_norm"),
        (26, "utf-8", "block_12/expand/batch_norm"),
        (15, "utf-8", "block_1…ch_norm"),
        (15, "ascii", "block_...h_norm"),
        (4, "ascii", "bloc"),
        (0, "utf-8", ""),
    ],
)
def test_names_are_shortened_in_the_middle(width, encoding, shown):
    assert shorten("block_12/expand/batch_norm", width, encoding) == shown


def test_wide_characters_take_two_cells():
    assert width_of("漢字ab") == 6
    assert width_of(shorten("漢字" * 20, 21, "utf-8")) <= 21
    assert table([Column("a"), Column("b")], [("漢", "x"), ("ab", "y")], 80) == ["a   b", "漢  x", "ab  y"]


def test_widest_flexible_column_is_shortened_first():
    columns = [Column("name", flexible=True), Column("n", "right"), Column("op", flexible=True)]
    lines = table(columns, [("a" * 60, "1", "Conv2D"), ("b", "22", "Add")], 40)
    assert lines == [
        "name                           n  op",
        "aaaaaaaaaaaa...aaaaaaaaaaaaa   1  Conv2D",
        "b                             22  Add",
    ]
