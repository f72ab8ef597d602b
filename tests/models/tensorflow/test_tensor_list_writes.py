from __future__ import annotations

from pytest_tfjs.models.tensorflow.tensor_list_writes import put_writes_last


def topology(*ops):
    nodes = [{"name": f"{at}", "op": op} for at, op in enumerate(ops)]
    return {"node": [], "library": {"function": [{"nodeDef": nodes}]}}


def ops(content):
    return [node["op"] for node in content["library"]["function"][0]["nodeDef"]]


def test_list_writes_are_moved_last():
    content = topology("Const", "Tanh", "TensorListSetItem", "Identity", "TensorListPushBack", "Relu")
    assert put_writes_last(content)
    assert ops(content) == ["Const", "Tanh", "Identity", "Relu", "TensorListSetItem", "TensorListPushBack"]
    assert [node["name"] for node in content["library"]["function"][0]["nodeDef"]] == list("013524")


def test_list_writes_that_are_last_already_stay():
    content = topology("Tanh", "Identity", "TensorListSetItem")
    assert not put_writes_last(content)
    assert ops(content) == ["Tanh", "Identity", "TensorListSetItem"]


def test_a_model_without_functions_is_unchanged():
    assert not put_writes_last({"node": [{"name": "a", "op": "TensorListSetItem"}]})
    assert not put_writes_last({"node": [], "library": {}})
    assert not put_writes_last({"node": [], "library": {"function": [{}]}})
