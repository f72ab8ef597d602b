"""What a refusal's first line says to do, from what is known of the layers before it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_tfjs.compare.results import LayerResult
from pytest_tfjs.errors import PageError, RefusedLayer
from pytest_tfjs.workflows.refusal import RefusedModel, with_advice
from pytest_tfjs.workflows.refusal import advised as advised_failure
from tests.support.comparisons import layer

REFUSED = RefusedLayer("c", "Concat", ("float32 [6]",), 2)
REWRITE = "Build this layer from other operations, or compute it outside the model"


def prepared(*layers: Any, form: str = "graph") -> Any:
    return SimpleNamespace(
        source=SimpleNamespace(kind="module"),
        feeds=(None,),
        artifacts=SimpleNamespace(format=form, bytes=1 << 40),
        reference=SimpleNamespace(plan=SimpleNamespace(layers=layers)),
    )


def advised(failure: PageError, layers: Any = (), first: tuple[str, ...] = (), form: str = "graph") -> str:
    results = tuple(
        LayerResult(one, "diverged" if one.name in first else None, None, None, "shape [6] in the browser")
        for one in layers
    )
    judged: Any = SimpleNamespace(layers=results, first_divergence=first)
    context: Any = SimpleNamespace(target="cpu on chrome")
    return with_advice(failure, prepared(*layers, form=form), context, judged)


def refusal(text: str = "no axis 1", at: RefusedLayer | None = REFUSED) -> PageError:
    return PageError(f"cpu on chrome: {text}", refused=True, layer=at)


CHAIN = (layer("a"), layer("b", "a"), layer("c", "b"), layer("beside"))


def test_other_failures_get_no_advice():
    failure = PageError("cpu on chrome: not done after 10 s. More time: --tfjs-timeout")
    for form in ("graph", "layers"):
        assert advised(failure, form=form) == "not done after 10 s. More time: --tfjs-timeout"
    assert advised(refusal("no axis 1.", at=None)) == "no axis 1."


def test_first_line_ends_with_what_to_do():
    assert advised(refusal("no axis 1.\nTF.js: no axis 1.\n2. more")) == (
        f"no axis 1. {REWRITE}\nTF.js: no axis 1.\n2. more"
    )


@pytest.mark.parametrize(("first", "named"), [(("a",), "a"), (("beside", "b"), "b"), (("beside",), None)])
def test_diverged_layer_that_leads_to_the_refused_one_is_the_cause(first, named):
    text = advised(refusal(), CHAIN, first)
    if named is None:
        assert text == f"no axis 1. {REWRITE}"
    else:
        assert text == (
            f"no axis 1. The cause may be '{named}', which diverged before it (shape [6] in the browser): "
            "look at that layer first"
        )


def test_missing_kernel_is_for_another_backend():
    text = "'c' needs the kernel Concat, which wasm does not register; {}"
    assert advised(refusal(text.format("cpu has it"), at=None)).endswith(
        "cpu has it. Use a backend that has the kernel, or build this layer from other operations"
    )
    assert advised(refusal(text.format("no backend in the page has it"), at=None)).endswith(REWRITE)


def test_input_of_another_shape_is_named_for_a_layers_model():
    pool = replace(layer("pool"), shape=(2, 1, 1, 3))
    head = RefusedLayer("head", "Conv2D", ("float32 [any, 3]",))
    text = advised(refusal("found ndim=2", head), (pool, layer("head", "pool")), form="layers")
    assert text.startswith("found ndim=2; in Python 'pool' gives it [2, 1, 1, 3], so look at 'pool' first. ")
    same = replace(head, inputs=("float32 [any, 1, 1, 3]",))
    text = advised(refusal("found ndim=2", same), (pool, layer("head", "pool")), form="layers")
    assert text == f"found ndim=2. {REWRITE}; or try format='graph'"


def test_table_from_a_file_gets_its_own_advice():
    text = advised(refusal("Unknown op 'InitializeTableFromTextFileV2'. File an issue"))
    assert text.endswith("TF.js cannot fill a table from a file: use tf.lookup.KeyValueTensorInitializer")


@pytest.mark.parametrize("form", ["graph", "layers"])
def test_model_that_is_only_timed_gets_the_same_advice(form):
    model = prepared(form=form)
    model.source.origin = None
    model.source.kind = "prebuilt"
    context: Any = SimpleNamespace(target="cpu on chrome")
    layer = replace(REFUSED, name="StatefulPartitionedCall/net/c")
    text = f"cpu on chrome: {layer}: no"
    failure = PageError(text, stack="at f", stage="loading", refused=True, layer=layer)
    found = advised_failure(failure, RefusedModel(model.source, model.artifacts, None), context)  # type: ignore[arg-type]
    assert str(found).startswith(f"cpu on chrome: 'net/c' (Concat of float32 [6]): no. {REWRITE}")
    assert ("--output_format=tfjs_graph_model" in str(found)) is (form == "layers")
    assert (found.stack, found.stage, found.refused, found.layer) == ("at f", "loading", True, layer)


def test_other_failures_of_a_timed_model_are_left_alone():
    failure = PageError("cpu on chrome: not done after 10 s")
    assert advised_failure(failure, prepared(), SimpleNamespace()) is failure
