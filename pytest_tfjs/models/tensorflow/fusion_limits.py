"""Keeps the converter's optimiser from making operations that TF.js does not have on every backend.

It is the optimiser of TensorFlow's own runtime. On processors that oneDNN speeds up it fuses more than the
converter and TF.js know of: a tanh into `_FusedMatMul`, a layer norm into `_MklLayerNorm`, a batch-norm and
its activation into `_FusedBatchNormEx`. A model would convert on one machine and not on another, or convert
and not run. On all of them it takes any sum for a bias,
and a bias that is no vector does not run on wasm.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.operations import FUSED_ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = "_run_grappler"
_KNOWN = frozenset(op.encode() for op in FUSED_ACTIVATIONS | {"BiasAdd", "NoOp"})
"""What TF.js can do within a fused operation, on every backend."""

KEPT_APART = (
    "some operations were not fused, because TF.js 4.22 cannot compute on every backend what the converter "
    "would make of them on this machine. Artifacts made by tensorflowjs_converter itself may not run: "
    "compare those that you ship as Prebuilt"
)

_BATCH_NORM = "FusedBatchNorm"
_OF_THE_RUNTIME = ("_Mkl", f"_{_BATCH_NORM}")
"""How the operations begin that TensorFlow's own runtime has and TF.js has not."""

_ONE_ROUND = 1
"""`RewriterConfig.ONE`"""


@contextlib.contextmanager
def known_fusions_only(module: Any) -> Iterator[set[str]]:
    """While open, the optimiser of the converter's module for graphs fuses only what TF.js can compute.

    Gives the set of the operations that it kept apart, filled as it works.

    A graph is optimised as always. Where that made something unknown, it is done again with identities
    between the operations that were fused: no rule of fusion knows those, and later steps drop them.
    """
    original = getattr(module, _STEP)
    apart: set[str] = set()

    def run(config: Any, graph_def: Any, graph: Any, signature: Any) -> Any:
        made = original(config, graph_def, graph, signature)
        while unknown := _unknown(made) - apart:
            apart.update(unknown)
            once = copy.deepcopy(config)
            # The next round would fuse what this one laid bare.
            once.graph_options.rewrite_options.meta_optimizer_iterations = _ONE_ROUND
            made = original(once, _with_identities(graph_def, apart), graph, signature)
        return made

    setattr(module, _STEP, run)
    try:
        yield apart
    finally:
        setattr(module, _STEP, original)


def _unknown(graph_def: Any) -> set[str]:
    """The nodes that TF.js cannot compute on every backend."""
    vectors = {node.name for node in graph_def.node if node.op == "Const" and _rank(node) == 1}
    return {node.name for node in graph_def.node if _is_unknown(node, vectors)}


def _rank(constant: Any) -> int:
    return len(constant.attr["value"].tensor.tensor_shape.dim)


def _is_unknown(node: Any, vectors: set[str]) -> bool:
    fused = node.attr["fused_ops"].list.s if "fused_ops" in node.attr else ()
    has_bias = b"BiasAdd" in fused
    return (
        node.op.startswith(_OF_THE_RUNTIME)
        or not _KNOWN.issuperset(fused)
        or (has_bias and node.input[2] not in vectors)
    )


def _last_fused(graph_def: Any, names: set[str]) -> set[str]:
    """The last operations fused into nodes of these names, which are the last's but for batch-norms."""
    norms = {node.name for node in graph_def.node if node.name in names and node.op.startswith(_BATCH_NORM)}
    return (names - norms) | {node.name for node in graph_def.node if not norms.isdisjoint(node.input)}


def _with_identities(graph_def: Any, names: set[str]) -> Any:
    """A copy in which the nodes of these names take what is computed through identities."""
    changed = copy.deepcopy(graph_def)
    constants = {node.name for node in changed.node if node.op == "Const"}
    for node in [node for node in changed.node if node.name in _last_fused(changed, names)]:
        for number, taken in enumerate(node.input):
            if not taken.startswith("^") and taken not in constants:
                identity = changed.node.add(op="Identity", name=f"{node.name}/apart_{number}", input=[taken])
                identity.attr["T"].CopyFrom(node.attr["T"])
                node.input[number] = identity.name
        if node.op == "BiasAdd":  # of the converter's making: what it adds is no bias
            node.op = "AddV2"
            node.attr.pop("data_format", None)
    return changed
