"""Divergences in texts and complex numbers are shown and diagnosed."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.convert]

tf = pytest.importorskip("tensorflow")

LINES = np.array(["a,b", "c.d", "e"], dtype=object)


def compared(tfjs, function, *specs, feed):
    """The message of a model of `function` that diverges, and its diagnosis."""
    made = tf.Module()
    made.call = tf.function(function, input_signature=list(specs))
    with pytest.raises(AssertionError) as caught:
        tfjs.assert_close(made, feed, allow_vacuous="*")
    return str(caught.value), caught.value.comparison.diagnosis


@pytest.mark.tfjs(backends="cpu,webgl")
@pytest.mark.parametrize(
    "function",
    [
        # TF.js gives the pattern of RE2 to JavaScript, which knows no classes of POSIX.
        lambda x: {"y": tf.strings.regex_replace(x, "[[:punct:]]", "-", name="clean")},
        lambda x: {"n": tf.size(x), "y": tf.strings.regex_replace(tf.reshape(x, [-1, 1]), "[[:punct:]]", "")},
    ],
)
def test_a_text_is_shown_and_diagnosed(tfjs, function):
    text, found = compared(tfjs, function, tf.TensorSpec([None], tf.string, name="x"), feed=LINES)
    first = text.splitlines()[0]
    assert "'a,b' in the browser" in first
    assert "NaN" not in first
    assert found.kind == "semantics", found
    assert "give the same wrong values" in found.said
    assert not any("unsupported dtype" in one for one in found.evidence)


@pytest.mark.tfjs(backends="cpu,webgl")
@pytest.mark.parametrize(
    "function",
    [
        lambda x: {"y": tf.signal.rfft(x, fft_length=[12])},
        lambda x: {"n": tf.size(x), "y": tf.signal.rfft(x, fft_length=[8])},
    ],
)
def test_a_complex_number_is_shown_and_diagnosed(tfjs, function):
    x = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    text, found = compared(tfjs, function, tf.TensorSpec([2, 16], tf.float32, name="x"), feed=x)
    assert found.kind == "semantics", found
    assert "NaN" not in text.partition("likely")[2]
