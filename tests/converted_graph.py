"""Runs a converted graph in TensorFlow: what its nodes compute, without a browser.

TensorFlow has no kernels for some of the operations that the converter makes, so fused ones are written out
again as the operations that TF.js computes for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.capture import Reference

_CONTRACTIONS = {
    "_FusedConv2D": "Conv2D",
    "_FusedMatMul": "MatMul",
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
}


def run_converted(
    artifacts: Artifacts, feed: Mapping[str, np.ndarray], tensors: Sequence[str]
) -> dict[str, Any]:
    """The values of `tensors` (`node:0`) of a graph model; `feed` is by the signature's input names."""
    import tensorflow as tf

    graph_def = _graph_def(artifacts)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    kept = {f"{node.name}:0" for node in graph_def.node}
    feeds = {spec.tensor: feed[spec.name] for spec in artifacts.inputs if spec.tensor in kept}
    with tf.compat.v1.Session(graph=graph) as session:
        return dict(zip(tensors, session.run(list(tensors), feeds), strict=True))


def disagreements(
    artifacts: Artifacts, feed: Feed, reference: Reference, rtol: float = 1e-4
) -> dict[str, str]:
    """The compared layers of a plan whose converted nodes compute something else, and how far off they are.

    `feed` is the first one of those captured.
    """
    layers = [layer for layer in reference.plan.layers if layer.tap is not None]
    values = run_converted(artifacts, feed.reference, [layer.tap["node"] for layer in layers])
    activations = reference.activations(0)
    found = {
        layer.name: _difference(values[layer.tap["node"]], activations[layer.name], rtol) for layer in layers
    }
    return {name: text for name, text in found.items() if text}


def _difference(actual: Any, expected: np.ndarray, rtol: float) -> str:
    actual = np.asarray(actual)
    if actual.dtype.kind in "OSU":
        actual = np.vectorize(lambda item: item.decode() if isinstance(item, bytes) else item)(actual)
        return "" if np.array_equal(actual, expected) else f"{actual} for {expected}"
    if actual.shape != expected.shape:
        return f"shape {actual.shape} for {expected.shape}"
    scale = float(np.abs(expected).max(initial=0)) if expected.dtype.kind != "b" else 1.0
    if np.allclose(actual.astype(expected.dtype), expected, rtol=rtol, atol=rtol * scale, equal_nan=True):
        return ""
    return f"off by {np.abs(actual - expected).max()} in {scale}"


def _graph_def(artifacts: Artifacts) -> Any:
    import tensorflow as tf
    from google.protobuf.json_format import ParseDict

    weights = artifacts.read_weights()
    graph_def = ParseDict(dict(artifacts.topology), tf.compat.v1.GraphDef())
    for function in graph_def.library.function:
        for node in function.node_def:
            _fill(node, weights)
    nodes = list(_written_out(graph_def.node))
    for node in nodes:
        _fill(node, weights)
    del graph_def.node[:]
    graph_def.node.extend(nodes)
    return graph_def


def _fill(node: Any, weights: Mapping[str, np.ndarray]) -> None:
    import tensorflow as tf

    if node.op == "Const":
        tensor = node.attr["value"].tensor
        tensor.CopyFrom(tf.make_tensor_proto(weights[node.name], tensor.dtype))
    node.device = ""


def _written_out(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        if node.op in _CONTRACTIONS:
            yield from _unfused(node)
        elif node.op == "Prelu":
            yield from _prelu(node.name, *node.input)
        else:
            yield node


def _unfused(node: Any) -> Iterator[Any]:
    """A contraction, a bias and an activation; the last of them has the fused node's name."""
    operations = [op.decode() for op in node.attr["fused_ops"].list.s if op != b"NoOp"]
    names = [f"{node.name}/{number}" for number in range(len(operations))] + [node.name]
    arguments = iter(node.input[2:])
    yield _node(_CONTRACTIONS[node.op], names[0], *node.input[:2], like=node)
    for op, before, name in zip(operations, names, names[1:], strict=False):
        if op == "Prelu":
            yield from _prelu(name, before, next(arguments))
        elif op == "BiasAdd":
            yield _node("AddV2", name, before, next(arguments))
        else:
            yield _node(op, name, before, like=node if op == "LeakyRelu" else None)


_KEPT = {
    "Conv2D": ("strides", "padding", "dilations", "data_format", "explicit_paddings"),
    "DepthwiseConv2dNative": ("strides", "padding", "dilations", "data_format", "explicit_paddings"),
    "MatMul": ("transpose_a", "transpose_b"),
    "LeakyRelu": (),
}


def _node(op: str, name: str, *inputs: str, like: Any = None) -> Any:
    import tensorflow as tf

    node = tf.compat.v1.NodeDef(op=op, name=name, input=inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    for key in _KEPT.get(op, ()):
        if key in like.attr:
            node.attr[key].CopyFrom(like.attr[key])
    if op == "LeakyRelu":
        node.attr["alpha"].CopyFrom(like.attr["leakyrelu_alpha"])
    return node


def _prelu(name: str, x: str, alpha: str) -> Iterator[Any]:
    """relu(x) - alpha * relu(-x)"""
    yield _node("Relu", f"{name}/positive", x)
    yield _node("Neg", f"{name}/flipped", x)
    yield _node("Relu", f"{name}/negative", f"{name}/flipped")
    yield _node("Mul", f"{name}/scaled", f"{name}/negative", alpha)
    yield _node("Sub", name, f"{name}/positive", f"{name}/scaled")
