"""A computation graph as plain data: the source's frozen graph, or the nodes of a converted `model.json`."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import PASS_THROUGH

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

_LEAST_WEIGHT = 2

Ref = tuple[str, int]
"""One output of a node: the node's name and the index of the output."""


@dataclass(frozen=True)
class Node:
    """One operation: `inputs` are its data inputs in order; control inputs are left out.

    `fused_ops` are those that follow within the node, `frame` names the loop that an Enter enters, `dtypes`
    are of the outputs, and `same` is a tensor that the output always equals, where one is known. `value` is
    equal for constants of equal value, where that tells a weight (`value_digest`). `acts_as` is a simpler
    operation that computes the same with the node's constants, where one does. `neutral`: of a converted
    node the input that it gives back, if it keeps that one's shape, which nothing in `model.json` tells.
    """

    name: str
    op: str
    inputs: tuple[Ref, ...] = ()
    fused_ops: tuple[str, ...] = ()
    frame: str | None = None
    dtypes: tuple[str, ...] = ()
    same: Ref | None = None
    value: str | None = None
    acts_as: str | None = None
    neutral: Ref | None = None

    @property
    def is_alias(self) -> bool:
        """Whether the output is a tensor that was there before."""
        return self.op in PASS_THROUGH or self.same is not None


def parse_ref(text: str) -> Ref:
    """The output that a GraphDef input such as `scope/split:1` names."""
    name, colon, index = text.rpartition(":")
    return (name, int(index)) if colon and index.isdigit() else (text, 0)


def value_digest(value: np.ndarray[Any, Any]) -> str | None:
    """What tells a weight from others; None of a scalar and of what is no weight, which many are alike."""
    if value.dtype.kind != "f" or value.size < _LEAST_WEIGHT:
        return None
    content = np.ascontiguousarray(value, np.float32)
    return hashlib.sha256(f"{value.shape}".encode() + content.tobytes()).hexdigest()


def converted_node(
    name: str, op: str, inputs: Iterable[str], attributes: Mapping[str, Any], value: str | None = None
) -> Node:
    """A node of a converted `model.json`: a NodeDef in protobuf's JSON, in which bytes are base64."""
    fused = attributes.get("fused_ops", {}).get("list", {}).get("s", [])
    frame = attributes.get("frame_name", {}).get("s")
    return Node(
        name=name,
        op=op,
        inputs=tuple(parse_ref(ref) for ref in inputs if not ref.startswith("^")),
        fused_ops=tuple(op for op in map(_text, fused) if op != "NoOp"),
        frame=None if frame is None else _text(frame),
        value=value,
    )


def renamed(nodes: Iterable[Node], names: Mapping[str, str]) -> list[Node]:
    """The nodes with those that `names` has under their new names, also where others take them."""

    def new(ref: Ref) -> Ref:
        return names.get(ref[0], ref[0]), ref[1]

    return [
        replace(
            node,
            name=names.get(node.name, node.name),
            inputs=tuple(map(new, node.inputs)),
            neutral=None if node.neutral is None else new(node.neutral),
        )
        for node in nodes
    ]


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


