"""Limits the converter's optimiser to fused operations that every TF.js backend has.

The converter uses the optimiser of TensorFlow's own runtime. On processors with oneDNN support it fuses
more than TF.js knows: a tanh into `_FusedMatMul`, a layer norm into `_MklLayerNorm`, a batch-norm and its
activation into `_FusedBatchNormEx`. A model would convert on one machine and not on another, or convert and
not run. On all machines it fuses any sum as a bias, but a bias that is not a vector does not run on wasm.
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
"""The operations that every backend of TF.js can fuse."""

KEPT_APART = (
    "some operations were not fused, because TF.js 4.22 cannot compute the fused operation on every backend. "
    "Artifacts that the command tensorflowjs_converter writes on this machine may contain such operations "
    "and fail. To test the artifacts that you ship, pass them with Prebuilt(artifacts, source)"
)

_BATCH_NORM = "FusedBatchNorm"
_RUNTIME_ONLY = ("_Mkl", f"_{_BATCH_NORM}")
"""Prefixes of operations that exist in TensorFlow's runtime only."""

_ONE_ROUND = 1
"""`RewriterConfig.ONE`"""


@contextlib.contextmanager
def known_fusions_only(module: Any) -> Iterator[set[str]]:
    """Within this context the converter's graph optimiser fuses only what TF.js can compute.

    Yields the set of operations that were not fused, which fills during the conversion.

    Each graph is first optimised as usual. Where that makes an unknown operation, the optimiser runs again
    with identities between the operations that it fused: no fusion rule matches them, and later steps
    remove them.
    """
    original = getattr(module, _STEP)
    apart: set[str] = set()

    def run(config: Any, graph_def: Any, graph: Any, signature: Any) -> Any:
        made = original(config, graph_def, graph, signature)
        while unknown := _unknown(made) - apart:
            apart.update(unknown)
            once = copy.deepcopy(config)
            # The next round would fuse the operations again.
            once.graph_options.rewrite_options.meta_optimizer_iterations = _ONE_ROUND
            made = original(once, _with_identities(graph_def, apart), graph, signature)
        return made

    setattr(module, _STEP, run)
    try:
        yield apart
    finally:
        setattr(module, _STEP, original)


def _unknown(graph_def: Any) -> set[str]:
    """The names of nodes that some TF.js backend cannot compute."""
    vectors = {node.name for node in graph_def.node if node.op == "Const" and _rank(node) == 1}
    return {node.name for node in graph_def.node if _is_unknown(node, vectors)}


def _rank(constant: Any) -> int:
    return len(constant.attr["value"].tensor.tensor_shape.dim)


def _is_unknown(node: Any, vectors: set[str]) -> bool:
    fused = node.attr["fused_ops"].list.s if "fused_ops" in node.attr else ()
    has_bias = b"BiasAdd" in fused
    return (
        node.op.startswith(_RUNTIME_ONLY)
        or not _KNOWN.issuperset(fused)
        or (has_bias and node.input[2] not in vectors)
    )


def _last_fused(graph_def: Any, names: set[str]) -> set[str]:
    """The last operation fused into each of these nodes: the node itself, or the one after a batch-norm."""
    norms = {node.name for node in graph_def.node if node.name in names and node.op.startswith(_BATCH_NORM)}
    return (names - norms) | {node.name for node in graph_def.node if not norms.isdisjoint(node.input)}


def _with_identities(graph_def: Any, names: set[str]) -> Any:
    """A copy in which the last fused operations of these nodes read computed inputs through identities."""
    changed = copy.deepcopy(graph_def)
    constants = {node.name for node in changed.node if node.op == "Const"}
    for node in [node for node in changed.node if node.name in _last_fused(changed, names)]:
        for number, taken in enumerate(node.input):
            if not taken.startswith("^") and taken not in constants:
                identity = changed.node.add(op="Identity", name=f"{node.name}/apart_{number}", input=[taken])
                identity.attr["T"].CopyFrom(node.attr["T"])
                node.input[number] = identity.name
        if node.op == "BiasAdd":  # made by the converter; the addend is not a bias
            node.op = "AddV2"
            node.attr.pop("data_format", None)
    return changed
