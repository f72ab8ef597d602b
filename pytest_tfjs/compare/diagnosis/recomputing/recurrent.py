"""Computes Keras 2's recurrent layers in numpy, over axis 1 from a state of zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.elementwise import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

_GATES = {"GRU": "zrh", "LSTM": "ifco"}


def _function(attributes: Mapping[str, Any], key: str, default: str) -> Callable[[Array], Array]:
    activation = ACTIVATIONS[attributes.get(key, default)]
    return lambda x: activation(x, {})


def _gates(step: Array, attributes: Mapping[str, Any], cell: str) -> Iterator[Array]:
    """The parts of the last axis in Keras's order of the gates; `gates` is the order that they stand in."""
    order = attributes.get("gates", _GATES[cell])
    parts = dict(zip(order, np.split(step, len(order), axis=-1), strict=True))
    return (parts[gate] for gate in _GATES[cell])


def _steps(x: Array, attributes: Mapping[str, Any]) -> Iterator[Array]:
    sequence = np.moveaxis(x, 1, 0)
    return iter(sequence[::-1] if attributes.get("go_backwards") else sequence)


def _given(states: list[Array], attributes: Mapping[str, Any]) -> Array:
    return np.stack(states, axis=1) if attributes.get("return_sequences") else states[-1]


def _gru(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """Cho et al. 2014, equations 5 to 8; with `reset_after` the gate is applied to the product.

    `inputs`: x, kernel, recurrent kernel, and a bias of one row, or of two, the recurrent one second.
    """
    x, kernel, recurrent = inputs[:3]
    units = recurrent.shape[0]
    bias = np.zeros(3 * units) if len(inputs) == 3 else inputs[3]  # noqa: PLR2004
    outer, inner = bias if bias.ndim > 1 else (bias, np.zeros_like(bias))
    after = attributes.get("reset_after", True)
    if not after:
        outer, inner = outer + inner, np.zeros_like(inner)
    gate = _function(attributes, "recurrent_activation", "Sigmoid")
    activate = _function(attributes, "activation", "Tanh")
    state, states = np.zeros((x.shape[0], units)), []
    for step in _steps(x, attributes):
        z, r, h = _gates(step @ kernel + outer, attributes, "GRU")
        of_state = list(_gates(state @ recurrent + inner, attributes, "GRU"))
        update, reset = gate(z + of_state[0]), gate(r + of_state[1])
        if after:
            candidate = activate(h + reset * of_state[2])
        else:
            columns = list(_gates(recurrent, attributes, "GRU"))[2]
            candidate = activate(h + (reset * state) @ columns)
        state = update * state + (1 - update) * candidate
        states.append(state)
    return _given(states, attributes)


def _lstm(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000).

    `inputs`: x, kernel, recurrent kernel, bias.
    """
    x, kernel, recurrent = inputs[:3]
    units = recurrent.shape[0]
    bias = np.zeros(4 * units) if len(inputs) == 3 else inputs[3]  # noqa: PLR2004
    gate = _function(attributes, "recurrent_activation", "Sigmoid")
    activate = _function(attributes, "activation", "Tanh")
    state, carry = np.zeros((x.shape[0], units)), np.zeros((x.shape[0], units))
    states = []
    for step in _steps(x, attributes):
        i, f, c, o = _gates(step @ kernel + state @ recurrent + bias, attributes, "LSTM")
        carry = gate(f) * carry + gate(i) * activate(c)
        state = gate(o) * activate(carry)
        states.append(state)
    return _given(states, attributes)


RECURRENT: Mapping[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]] = {"GRU": _gru, "LSTM": _lstm}
