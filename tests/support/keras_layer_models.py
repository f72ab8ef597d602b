"""Keras layers as configs, and models with shared, nested and wrapped layers."""

from __future__ import annotations

import numpy as np


def layer(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


def functional(name, layers, inputs, outputs):
    """`layers`: pairs of a layer and its calls, each a list of input tensors (layer, call, index)."""
    entries = [
        {
            **entry,
            "name": entry["config"]["name"],
            "inbound_nodes": [[[*t, {}] for t in call] for call in calls],
        }
        for entry, calls in layers
    ]
    config = {"name": name, "layers": entries, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": config}


def encoder():
    return functional(
        "encoder",
        [
            (layer("InputLayer", "e"), []),
            (layer("Dense", "d"), [[("e", 0, 0)]]),
            (layer("ReLU", "r"), [[("d", 0, 0)]]),
        ],
        [["e", 0, 0]],
        [["r", 0, 0], ["d", 0, 0]],
    )


RNG = np.random.default_rng(5)


X = RNG.standard_normal((2, 6)).astype(np.float32)


SEQUENCE = RNG.standard_normal((2, 5, 3)).astype(np.float32)


def dense(k, name, units=6):
    return k.layers.Dense(units, activation="tanh", bias_initializer="ones", name=name)


def shared(k):
    x = k.Input((6,), name="x")
    d = dense(k, "d")
    model = k.Model(x, k.layers.Add(name="sum")([d(d(x)), d(x)]), name="shared")
    once = d(X)
    twice = d(once)
    calls = {"d": once, "d#2": twice, "d#3": d(X)}
    return model, [X], {**calls, "sum": twice + once}


def states(k):
    x = k.Input((5, 3), name="x")
    whole, h, c = k.layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(x)
    model = k.Model(x, k.layers.Concatenate(name="join")([h, c]), name="states")
    whole, h, c = model.get_layer("lstm")(SEQUENCE)
    return model, [SEQUENCE], {"lstm": whole, "lstm:1": h, "lstm:2": c, "join": np.concatenate([h, c], 1)}


def wrapped(k):
    x = k.Input((5, 3), name="x")
    y = k.layers.TimeDistributed(dense(k, "inside", 4), name="each")(x)
    model = k.Model(x, k.layers.Bidirectional(k.layers.GRU(3, name="gru"), name="both")(y), name="wrapped")
    each = model.get_layer("each")(SEQUENCE)
    return model, [SEQUENCE], {"each": each, "both": model.get_layer("both")(each)}
