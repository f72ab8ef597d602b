"""Reads which browsers a Selenium Grid offers, and how many of them are in use."""

from __future__ import annotations

import base64
import contextlib
import json
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.settings.addresses import RemoteUrl

STATUS_S = 10.0
STATUS_LIMIT = 4 << 20
# The keys of a slot's stereotype that users recognise.
_SHOWN = ("browserName", "browserVersion", "platformName")


@dataclass(frozen=True)
class Slot:
    """A place for one session: what it offers, on which node, and whether a session has it."""

    node: str
    offers: Mapping[str, Any]
    up: bool
    busy: bool


@dataclass(frozen=True)
class GridStatus:
    """The slots of all nodes of a Grid."""

    slots: tuple[Slot, ...]

    @property
    def has_node(self) -> bool:
        """Whether any node is up."""
        return any(slot.up for slot in self.slots)

    def has(self, browser_name: str) -> bool:
        """Whether a node that is up offers this browser, free or in use."""
        return any(
            slot.up and str(slot.offers.get("browserName", "")).lower() == browser_name.lower()
            for slot in self.slots
        )

    def __str__(self) -> str:
        """`http://10.0.0.5:5555: 2 × chrome linux (1 in use)`, a line for each node."""
        nodes = dict.fromkeys(slot.node for slot in self.slots)
        return "\n".join(f"  {node}: {self._offers_of(node)}" for node in nodes) or "  no node"

    def _offers_of(self, node: str) -> str:
        slots = [slot for slot in self.slots if slot.node == node]
        names = [" ".join(str(slot.offers[key]) for key in _SHOWN if slot.offers.get(key)) for slot in slots]
        busy = Counter(name for name, slot in zip(names, slots, strict=True) if slot.busy)
        counts = [
            f"{count} × {name}" + (f" ({busy[name]} in use)" if busy[name] else "")
            for name, count in Counter(names).items()
        ]
        return ", ".join(counts) + ("" if all(slot.up for slot in slots) else " (down)")


def grid_status(remote: RemoteUrl) -> GridStatus | None:
    """The status of a Grid; None if the service does not report one."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        request = urllib.request.Request(f"{remote.url}/status")  # noqa: S310 (checked by RemoteUrl)
        for name, value in _authorization(remote).items():
            request.add_unredirected_header(name, value)  # not sent to other hosts
        with urllib.request.urlopen(request, timeout=STATUS_S) as answer:  # noqa: S310
            return parse_status(json.loads(answer.read(STATUS_LIMIT)))
    return None


def _authorization(remote: RemoteUrl) -> dict[str, str]:
    """The header with the user's name and key, if there is a user."""
    if remote.username is None:
        return {}
    user = f"{remote.username}:{remote.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(user).decode()}"}


def parse_status(answer: Any) -> GridStatus | None:
    """The status in a Grid's response; None if the response has another form."""
    try:
        nodes = answer["value"]["nodes"]
        return GridStatus(
            tuple(
                Slot(
                    str(node["uri"]),
                    dict(slot["stereotype"]),
                    node["availability"] == "UP",
                    slot.get("session") is not None,
                )
                for node in nodes
                for slot in node["slots"]
            )
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
