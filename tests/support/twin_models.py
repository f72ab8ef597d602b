"""A model with two equal inputs and outputs, and the outputs of its artifacts."""

from __future__ import annotations

import itertools

import numpy as np


def twin(keras, **structure):
    """A model with two equal inputs and two equal outputs, not in alphabetical order."""
    keras.utils.set_random_seed(3)
    right, left = keras.Input((4,), name="right"), keras.Input((4,), name="left")
    x = keras.layers.Concatenate(name="join")([right, left])
    x = keras.layers.BatchNormalization(name="norm", moving_mean_initializer="ones")(x)
    x = keras.layers.Dropout(0.9, name="drop")(x)
    zebra = keras.layers.Dense(3, name="zebra", bias_initializer="ones")(x)
    ape = keras.layers.Dense(3, name="ape", activation="softmax")(x)
    if structure:
        return keras.Model({"b": left, "a": right}, {"zebra": zebra, "ape": ape}, name="twin")
    return keras.Model([right, left], [zebra, ape], name="twin")


FEED = {
    "right": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4),
    "left": np.linspace(2, 3, 8, dtype=np.float32).reshape(2, 4),
}


def names(specs):
    return [spec.name for spec in specs]


def run_saved_model(tf, artifacts, feed):
    """The outputs of the SavedModel beside the artifacts, by name."""
    loaded = tf.saved_model.load(str(artifacts.saved_model))
    tensors = {name: tf.constant(value) for name, value in feed.items()}
    return {name: value.numpy() for name, value in loaded.signatures[artifacts.signature](**tensors).items()}


def run_graph(tf, artifacts, feed):
    """The outputs of model.json's graph, by name: run by TensorFlow with the weights in the shards."""
    from google.protobuf.json_format import ParseDict

    weights = artifacts.read_weights()
    graph_def = ParseDict(dict(artifacts.topology), tf.compat.v1.GraphDef())
    bodies = (function.node_def for function in graph_def.library.function)
    for node in itertools.chain(graph_def.node, *bodies):
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[node.name]))
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        feeds = {spec.tensor: feed[spec.name] for spec in artifacts.inputs}
        results = session.run([spec.tensor for spec in artifacts.outputs], feeds)
    return dict(zip(names(artifacts.outputs), results, strict=True))


def assert_close(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-6)
