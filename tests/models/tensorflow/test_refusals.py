from __future__ import annotations

import json

import pytest

from pytest_tfjs.models.tensorflow.layer_calls import FILE
from pytest_tfjs.models.tensorflow.refusals import Refusal, is_of_tensorflow, read_refusal

STACK = "".join(f'  File "/site-packages/_pytest/main.py", line {line}, in main\n\n' for line in range(80))
OF_KERAS_2 = """Exception encountered when calling layer 'words' (type Embedding).

{{function_node __wrapped__ResourceGather_device_/job:localhost}} indices[0,2] = 10 is not in [0, 10) [Op:ResourceGather] name: 

Call arguments received by layer 'words' (type Embedding):
  • inputs=tf.Tensor(shape=(1, 3), dtype=int32)"""  # noqa: E501, W291
OF_A_GRAPH = f"""Graph execution error:

Detected at node StatefulPartitionedCall/net_1/words_1/GatherV2 defined at (most recent call last):
{STACK}
indices[0,2] = 10 is not in [0, 10)
\t [[{{{{node StatefulPartitionedCall/net_1/words_1/GatherV2}}}}]] [Op:__inference_pruned_421]"""
OF_SEVERAL = """Graph execution error:

2 root error(s) found.
  (0) INVALID_ARGUMENT:  indices[3] = 4 is not in [0, 4)
\t [[{{node table}}]]
\t [[other/_7]]
  (1) INVALID_ARGUMENT:  indices[3] = 4 is not in [0, 4)
\t [[{{node table}}]]
0 successful operations."""
OF_A_SHAPE = (
    "Cannot reshape a tensor with 6 elements to shape [3,7] for '{{node PartitionedCall/res}} = "
    "Reshape[T=DT_FLOAT](PartitionedCall/Tanh, PartitionedCall/res/shape)' with input shapes: [2,3], [2]."
)
OF_FREEZING = (
    "Input 0 of node StatefulPartitionedCall/net/lstm/AssignVariableOp was passed float from Func/_1:0 "
    "incompatible with expected resource."
)
OF_USER_CODE = """in user code:

    File "/home/user/model.py", line 7, in serve  *
        return odd(x)

    ValueError: only pairs of three
"""
OF_LIBRARY_CODE = """in user code:

    File "C:\\models\\net.py", line 5, in serve  *
        return tf.concat([x], 3)
    File "/lib/python3.11/site-packages/tensorflow/ops.py", line 99, in concat  **

    ValueError: no axis 3.
"""
OF_KERAS_3 = """Exception encountered when calling Odd.call().

\x1b[1monly pairs of three\x1b[0m

Arguments received by Odd.call():
  • x=tf.Tensor(shape=(2, 4), dtype=float32)"""
BEYOND = "indices[0,2] = 10 is not in [0, 10)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OF_KERAS_2, Refusal(BEYOND, "words", "Embedding")),
        (OF_A_GRAPH, Refusal(BEYOND, "net_1/words_1/GatherV2")),
        (OF_SEVERAL, Refusal("indices[3] = 4 is not in [0, 4)", "table")),
        (
            OF_A_SHAPE,
            Refusal(
                "Cannot reshape a tensor with 6 elements to shape [3,7] with input shapes: [2,3], [2]",
                "res",
            ),
        ),
        (OF_FREEZING, Refusal(OF_FREEZING.rstrip("."), "net/lstm/AssignVariableOp")),
        (OF_USER_CODE, Refusal("ValueError: only pairs of three (model.py, line 7)")),
        (OF_LIBRARY_CODE, Refusal("ValueError: no axis 3 (net.py, line 5)")),
        (OF_KERAS_3, Refusal("only pairs of three", None, "Odd")),
        ("", Refusal("ValueError")),
    ],
)
def test_message_is_read(text, expected):
    assert read_refusal(ValueError(text)) == expected


def test_long_reason_is_cut():
    reason = read_refusal(ValueError("no " * 1000)).reason
    assert len(reason) < 310
    assert reason.endswith("...")


def test_node_of_a_keras_model_is_named_by_its_layer(tmp_path):
    calls = {"words": {"class": "Embedding", "operations": ["net_1/words_1/GatherV2"]}}
    (tmp_path / FILE).write_text(json.dumps(calls))
    refusal = read_refusal(ValueError(OF_A_GRAPH), tmp_path / "saved_model")
    assert refusal == Refusal(BEYOND, "words", "Embedding")
    assert refusal.where == "'words' (Embedding): "


def test_advice_has_the_numbers_that_a_table_takes():
    assert Refusal(BEYOND).advice == "Feed numbers from 0 to 9, or enlarge the layer's table"
    assert "Feed inputs that the layer accepts" in Refusal("too large").advice
    assert "with more memory" in Refusal("OOM when allocating tensor with shape[9,9]").advice


def test_only_errors_that_come_out_of_tensorflow_are_its_own():
    caught = []
    code = compile("def run(work): work()", "layer.py", "exec")
    for module in ("tf_keras.src.engine.base_layer", "pytest_tfjs.reference.capture"):
        scope = {"__name__": module}
        exec(code, scope)
        with pytest.raises(ZeroDivisionError) as error:
            scope["run"](lambda: 1 / 0)
        caught.append(is_of_tensorflow(error.value))
    assert caught == [True, False]
