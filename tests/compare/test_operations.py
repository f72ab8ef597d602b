"""The table of operations: its names exist, its sets agree, and it matches TF.js."""

from __future__ import annotations

import json
import re

import pytest

from pytest_tfjs.compare import operations
from pytest_tfjs.compare.mutants import SWAPS
from pytest_tfjs.compare.operations import (
    ACTIVATIONS,
    ADDITIVE,
    COMMUTATIVE,
    CONTRACTIONS,
    FOLDING_CONTRACTIONS,
    FUSED_ACTIVATIONS,
    FUSED_CONTRACTIONS,
    MULTIPLICATIVE,
    PASS_THROUGH,
    RANDOM,
    SUMS,
    same_operation,
)
from pytest_tfjs.reference.running.tfjs_operations import TFJS_OPERATIONS
from tests.support.paths import ROOT

PAGE = ROOT / "pytest_tfjs" / "page"
UNCHANGED = re.compile(r"UNCHANGED = new Set\((\[[^\]]*\])\)")
BUNDLE = PAGE / "vendor" / "@tensorflow" / "tfjs" / "dist" / "tf.min.js"

SETS = {name: value for name, value in vars(operations).items() if isinstance(value, frozenset)}


def test_same_operation_is_idempotent():
    for op in frozenset().union(*SETS.values()):
        assert same_operation(same_operation(op)) == same_operation(op)


@pytest.mark.parametrize("ops", [ADDITIVE, MULTIPLICATIVE, COMMUTATIVE])
def test_sets_contain_only_names_from_same_operation(ops):
    assert {same_operation(op) for op in ops} == ops


def test_sums_has_all_names_of_additive_operations():
    assert {op for op in SUMS | TFJS_OPERATIONS if same_operation(op) in ADDITIVE} == SUMS


def test_folding_and_fused_operations_are_contractions():
    assert FOLDING_CONTRACTIONS <= CONTRACTIONS
    assert set(FUSED_CONTRACTIONS.values()) <= FOLDING_CONTRACTIONS


@pytest.mark.convert
def test_every_name_is_a_tensorflow_or_tfjs_operation():
    pytest.importorskip("tensorflow")
    from tensorflow.python.framework import op_def_registry

    named = frozenset().union(*SETS.values(), FUSED_CONTRACTIONS, FUSED_CONTRACTIONS.values())
    assert {op for op in named - TFJS_OPERATIONS if op_def_registry.get(op) is None} == set()


@pytest.mark.convert
def test_random_has_all_stateful_random_operations_of_tensorflow():
    pytest.importorskip("tensorflow")
    from tensorflow import raw_ops
    from tensorflow.python.framework import op_def_registry

    draws = re.compile(r"Random|Normal|Multinomial|Uniform|Poisson|Gamma|Binomial")
    others = re.compile(r"Dataset|Queue|Sampler|Seed|Crop|GetAlg")
    drawing = {name for name in dir(raw_ops) if draws.search(name) and not others.search(name)}
    assert {name for name in drawing if op_def_registry.get(name).is_stateful} == RANDOM


def test_fused_activations_match_the_tfjs_bundle():
    text = BUNDLE.read_text(encoding="utf-8")
    body = text[: text.index('"Unknown fused activation')].rpartition("function")[2]
    names = set(re.findall(r'"(\w+)"===', body)) - {"linear"}
    assert names == {op.lower() for op in FUSED_ACTIVATIONS}


def test_pass_through_operations_match_the_page():
    (names,) = UNCHANGED.findall((PAGE / "graph_model.js").read_text(encoding="utf-8"))
    # No artifacts have variables.
    assert set(json.loads(names)) == PASS_THROUGH - {"ReadVariableOp"}


def test_every_swapped_activation_is_in_the_table():
    assert SWAPS.keys() <= ACTIVATIONS
