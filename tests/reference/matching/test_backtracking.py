"""For what stands for nothing choices are made otherwise, the last first; in the end they are as before."""

from __future__ import annotations

from pytest_tfjs.reference.matching.backtracking import Choices

OPTIONS = {"a": ["a2", "a1"], "b": ["b2", "b1"], "c": ["c1"]}


def walk(is_dead_end, bearing=frozenset(OPTIONS)):
    """What is chosen for a, b and c in the end, where a dead end depends on what was chosen before."""
    choices, taken, at, walked = Choices(), {}, 0, []
    order = [*OPTIONS, "end"]
    while at < len(order):
        name = order[at]
        if name != "end":
            taken[name] = choices.choose(name, at, OPTIONS[name], taken.copy)
        at += 1
        walked.append(tuple(taken.values()))
        if name == "end" and is_dead_end(taken):
            retry = choices.after_dead_end(name, bearing)
            if retry is not None:
                at, taken = retry.at, dict(retry.before)
    return taken, walked


def test_the_first_options_are_taken_where_they_lead_on():
    taken, walked = walk(lambda taken: False)
    assert list(taken.values()) == ["a2", "b2", "c1"]
    assert len(walked) == len(OPTIONS) + 1


def test_the_last_choice_is_made_otherwise_first():
    taken, _ = walk(lambda taken: taken["b"] == "b2")
    assert list(taken.values()) == ["a2", "b1", "c1"]


def test_every_combination_is_tried():
    taken, _ = walk(lambda taken: (taken["a"], taken["b"]) != ("a1", "b1"))
    assert list(taken.values()) == ["a1", "b1", "c1"]


def test_what_no_choice_mends_leaves_the_first_of_each():
    taken, _ = walk(lambda taken: True)
    assert list(taken.values()) == ["a2", "b2", "c1"]


def test_a_choice_that_does_not_bear_on_it_stays():
    taken, _ = walk(lambda taken: taken["b"] == "b2", bearing={"a", "c"})
    assert list(taken.values()) == ["a2", "b2", "c1"]
