"""A computation graph as plain data, for the source's frozen graph and for `model.json`."""

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

    `fused_ops`: operations fused into the node after `op`. `frame`: the loop that an Enter enters. `dtypes`:
    of the outputs. `same`: a tensor that always equals the output, if one is known. `value`: a digest of a
    constant's value, if that identifies a weight (`value_digest`). `acts_as`: a simpler operation with the
    same result, given the node's constants. `neutral`: the input that a converted node returns unchanged,
    provided that the shape stays the same, which `model.json` does not tell.
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
        """Whether the output equals an existing tensor."""
        return self.op in PASS_THROUGH or self.same is not None


def parse_ref(text: str) -> Ref:
    """Parses a GraphDef input such as `scope/split:1`."""
    name, colon, index = text.rpartition(":")
    return (name, int(index)) if colon and index.isdigit() else (text, 0)


def value_digest(value: np.ndarray[Any, Any]) -> str | None:
    """A digest that identifies a weight by value; None for scalars and other dtypes, often alike."""
    if value.dtype.kind != "f" or value.size < _LEAST_WEIGHT:
        return None
    content = np.ascontiguousarray(value, np.float32)
    return hashlib.sha256(f"{value.shape}".encode() + content.tobytes()).hexdigest()


def converted_node(
    name: str, op: str, inputs: Iterable[str], attributes: Mapping[str, Any], value: str | None = None
) -> Node:
    """A Node for a NodeDef of `model.json`: protobuf's JSON, with bytes in base64."""
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
    """The nodes, renamed by `names`, also in the inputs of other nodes."""

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
    """Nodes by name, and properties of the graph that they form.

    `outputs`: the tensors that the model returns.
    """

    nodes: Mapping[str, Node]
    outputs: tuple[Ref, ...] = ()
    _resolved: dict[Ref, Ref] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, nodes: Iterable[Node], outputs: Iterable[Ref] = ()) -> Graph:
        """The graph of `nodes`, in any order."""
        return cls({node.name: node for node in nodes}, tuple(outputs))

    def distinguishing(self, names: Container[str]) -> Graph:
        """The same graph, where nodes in `names` do not count as identities."""
        nodes = (replace(node, same=None) if node.name in names else node for node in self.nodes.values())
        return Graph.of(nodes, self.outputs)

    def resolve(self, ref: Ref) -> Ref:
        """The tensor that `ref` equals, skipping identities."""
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
        """The input tensors of `node`, skipping identities."""
        return tuple(self.resolve(ref) for ref in node.inputs)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Node names in topological order, without the back edges of loops (NextIteration)."""
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
        """Nodes whose outputs depend on constants only."""
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
        """Nodes whose outputs depend on the feeds' shapes, but not on their values."""
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
        """The number of loops around each node; the Exit of an outermost loop has depth 0."""
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
        """The number of branches around each node, which runs only if they are taken."""
        depth: dict[str, int] = {}
        for name in self.order:
            node = self.nodes[name]
            around = max((depth.get(i, 0) for i, _ in node.inputs), default=0)
            # Loops also consist of Switch and Merge, which are not branches there.
            change = 0 if self.loop_depth[name] else {"Switch": 1, "Merge": -1}.get(node.op, 0)
            depth[name] = max(around + change, 0)
        return depth

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """For each node the nodes that use its outputs, skipping identities."""
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
        """Nodes on which an output depends, skipping identities."""
        return self._reached((self.resolve(ref)[0] for ref in self.outputs), self.inputs)

    def _reached(self, starts: Iterable[str], inputs: Callable[[Node], Iterable[Ref]]) -> frozenset[str]:
        seen: set[str] = set()
        stack = list(starts)
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack.extend(i for i, _ in inputs(self.nodes[name]))
        return frozenset(seen)

    def loop_inputs(self, exit_node: Node) -> tuple[Ref, ...]:
        """The tensors that enter the loop of `exit_node`."""
        frame = self._frame_of(exit_node)
        entries = (n for n in self.nodes.values() if n.op == "Enter" and n.frame == frame)
        return tuple(dict.fromkeys(self.resolve(n.inputs[0]) for n in entries))

    def _frame_of(self, exit_node: Node) -> str | None:
        """The loop of an Exit, whose input chain is Switch, Merge, Enter."""
        name = exit_node.inputs[0][0]
        for op in ("Switch", "Merge"):
            if self.nodes[name].op == op:
                name = self.nodes[name].inputs[0][0]
        return self.nodes[name].frame
