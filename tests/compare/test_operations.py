"""The table of operations: its names exist, its sets agree, and it says of TF.js what TF.js does."""

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


def test_the_name_for_equal_operations_is_its_own_name():
    for op in frozenset().union(*SETS.values()):
        assert same_operation(same_operation(op)) == same_operation(op)


@pytest.mark.parametrize("ops", [ADDITIVE, MULTIPLICATIVE, COMMUTATIVE])
def test_sets_by_same_operation_hold_no_other_name(ops):
    assert {same_operation(op) for op in ops} == ops


def test_sums_are_all_names_of_additive_operations():
    assert {op for op in SUMS | TFJS_OPERATIONS if same_operation(op) in ADDITIVE} == SUMS


def test_what_the_converter_folds_into_or_fuses_with_is_a_contraction():
    assert FOLDING_CONTRACTIONS <= CONTRACTIONS
    assert set(FUSED_CONTRACTIONS.values()) <= FOLDING_CONTRACTIONS


@pytest.mark.convert
def test_every_name_is_an_operation_of_tensorflow_or_tfjs():
    pytest.importorskip("tensorflow")
    from tensorflow.python.framework import op_def_registry

    named = frozenset().union(*SETS.values(), FUSED_CONTRACTIONS, FUSED_CONTRACTIONS.values())
    assert {op for op in named - TFJS_OPERATIONS if op_def_registry.get(op) is None} == set()


@pytest.mark.convert
def test_random_operations_are_those_of_tensorflow_that_hold_a_state_and_draw():
    pytest.importorskip("tensorflow")
    from tensorflow import raw_ops
    from tensorflow.python.framework import op_def_registry

    draws = re.compile(r"Random|Normal|Multinomial|Uniform|Poisson|Gamma|Binomial")
    others = re.compile(r"Dataset|Queue|Sampler|Seed|Crop|GetAlg")
    drawing = {name for name in dir(raw_ops) if draws.search(name) and not others.search(name)}
    assert {name for name in drawing if op_def_registry.get(name).is_stateful} == RANDOM


def test_fused_activations_are_those_of_the_tfjs_bundle():
    text = BUNDLE.read_text(encoding="utf-8")
    body = text[: text.index('"Unknown fused activation')].rpartition("function")[2]
    names = set(re.findall(r'"(\w+)"===', body)) - {"linear"}
    assert names == {op.lower() for op in FUSED_ACTIVATIONS}


def test_the_page_passes_on_the_same_operations():
    (names,) = UNCHANGED.findall((PAGE / "graph_model.js").read_text(encoding="utf-8"))
    # No artifacts have variables.
    assert set(json.loads(names)) == PASS_THROUGH - {"ReadVariableOp"}


def test_every_activation_that_a_fault_swaps_is_in_the_table():
    assert SWAPS.keys() <= ACTIVATIONS
