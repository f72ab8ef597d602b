"""Backtracking: which candidate is changed after a dead end, and when the search ends."""

from __future__ import annotations

from pytest_tfjs.reference.matching.backtracking import Backtracking

CANDIDATES = {"a": ["a2", "a1"], "b": ["b2", "b1"], "c": ["c1"]}


def walk(is_dead_end, relevant=frozenset(CANDIDATES)):
    """The final candidates of a, b and c, and those at each step; `is_dead_end` judges the candidates."""
    backtracking, chosen, position, visited = Backtracking(), {}, 0, []
    order = [*CANDIDATES, "end"]
    while position < len(order):
        name = order[position]
        if name != "end":
            chosen[name] = backtracking.decide(name, position, CANDIDATES[name], chosen.copy)
        position += 1
        visited.append(tuple(chosen.values()))
        if name == "end" and is_dead_end(chosen):
            restart = backtracking.after_dead_end(name, relevant)
            if restart is not None:
                position, chosen = restart.position, dict(restart.state)
    return chosen, visited


def test_the_first_candidates_stay_without_a_dead_end():
    chosen, visited = walk(lambda chosen: False)
    assert list(chosen.values()) == ["a2", "b2", "c1"]
    assert len(visited) == len(CANDIDATES) + 1


def test_the_last_decision_is_changed_first():
    chosen, _ = walk(lambda chosen: chosen["b"] == "b2")
    assert list(chosen.values()) == ["a2", "b1", "c1"]


def test_every_combination_is_tried():
    chosen, _ = walk(lambda chosen: (chosen["a"], chosen["b"]) != ("a1", "b1"))
    assert list(chosen.values()) == ["a1", "b1", "c1"]


def test_without_a_solution_the_first_candidates_are_restored():
    chosen, _ = walk(lambda chosen: True)
    assert list(chosen.values()) == ["a2", "b2", "c1"]


def test_an_irrelevant_decision_stays():
    chosen, _ = walk(lambda chosen: chosen["b"] == "b2", relevant={"a", "c"})
    assert list(chosen.values()) == ["a2", "b2", "c1"]
