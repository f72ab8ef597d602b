"""Going back on choices that lead nowhere, where a node may stand for one of several tensors.

Structure alone may leave open how much of the source a node stands for: a product after a convolution may be
in its weights, or be a node of its own that comes later. What is chosen first is tried first; where a later
node then stands for nothing, the last choice before it that bears on it is made otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

S = TypeVar("S")

_MOST_RETRIES = 500


@dataclass
class _Choice(Generic[S]):
    """What node `name`, at place `at` of the order, may stand for; `before`: the state when it was chosen."""

    name: str
    at: int
    options: Sequence[str]
    before: S
    taken: int = 0
    tried_for: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Retry(Generic[S]):
    """Where to go on from, and with what state."""

    at: int
    before: S


class Choices(Generic[S]):
    """The choices that were made on the way, in the order in which nodes are taken."""

    def __init__(self) -> None:
        self._made: dict[str, _Choice[S]] = {}
        self._given_up: set[str] = set()
        self._left = _MOST_RETRIES

    def choose(self, name: str, at: int, options: Sequence[str], state: Callable[[], S]) -> str:
        """The first of `options`, or the one whose turn it is; `state`: copies what is known up to here."""
        if len(options) == 1:
            return options[0]
        if name not in self._made:
            self._made[name] = _Choice(name, at, options, state())
        choice = self._made[name]
        return choice.options[choice.taken]

    def after_dead_end(self, name: str, bearing: Collection[str]) -> Retry[S] | None:
        """Where to go back to, as `name` stands for nothing; `bearing`: the nodes whose choices bear on it.

        None where it is given up: then each choice that was changed for its sake is the first again.
        """
        if name in self._given_up or not self._given_up.isdisjoint(bearing):
            self._given_up.add(name)
            return None
        choices = [self._made[each] for each in bearing if each in self._made]
        open_ones = [one for one in choices if one.taken + 1 < len(one.options)]
        if open_ones and self._left:
            self._left -= 1
            last = max(open_ones, key=lambda one: one.at)
            last.taken += 1
            last.tried_for.add(name)
            return self._back_to(last)
        self._given_up.add(name)
        changed = [one for one in choices if name in one.tried_for]
        if not changed:
            return None
        first = min(changed, key=lambda one: one.at)
        first.options, first.taken = first.options[:1], 0
        return self._back_to(first)

    def _back_to(self, choice: _Choice[S]) -> Retry[S]:
        self._made = {name: one for name, one in self._made.items() if one.at <= choice.at}
        return Retry(choice.at, choice.before)
