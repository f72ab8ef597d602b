from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.formats.folders import replaced_folder, safe_name

NAMES = st.text(min_size=0, max_size=200)
ALIKE = ["a", "A", "a/b", "a-b", "a:b", "con", "CON"]
MARK = "mark"


@given(NAMES)
def test_names_are_valid_on_every_file_system(name):
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,70}", safe)
    assert not safe.endswith((".", " "))
    assert not safe.startswith(".")
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", safe)


@given(
    st.lists(st.one_of(NAMES, st.sampled_from(["a", "A", "a/b", "a-b", "a:b", "con", "CON"])), unique=True)
)
def test_names_differ_even_if_case_is_ignored(names):
    assert len({safe_name(name).lower() for name in names}) == len(names)


@pytest.mark.parametrize("name", ["truediv", "dense_1", "block.3-conv"])
def test_a_plain_name_is_unchanged(name):
    assert safe_name(name) == name


def test_the_name_stays_readable():
    assert re.fullmatch(r"stem_conv-Conv2D-[0-9a-f]{8}", safe_name("stem_conv/Conv2D"))


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "target"
    with replaced_folder(target, MARK) as folder:
        (folder / MARK).write_text("1")
        assert not target.exists()
    with pytest.raises(IsADirectoryError), replaced_folder(target, MARK) as folder:
        folder.write_text("2")
    assert (target / MARK).read_text() == "1"
    with replaced_folder(target, MARK) as folder:
        (folder / MARK).write_text("3")
        assert (target / MARK).read_text() == "1"
    assert (target / MARK).read_text() == "3"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_folder_without_the_mark_is_not_replaced(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "theirs").touch()
    with (
        pytest.raises(FileExistsError, match="pytest-tfjs did not write it"),
        replaced_folder(tmp_path / "target", MARK),
    ):
        pytest.fail("it is not begun")
    assert (tmp_path / "target" / "theirs").exists()
