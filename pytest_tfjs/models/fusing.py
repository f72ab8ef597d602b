"""Keeps the converter's optimiser from making operations that TF.js does not have.

It is the optimiser of TensorFlow's own runtime. On processors that oneDNN speeds up it fuses more than the
converter and TF.js know of: a tanh into `_FusedMatMul`, a layer norm into `_MklLayerNorm`. A model would
convert on one machine and not on another, or convert and not run.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = "_run_grappler"
_KNOWN = frozenset({b"BiasAdd", b"Relu", b"Relu6", b"Elu", b"LeakyRelu", b"Prelu", b"Sigmoid", b"NoOp"})
"""What TF.js can do within a fused operation, on every backend."""

_ONE_ROUND = 1
"""`RewriterConfig.ONE`"""


@contextlib.contextmanager
def known_fusions_only(module: Any) -> Iterator[None]:
    """While open, the optimiser of the converter's module for graphs fuses only what TF.js can compute.

    A graph is optimised as always. Where that made something unknown, it is done again with identities before
    the operation that the others were fused into: no rule of fusion knows those, and later steps drop them.
    """
    original = getattr(module, _STEP)

    def run(config: Any, graph_def: Any, graph: Any, signature: Any) -> Any:
        apart: set[str] = set()
        made = original(config, graph_def, graph, signature)
        while unknown := {node.name for node in made.node if _is_unknown(node)} - apart:
            apart |= unknown
            once = copy.deepcopy(config)
            # The next round would fuse what this one laid bare.
            once.graph_options.rewrite_options.meta_optimizer_iterations = _ONE_ROUND
            made = original(once, _with_identities(graph_def, apart), graph, signature)
        return made

    setattr(module, _STEP, run)
    try:
        yield
    finally:
        setattr(module, _STEP, original)


def _is_unknown(node: Any) -> bool:
    fused = node.attr["fused_ops"].list.s if "fused_ops" in node.attr else ()
    return node.op.startswith("_Mkl") or not _KNOWN.issuperset(fused)


def _with_identities(graph_def: Any, names: set[str]) -> Any:
    """A copy in which the nodes of these names take their data inputs through identities."""
    changed = copy.deepcopy(graph_def)
    for node in [node for node in changed.node if node.name in names]:
        for number, taken in enumerate(node.input):
            if not taken.startswith("^"):
                identity = changed.node.add(op="Identity", name=f"{node.name}/apart_{number}", input=[taken])
                identity.attr["T"].CopyFrom(node.attr["T"])
                node.input[number] = identity.name
    return changed
