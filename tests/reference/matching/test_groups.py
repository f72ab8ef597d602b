from __future__ import annotations

import pytest

from pytest_tfjs.models.tensorflow.layer_calls import LayerCall, read_calls, write_calls
from pytest_tfjs.reference.matching.graph_layers import plan_graph
from pytest_tfjs.reference.matching.groups import Group, by_layer, by_scope
from tests.support.graph_building import graph, node

CONV, CONV_1, LSTM = (
    LayerCall("conv", "Conv2D"),
    LayerCall("conv_1", "Conv2D"),
    LayerCall("inner/rnn", "LSTM"),
)
CALLS = {
    "m/conv_1/convolution": CONV,
    "m/conv_1/BiasAdd": CONV,
    "m/conv_1_2/convolution": CONV_1,
    "m/inner/rnn/PartitionedCall": LSTM,
    "m/inner/rnn/while": LSTM,
}


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("StatefulPartitionedCall/m/conv_1/convolution", CONV),
        ("StatefulPartitionedCall/StatefulPartitionedCall_1/m/conv_1/BiasAdd", CONV),
        ("m/conv_1_2/convolution", CONV_1),
        ("StatefulPartitionedCall/m/inner/rnn/PartitionedCall/transpose", LSTM),
        ("StatefulPartitionedCall/m/inner/rnn/while/LoopCond", LSTM),
        ("StatefulPartitionedCall/m/conv_1/odd", None),
        ("other/m/conv_1/convolution", None),
        ("Identity", None),
    ],
)
def test_the_group_of_a_node_is_the_layer_that_created_it(name, call):
    expected = None if call is None else Group(call.name, call.layer_class)
    assert by_layer(CALLS)(name, name) == expected


def test_the_group_without_a_keras_model_is_the_scope():
    assert by_scope("m/block/conv/Conv2D", "block/conv/Conv2D") == Group("block/conv")
    assert by_scope("m/add", "add") is None


def test_layer_calls_round_trip_through_a_file(tmp_path):
    write_calls(CALLS, tmp_path)
    assert read_calls(tmp_path / "saved_model") == CALLS
    assert read_calls(tmp_path / "deeper" / "saved_model") is None


def test_every_row_of_a_source_operation_has_its_group():
    source = graph(
        node("m/c/conv", "Conv2D", "x", "k"),
        node("m/c/bias", "BiasAdd", "m/c/conv", "b"),
        node("m/r/relu", "Relu", "m/c/bias"),
        node("m/i/same", "Identity", "m/r/relu"),
        node("m/sum", "AddV2", "m/i/same", "m/r/relu"),
        outputs="m/sum",
    )
    converted = graph(
        node("m/r/relu", "_FusedConv2D", "x", "k", "b", fused=["BiasAdd", "Relu"]),
        node("m/sum", "AddV2", "m/r/relu", "m/r/relu"),
        outputs="m/sum",
    )
    rows = {row.name: (row.coverage, row.group) for row in plan_graph(source, converted).layers}
    assert rows == {
        "c/conv": ("compared", "c"),
        "c/bias": ("fused", "c"),
        "r/relu": ("fused", "r"),
        "i/same": ("eliminated", "i"),
        "sum": ("compared", None),
    }
