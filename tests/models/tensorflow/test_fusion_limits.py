"""Fusions that TF.js does not support are not made, whatever the processor."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.models.tensorflow.fusion_limits import known_fusions_only

pytestmark = pytest.mark.convert
KNOWN = {"BiasAdd", "Relu", "Relu6", "Elu", "LeakyRelu", "Prelu", "Sigmoid", "NoOp"}


def fused(artifacts):
    """The operations within the fused nodes."""
    lists = (node.attr["fused_ops"]["list"]["s"] for node in artifacts.nodes() if "fused_ops" in node.attr)
    return {base64.b64decode(op).decode() for ops in lists for op in ops}


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "swish", "mish"])
def test_dense_layers_are_fused_only_as_tfjs_supports(tf, tmp_path, keras, activation):
    k = pytest.importorskip(keras)
    model = k.Sequential([k.Input((3,)), k.layers.Dense(4, activation, bias_initializer="ones")])
    with ContentCache(tmp_path) as cache:
        artifacts = convert(as_source(model), format="graph", cache=cache)
    assert fused(artifacts) <= KNOWN
    assert "BiasAdd" in fused(artifacts)


def test_layer_normalization_is_not_fused(tf, tmp_path):
    k = pytest.importorskip("tf_keras")
    x = k.Input((4, 6))
    y = k.layers.Add()([x, k.layers.Dense(6)(x)])
    model = k.Model(x, k.layers.LayerNormalization(epsilon=1e-6)(y))
    with ContentCache(tmp_path) as cache:
        operations = {node.op for node in convert(as_source(model), format="graph", cache=cache).nodes()}
    assert {"Rsqrt", "SquaredDifference"} <= operations


def test_a_bias_that_is_not_a_vector_is_not_fused(tf, tmp_path):
    k = pytest.importorskip("keras")
    x = k.Input((6, 6, 3))
    model = k.Model(x, k.layers.Conv2D(1, 1, bias_initializer="ones")(x))
    with ContentCache(tmp_path) as cache:
        artifacts = convert(as_source(model), format="graph", cache=cache)
    assert {"Conv2D", "AddV2"} <= {node.op for node in artifacts.nodes()}
    assert any(note.startswith("some operations were not fused") for note in artifacts.notes)


@pytest.fixture
def fuses_tanh(tf):
    """A module whose optimiser fuses each Tanh with the BiasAdd before it, as the one of oneDNN does."""

    def optimise(config, graph_def, graph, signature):
        runs.append(config.graph_options.rewrite_options.meta_optimizer_iterations)
        made = type(graph_def)()
        made.CopyFrom(graph_def)
        nodes = {node.name: node for node in made.node}
        for node in made.node:
            if node.op == "Tanh" and nodes[node.input[0]].op == "BiasAdd":
                node.op = "_FusedMatMul"
                node.attr["fused_ops"].list.s.extend([b"BiasAdd", b"Tanh"])
        return made

    runs = []
    return SimpleNamespace(_run_grappler=optimise, runs=runs)


@pytest.mark.parametrize("op", ["Tanh", "Relu"])
def test_only_graphs_with_unsupported_fusions_are_optimised_again(tf, fuses_tanh, op):
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [2, 3], name="x")
        biased = tf.nn.bias_add(x, np.ones(3, np.float32))
        {"Tanh": tf.tanh, "Relu": tf.nn.relu}[op](biased, name="y")
    original = fuses_tanh._run_grappler
    with known_fusions_only(fuses_tanh):
        made = fuses_tanh._run_grappler(tf.compat.v1.ConfigProto(), graph.as_graph_def(), graph, None)
    assert fuses_tanh._run_grappler is original
    operations = [node.op for node in made.node]
    assert op in operations
    assert fuses_tanh.runs == ([0, 1] if op == "Tanh" else [0])
    assert operations.count("Identity") == (op == "Tanh")
    tf.graph_util.import_graph_def(made)


def test_optimisation_stops_if_an_unsupported_fusion_remains(tf):
    """The graph is optimised again only once; then the converter's own check rejects it."""

    def always(config, graph_def, graph, signature):
        made = type(graph_def)()
        made.node.add(op="_MklOp", name="made")
        return made

    module = SimpleNamespace(_run_grappler=always)
    with known_fusions_only(module):
        made = module._run_grappler(tf.compat.v1.ConfigProto(), tf.compat.v1.GraphDef(), None, None)
    assert [node.op for node in made.node] == ["_MklOp"]
