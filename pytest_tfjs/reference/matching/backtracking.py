"""Matches ambiguous converted nodes with the source's tensors, by backtracking.

Structure may leave open how much of the source a node computes: a product after a convolution may be folded
into its weights, or be a later node. The first candidate is tried first. Where a later node then has no
match, the last decision that affects that node moves on to its next candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

S = TypeVar("S")

_MAX_BACKTRACKS = 500


@dataclass
class _Decision(Generic[S]):
    """The candidates of node `name`, the number of the current one, and the state before the decision.

    `position`: the node's number in the order of matching. `changed_for`: the unmatched nodes for which the
    decision has moved on to another candidate.
    """

    name: str
    position: int
    candidates: Sequence[str]
    state: S
    current: int = 0
    changed_for: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Restart(Generic[S]):
    """The position from which to match again, and the state to restore."""

    position: int
    state: S


class Backtracking(Generic[S]):
    """The decisions between several candidates, and which of them to change when a node has no match."""

    def __init__(self) -> None:
        self._decisions: dict[str, _Decision[S]] = {}
        self._unmatchable: set[str] = set()
        self._remaining = _MAX_BACKTRACKS

    def decide(self, name: str, position: int, candidates: Sequence[str], state: Callable[[], S]) -> str:
        """The current candidate for a node, at first the first one; `state` copies the state so far."""
        if len(candidates) == 1:
            return candidates[0]
        if name not in self._decisions:
            self._decisions[name] = _Decision(name, position, candidates, state())
        decision = self._decisions[name]
        return decision.candidates[decision.current]

    def after_dead_end(self, name: str, relevant: Collection[str]) -> Restart[S] | None:
        """Where to restart after node `name` had no match; `relevant`: the nodes whose decisions affect it.

        When no candidate is left, `name` is unmatchable and the decisions that were changed for it return to
        their first candidates. None: match on with the next node.
        """
        if name in self._unmatchable or not self._unmatchable.isdisjoint(relevant):
            self._unmatchable.add(name)
            return None
        decisions = [self._decisions[each] for each in relevant if each in self._decisions]
        undecided = [one for one in decisions if one.current + 1 < len(one.candidates)]
        if undecided and self._remaining:
            self._remaining -= 1
            last = max(undecided, key=lambda one: one.position)
            last.current += 1
            last.changed_for.add(name)
            return self._restart_at(last)
        self._unmatchable.add(name)
        changed = [one for one in decisions if name in one.changed_for]
        if not changed:
            return None
        first = min(changed, key=lambda one: one.position)
        first.candidates, first.current = first.candidates[:1], 0
        return self._restart_at(first)

    def _restart_at(self, decision: _Decision[S]) -> Restart[S]:
        self._decisions = {
            name: one for name, one in self._decisions.items() if one.position <= decision.position
        }
        return Restart(decision.position, decision.state)
