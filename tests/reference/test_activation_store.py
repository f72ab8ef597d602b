"""Activations stored in files, and their grouping under a size limit."""

from __future__ import annotations

import mmap

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.reference.activation_store import Stored, grouped

SIZES = st.lists(st.integers(0, 20), max_size=30)


@given(SIZES, st.integers(1, 30))
def test_groups_keep_all_items_in_order_and_under_the_limit(sizes, limit):
    groups = list(grouped(enumerate(sizes), limit))
    assert [item for group in groups for item in group] == list(range(len(sizes)))
    assert all(group for group in groups)
    totals = [sum(sizes[item] for item in group) for group in groups]
    assert all(total <= limit or len(group) == 1 for total, group in zip(totals, groups, strict=True))
    # No group could have taken the first item of the next one.
    following = [sizes[group[0]] for group in groups[1:]]
    assert all(total + size > limit for total, size in zip(totals, following, strict=False))


def test_stored_activations_are_read_by_feed_and_name(tmp_path):
    stored = Stored(tmp_path)
    for feed in (0, 1):
        stored.add(feed, {"a": np.full(3, feed, np.float32), "s": np.array(["text"])})
        stored.add(feed, {"b": np.array([feed > 0])})
    stored.close()
    found = Stored.open(tmp_path)
    assert found.feeds == 2
    assert found.sizes(1)["a"] == 12
    assert {name: value.tolist() for name, value in found.read(1, ["b", "s"]).items()} == {
        "b": [True],
        "s": ["text"],
    }
    assert found.read(0, ["a", "missing"])["a"].tolist() == [0, 0, 0]


def test_only_files_with_requested_activations_are_opened(tmp_path):
    stored = Stored(tmp_path)
    for name in "ab":
        stored.add(0, {name: np.ones(3, np.float32)})
    next(tmp_path.glob("feed-0-0*")).unlink()
    value = stored.read(0, ["b"])["b"]
    while isinstance(value, np.ndarray):
        value = value.base
    assert isinstance(value.obj, mmap.mmap)