@dataclass(frozen=True)
class Graph:
    """Nodes by name, and what follows from how they are joined.

    `outputs` are the tensors that the model returns.
    """

    nodes: Mapping[str, Node]
    outputs: tuple[Ref, ...] = ()
    _resolved: dict[Ref, Ref] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, nodes: Iterable[Node], outputs: Iterable[Ref] = ()) -> Graph:
        """The graph of `nodes`, whatever their order."""
        return cls({node.name: node for node in nodes}, tuple(outputs))

    def distinguishing(self, names: Container[str]) -> Graph:
        """The same graph, in which the nodes named are no identities, even if they change nothing."""
        nodes = (replace(node, same=None) if node.name in names else node for node in self.nodes.values())
        return Graph.of(nodes, self.outputs)

    def resolve(self, ref: Ref) -> Ref:
        """The tensor that `ref` is, seen through identities."""
        known = self._resolved.get(ref)
        if known is not None:
            return known
        name, index = ref
        node = self.nodes[name]
        source = ref
        if node.same is not None:
            source = self.resolve(node.same)
        elif node.op in PASS_THROUGH and node.inputs:
            source = self.resolve(node.inputs[0])
        elif node.op == "IdentityN":
            source = self.resolve(node.inputs[index])
        self._resolved[ref] = source
        return source

    def inputs(self, node: Node) -> tuple[Ref, ...]:
        """The tensors that enter `node`, seen through identities."""
        return tuple(self.resolve(ref) for ref in node.inputs)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Names such that each node follows its inputs; the back edges of loops (NextIteration) are cut."""
        done: dict[str, None] = {}
        for start in self.nodes:
            stack = [(start, False)]
            while stack:
                name, ready = stack.pop()
                if name in done:
                    continue
                if ready:
                    done[name] = None
                    continue
                stack.append((name, True))
                if self.nodes[name].op != "NextIteration":
                    stack.extend((i, False) for i, _ in reversed(self.nodes[name].inputs) if i not in done)
        return tuple(done)

    @cached_property
    def constants(self) -> frozenset[str]:
        """Nodes whose outputs follow from weights alone."""
        found: set[str] = set()
        for name in self.order:
            node = self.nodes[name]
            if node.op == "Const" or (
                node.inputs
                and node.op not in ("Enter", "Exit", "Merge", "NextIteration")
                and all(i in found for i, _ in node.inputs)
            ):
                found.add(name)
        return frozenset(found)

    @cached_property
    def shapes_only(self) -> frozenset[str]:
        """Nodes whose outputs follow from the feeds' shapes alone, and not from their values."""
        found: set[str] = set()
        for name in self.order:
            node = self.nodes[name]
            if node.op in ("Shape", "ShapeN", "Size", "Rank") or (
                node.inputs
                and name not in self.constants
                and all(i in found or i in self.constants for i, _ in node.inputs)
            ):
                found.add(name)
        return frozenset(found)

    @cached_property
    def loop_depth(self) -> Mapping[str, int]:
        """How many loops a node is inside of; the Exit of an outermost loop is outside, depth 0."""
        depth: dict[str, int] = {}
        for name in self.order:
            node = self.nodes[name]
            around = max((depth.get(i, 0) for i, _ in node.inputs), default=0)
            if node.op == "NextIteration":
                depth[name] = max(around, 1)
            else:
                depth[name] = around + (1 if node.op == "Enter" else -1 if node.op == "Exit" else 0)
        return depth

    @cached_property
    def branch_depth(self) -> Mapping[str, int]:
        """How many branches a node is inside of: it is computed only where they are taken."""
        depth: dict[str, int] = {}
        for name in self.order:
            node = self.nodes[name]
            around = max((depth.get(i, 0) for i, _ in node.inputs), default=0)
            # Loops are made of Switch and Merge too, which choose nothing.
            change = 0 if self.loop_depth[name] else {"Switch": 1, "Merge": -1}.get(node.op, 0)
            depth[name] = max(around + change, 0)
        return depth

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """For each node those that take one of its outputs, identities looked through."""
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for node in self.nodes.values():
            if not node.is_alias:
                for name, _ in self.inputs(node):
                    found[name][node.name] = None
        return {name: tuple(names) for name, names in found.items()}

    @cached_property
    def live(self) -> frozenset[str]:
        """Nodes on which an output depends."""
        return self._reached((name for name, _ in self.outputs), lambda node: node.inputs)

    @cached_property
    def needed(self) -> frozenset[str]:
        """Nodes on which an output depends when identities are looked through."""
        return self._reached((self.resolve(ref)[0] for ref in self.outputs), self.inputs)

    def _reached(self, ends: Iterable[str], inputs: Callable[[Node], Iterable[Ref]]) -> frozenset[str]:
        seen: set[str] = set()
        stack = list(ends)
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack.extend(i for i, _ in inputs(self.nodes[name]))
        return frozenset(seen)

    def loop_inputs(self, exit_node: Node) -> tuple[Ref, ...]:
        """The tensors that enter the loop which `exit_node` leaves."""
        frame = self._frame_of(exit_node)
        entries = (n for n in self.nodes.values() if n.op == "Enter" and n.frame == frame)
        return tuple(dict.fromkeys(self.resolve(n.inputs[0]) for n in entries))

    def _frame_of(self, exit_node: Node) -> str | None:
        """Exit takes from Switch, Switch from Merge, Merge from the Enter of the same frame."""
        name = exit_node.inputs[0][0]
        for op in ("Switch", "Merge"):
            if self.nodes[name].op == op:
                name = self.nodes[name].inputs[0][0]
        return self.nodes[name].frame
