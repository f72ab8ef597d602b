from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings import values


@pytest.mark.parametrize("value", ["a, b,a", ["a", "b"], ("a", " b ")])
def test_names_come_from_text_or_a_list_without_duplicates(value):
    assert values.names(value) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "count"),
    [("256MB", 256_000_000), ("1 GiB", 2**30), ("1.5k", 1500), ("12", 12), ("3b", 3), (7, 7)],
)
def test_byte_counts_have_decimal_and_binary_units(text, count):
    assert values.byte_count(text) == count


@pytest.mark.parametrize("value", [True, "1 hour", "MB", "-1", None])
def test_invalid_byte_counts_are_rejected(value):
    with pytest.raises(SettingsError, match="expected a number of bytes"):
        values.byte_count(value)


@pytest.mark.parametrize(("text", "value"), [("YES", True), ("0", False), (True, True), ("off", False)])
def test_flags_accept_the_boolean_words_of_ini_files(text, value):
    assert values.flag(text) is value


def test_invalid_flag_values_are_rejected():
    with pytest.raises(SettingsError, match="expected true or false"):
        values.flag("maybe")


def test_paths_are_absolute_and_expand_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert values.file_path("~/x") == tmp_path / "x"
    assert values.file_path("x") == Path.cwd() / "x"


def test_an_unknown_home_directory_is_refused():
    with pytest.raises(SettingsError, match="the home directory in this path does not exist"):
        values.file_path("~nobody-has-this-name/x")
