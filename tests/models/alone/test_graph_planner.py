"""Plans to run a node of a graph model alone: what it is fed, or why it cannot run alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.models.alone.graph_planner import GraphPlanner, tensor_name
from pytest_tfjs.models.alone.plan import CannotRunAloneError
from pytest_tfjs.models.alone.planner import plan_alone
from pytest_tfjs.models.artifacts import Artifacts, TensorSpec
from tests.support.tiny_graphs import node

WEIGHTS = ({"weights": [{"name": "w", "dtype": "float32"}, {"name": "v", "dtype": "float32"}]},)
INPUTS = (TensorSpec("image", None, "float32", "x:0"), TensorSpec("mask", None, "float32", "y:0"))


def graph(*lines, functions=None, **attributes):
    """Artifacts of lines `name op input input:1 ...`; `attributes` are those of every node."""
    nodes = [node(line.split()[1], line.split()[0], *line.split()[2:], **attributes) for line in lines]
    library = [
        {"signature": {"name": name}, "nodeDef": [node(*line.split()[1::-1]) for line in body]}
        for name, body in (functions or {}).items()
    ]
    return Artifacts(
        model_json=Path("model.json"),
        format="graph",
        weights="float32",
        inputs=INPUTS,
        outputs=(),
        bytes=0,
        topology={"node": nodes, "library": {"function": library}},
        manifest=WEIGHTS,
        resources=("table:0",),
    )


def plan_of(artifacts, known, tensor):
    return GraphPlanner(artifacts, {name: {"node": name} for name in known}).plan({"node": tensor})


def fed(artifacts, known, tensor):
    """The fed tensors and their origins, as `tensor<layer` or `tensor<<input`."""
    sources = plan_of(artifacts, known, tensor).fed.items()
    return " ".join(f"{tensor}<{one.row or f'<{one.source_input}'}" for tensor, one in sources)


CHAIN = graph("x Placeholder", "w Const", "v Const", "conv Conv2D x w", "bias AddV2 conv v", "relu Relu bias")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (["bias:0"], "bias:0<bias:0"),
        (["conv:0"], "conv:0<conv:0"),
        ([], "x:0<<image"),
        (["conv:0", "bias:0"], "bias:0<bias:0"),
        (["conv:0", "relu:0"], "conv:0<conv:0"),
        (["gone:0"], "x:0<<image"),
    ],
)
def test_a_node_is_fed_the_nearest_known_tensor_before_it(known, expected):
    assert fed(CHAIN, known, "relu:0") == expected


def test_a_plan_names_the_nodes_and_the_weights_between():
    plan = plan_of(CHAIN, ["conv:0"], "relu:0")
    assert (plan.target, plan.nodes, plan.weights) == ("relu:0", ("relu", "bias"), {"v"})
    assert plan.takes == ("conv:0",)
    assert plan.to_json() == {"rows": ["conv:0"], "fed": [["conv:0", {"row": "conv:0"}]]}
    whole = plan_of(CHAIN, [], "conv")
    assert whole.to_json() == {"rows": [], "fed": [["x:0", {"input": "image"}]]}


def test_fed_tensors_are_in_the_order_of_the_artifacts():
    artifacts = graph("w Const", "a Relu", "b Relu", "c Relu", "d Sub b a", "e ConcatV2 c d a w")
    assert fed(artifacts, ["a:0", "b:0", "c:0"], "e:0") == "c:0<c:0 b:0<b:0 a:0<a:0"


SPLIT = graph(
    "x Placeholder",
    "y Placeholder",
    "w Const",
    "pre Relu x",
    "split Split w pre",
    "sum AddV2 split split:1",
    "one Relu split:1",
    "some AddV2 split:1 y",
)


def test_one_output_of_a_node_can_be_fed():
    assert fed(SPLIT, ["split:1"], "one:0") == "split:1<split:1"
    assert fed(SPLIT, ["split:1"], "some:0") == "split:1<split:1 y:0<<mask"


@pytest.mark.parametrize("known", [["split:0", "split:1"], ["split:0"], ["split:1"], []])
def test_a_node_with_two_used_outputs_is_computed_instead_of_fed(known):
    assert fed(SPLIT, known, "sum:0") == "x:0<<image"
    assert fed(SPLIT, [*known, "pre:0"], "sum:0") == "pre:0<pre:0"


def test_tensors_are_named_by_node_and_index():
    names = ["top", "top:1", "top:indices:1", "^top"]
    assert [tensor_name(name) for name in names] == ["top:0", "top:1", "top:1", "top:0"]
    artifacts = graph("x Placeholder", "w Const", "top TopKV2 x w", "relu Relu top:indices:1")
    assert fed(artifacts, ["top:1"], "relu:0") == "top:1<top:1"


def test_control_inputs_are_computed():
    artifacts = graph("x Placeholder", "y Placeholder", "first NoOp y", "relu Relu x ^first")
    assert fed(artifacts, [], "relu") == "x:0<<image y:0<<mask"


ALIASES = graph(
    "x Placeholder",
    "relu Relu x",
    "same Identity relu",
    "again Identity same",
    "neg Neg relu",
    "abs Abs again",
)


def test_copies_of_a_tensor_count_as_known():
    assert fed(ALIASES, ["again:0"], "neg:0") == "relu:0<again:0"
    assert fed(ALIASES, ["again:0", "relu:0"], "neg:0") == "relu:0<relu:0"


def test_a_tensor_is_not_computed_from_its_own_copy():
    assert fed(ALIASES, ["again:0"], "again:0") == "x:0<<image"
    assert fed(ALIASES, ["same:0", "again:0"], "same:0") == "x:0<<image"
    assert fed(ALIASES, ["same:0", "again:0"], "again:0") == "same:0<same:0"


def test_a_loop_is_fed_the_tensors_that_enter_it():
    artifacts = graph(
        "x Placeholder",
        "w Const",
        "pre Relu x",
        "list TensorListReserve w",
        "loop While pre list",
        "end TensorListStack loop:1 w",
        "neg Neg end",
    )
    assert fed(artifacts, ["pre:0", "end:0"], "end:0") == "pre:0<pre:0"
    assert fed(artifacts, ["pre:0", "end:0"], "neg:0") == "end:0<end:0"


def test_the_walk_ends_in_cyclic_loops_of_tensorflow_1():
    artifacts = graph(
        "x Placeholder",
        "w Const",
        "enter Enter x",
        "merge Merge enter next",
        "switch Switch merge w",
        "next NextIteration body",
        "body Relu switch:1",
        "exit Exit switch",
    )
    assert fed(artifacts, ["exit:0"], "exit:0") == "x:0<<image"


def test_the_walk_ends_in_a_cycle_of_copies():
    artifacts = graph("a Identity b", "b Identity a", "c Neg a")
    assert fed(artifacts, ["a:0"], "c:0") == "a:0<a:0"


NOISY = graph("x Placeholder", "w Const", "drawn RandomStandardNormal w", "noisy AddV2 x drawn")
LOOP = graph(
    "x Placeholder",
    "loop While x",
    functions={"body": ["x Placeholder", "call StatelessWhile"], "inner": ["drawn RandomUniform"]},
    body={"func": {"name": "body"}},
)


def test_a_known_random_tensor_is_fed():
    assert set(fed(NOISY, ["drawn:0"], "noisy:0").split()) == {"x:0<<image", "drawn:0<drawn:0"}


@pytest.mark.parametrize(
    ("artifacts", "tensor", "reason"),
    [
        (CHAIN, "w:0", "the layer is a weight, which is not computed"),
        (CHAIN, "x:0", "the layer is the model's input 'image'"),
        (CHAIN, "gone:0", "the artifacts have no node 'gone'"),
        (graph("a Relu gone"), "a:0", "the artifacts have no node 'gone'"),
        (
            graph("left Placeholder", "relu Relu left"),
            "relu:0",
            "the layer depends on 'left', which is not in the feed",
        ),
        (
            NOISY,
            "noisy:0",
            "the node 'drawn' (RandomStandardNormal) draws random numbers",
        ),
    ],
)
def test_the_error_says_why_a_node_cannot_run_alone(artifacts, tensor, reason):
    with pytest.raises(CannotRunAloneError) as caught:
        plan_of(artifacts, [], tensor)
    assert reason in str(caught.value)


@pytest.mark.parametrize("op", ["RandomUniform", "StatelessRandomNormalV2", "StatelessTruncatedNormal"])
def test_what_takes_random_numbers_is_told_from_what_cannot_run_alone_otherwise(op):
    artifacts = graph("x Placeholder", "w Const", f"drawn {op} w", "noisy AddV2 x drawn", "end Relu noisy")
    taps = {name: {"node": f"{name}:0"} for name in ("drawn", "noisy", "end", "w")}
    found = plan_alone(artifacts, taps, {"noisy": taps["noisy"]})
    assert set(found.random) == {"drawn", "noisy"} == set(found.reasons) - {"w"}
    assert set(found.plans) == {"end"}


def test_random_numbers_are_found_in_functions_that_functions_call():
    library = LOOP.topology["library"]["function"]
    call = node("StatelessWhile", "call", cond={"list": {"func": [{"name": "inner"}]}})
    nested = [{**library[0], "nodeDef": [call]}, library[1]]
    artifacts = replace(LOOP, topology={**LOOP.topology, "library": {"function": nested}})
    with pytest.raises(CannotRunAloneError, match=r"'drawn' \(RandomUniform\)"):
        plan_of(artifacts, [], "loop:0")
    assert fed(LOOP, [], "loop:0") == "x:0<<image"


def test_resources_are_not_fed():
    artifacts = graph("x Placeholder", "w Const", "table Placeholder", "find LookupTableFindV2 table x w")
    plan = plan_of(artifacts, [], "find:0")
    assert (list(plan.fed), plan.resources) == (["x:0"], {"table"})


@st.composite
def graphs(draw):
    """A graph of nodes `n0`, `n1`, ... on any earlier tensors, the known tensors, and the one to compute."""
    lines = ["x Placeholder"]
    for number in range(draw(st.integers(1, 12))):
        names = st.sampled_from(["x", *(f"n{i}" for i in range(number)), *(f"n{i}:1" for i in range(number))])
        op = draw(st.sampled_from(["Relu", "Identity", "AddV2"]))
        lines.append(f"n{number} {op} {' '.join(draw(st.lists(names, min_size=1, max_size=3)))}")
    tensors = [f"n{i}:{index}" for i in range(len(lines) - 1) for index in (0, 1)]
    known = draw(st.lists(st.sampled_from(tensors), unique=True))
    return lines, known, draw(st.sampled_from(tensors))


@given(graphs())
def test_fed_and_computed_tensors_cover_all_inputs(drawn):
    """Each input of a computed node is computed or fed; no node is both fed and computed."""
    lines, known, target = drawn
    plan = plan_of(graph(*lines), known, target)
    inputs = {line.split()[0]: line.split()[2:] for line in lines}
    fed_nodes = {tensor.split(":")[0] for tensor in plan.fed}
    taken = {tensor_name(ref) for name in plan.nodes for ref in inputs[name]}
    assert target.split(":")[0] in plan.nodes
    assert not fed_nodes & set(plan.nodes)
    for tensor in taken:
        assert tensor in plan.fed or tensor.split(":")[0] in plan.nodes
    assert set(plan.fed) <= taken
    assert {one.row for one in plan.fed.values()} <= {*known, None}
