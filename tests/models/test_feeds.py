from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.errors import FeedError
from pytest_tfjs.models.artifacts import TensorSpec
from pytest_tfjs.models.feeds import normalise_feeds

ONE = (TensorSpec("image", (None, 2, 3), "float32"),)
TWO = (TensorSpec("view", (None, 4), "float32"), TensorSpec("state", (None, 2), "int32"))
IMAGE = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
VIEW, STATE = np.ones((1, 4), np.float32), np.ones((1, 2), np.int32)


def one(dtype, shape=(None,)):
    return (TensorSpec("x", shape, dtype),)


def assert_rejected(inputs, specs, message):
    with pytest.raises(FeedError, match=message):
        normalise_feeds(inputs, specs)


def test_an_array_is_the_feed_of_a_single_input():
    (feed,) = normalise_feeds(IMAGE, ONE)
    assert list(feed.reference) == list(feed.browser) == ["image"]
    assert feed.reference["image"] is feed.browser["image"] is IMAGE
    assert feed.notes == ()


@pytest.mark.parametrize("inputs", [{"state": STATE, "view": VIEW}, (VIEW, STATE)])
def test_dicts_and_tuples_are_put_in_signature_order(inputs):
    (feed,) = normalise_feeds(inputs, TWO)
    assert list(feed.reference) == ["view", "state"]
    assert feed.browser["state"] is STATE


def test_a_list_is_several_feeds():
    feeds = normalise_feeds([{"view": VIEW, "state": STATE}, (VIEW * 2, STATE)], TWO)
    assert [feed.browser["view"][0, 0] for feed in feeds] == [1, 2]


def test_objects_with_array_method_become_arrays():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return IMAGE

    (feed,) = normalise_feeds(Tensor(), ONE)
    np.testing.assert_array_equal(feed.browser["image"], IMAGE)


@pytest.mark.parametrize("inputs", [None, []])
def test_empty_inputs_are_rejected(inputs):
    assert_rejected(inputs, ONE, r"(no inputs were given|is empty).*'image' float32 \[any, 2, 3\]")


@pytest.mark.parametrize("inputs", [[1.0, 2.0], [[1, 2], [3, 4]], ["a"]])
def test_a_list_of_numbers_is_rejected_with_a_hint(inputs):
    assert_rejected(inputs, ONE, r"several feeds.*np\.asarray")


def test_an_unknown_input_name_suggests_the_closest():
    assert_rejected(
        {"veiw": VIEW, "state": STATE},
        TWO,
        r"no input 'veiw'.*'view' float32 \[any, 4\].*Did you mean 'view'",
    )


@pytest.mark.parametrize(
    ("inputs", "specs"),
    [
        ({"image:0": IMAGE}, ONE),
        ({"image": IMAGE}, (TensorSpec("image:0", (None, 2, 3), "float32"),)),
        ({"state": STATE, "view:0": VIEW}, TWO),
    ],
)
def test_an_input_is_also_known_by_the_name_of_its_tensor(inputs, specs):
    (feed,) = normalise_feeds(inputs, specs)
    assert list(feed.reference) == [spec.name for spec in specs]


@pytest.mark.parametrize(
    ("name", "exported"), [("my-input", "my_input"), ("score (raw)", "score__raw_"), ("1st", "x1st")]
)
def test_an_input_is_also_known_by_the_name_that_could_not_be_exported(name, exported):
    specs = (TensorSpec(exported, (None, 4), "float32"),)
    (feed,) = normalise_feeds({name: VIEW}, specs)
    assert feed.reference[exported] is VIEW
    assert_rejected({name: VIEW, exported: VIEW}, specs, "are names of one input")


@pytest.mark.parametrize("name", ["image:1", "image:00", "imag:0", ":0"])
def test_other_tensors_are_no_name_of_an_input(name):
    assert_rejected({name: IMAGE}, ONE, f"no input '{name}'")


def test_an_own_name_goes_before_another_inputs_tensor():
    specs = (TensorSpec("x", (None, 4), "float32"), TensorSpec("x:0", (None, 2), "int32"))
    (feed,) = normalise_feeds({"x:0": STATE, "x": VIEW}, specs)
    assert feed.reference["x"] is VIEW
    assert feed.reference["x:0"] is STATE


def test_an_input_that_is_given_twice_is_rejected():
    assert_rejected({"image": IMAGE, "image:0": IMAGE}, ONE, "'image' and 'image:0' are names of one input")


def test_the_error_names_a_missing_input():
    assert_rejected({"view": VIEW}, TWO, "no value was given for 'state'")


def test_a_tuple_of_wrong_length_is_rejected():
    assert_rejected((VIEW,), TWO, "a tuple of 1 was given; the model takes 'view'")


def test_one_array_for_two_inputs_is_rejected():
    assert_rejected(VIEW, TWO, "2 inputs.*dict by name, or a tuple")


def test_a_missing_batch_dimension_is_rejected_with_a_hint():
    assert_rejected(IMAGE[0], ONE, r"shape \[2, 3\], but \[any, 2, 3\] is expected.*np\.newaxis")


def test_a_wrong_batch_size_is_rejected():
    assert_rejected(np.ones((3, 4), np.float32), one("float32", (1, 4)), "batch of exactly 1")


@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 2, 3, 1), ()])
def test_wrong_shapes_are_rejected(shape):
    assert_rejected(np.ones(shape, np.float32), ONE, "but .any, 2, 3. is expected")


def test_any_shape_fits_an_unknown_one():
    normalise_feeds(IMAGE, one("float32", None))


def test_an_empty_tensor_is_rejected():
    assert_rejected(np.ones((0, 2, 3), np.float32), ONE, "is empty")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_nan_is_rejected_with_its_index(dtype):
    array = np.zeros((2, 2, 3), dtype)
    array[1, 0, 2] = array[1, 1, 0] = np.nan
    assert_rejected(array, (TensorSpec("image", (None, 2, 3), dtype),), r"2 NaN, the first at \[1, 0, 2\]")


def test_infinity_may_be_fed():
    normalise_feeds(np.full((1, 2, 3), np.inf, np.float32), ONE)


def test_the_error_has_the_index_of_the_feed():
    assert_rejected([IMAGE, IMAGE[0]], ONE, "feed 1: input 'image'")


def test_a_wider_float_is_cast_with_a_note():
    (feed,) = normalise_feeds(IMAGE.astype(np.float64), ONE)
    assert feed.reference["image"].dtype == feed.browser["image"].dtype == np.float32
    assert feed.notes == ("input 'image' was cast from float64 to float32, the dtype of the model's input",)


def test_a_float_out_of_range_is_rejected():
    assert_rejected(np.array([1e300]), one("float32"), "beyond the range of float32")


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int16])
def test_integers_in_range_are_cast_with_a_note(dtype):
    (feed,) = normalise_feeds(np.array([3, 4], dtype), one("int32"))
    assert feed.reference["x"].dtype == np.int32
    assert len(feed.notes) == 1


@pytest.mark.parametrize(("value", "dtype"), [(2**31, "int32"), (-1, "uint8"), (256, "uint8")])
def test_integers_out_of_range_are_rejected(value, dtype):
    assert_rejected(np.array([value]), one(dtype), f"values from {value} to {value}.*{dtype}, .*holds only")


def test_the_reference_has_the_sources_dtype_and_the_browser_its_own():
    (feed,) = normalise_feeds(np.array([1, 2], np.int64), one("int64"))
    assert (feed.reference["x"].dtype, feed.browser["x"].dtype) == (np.int64, np.int32)
    assert feed.notes == ("input 'x' was cast from int64 to int32, its dtype in the browser",)
    (feed,) = normalise_feeds(np.array([0.1]), one("float64"))
    assert (feed.reference["x"].dtype, feed.browser["x"].dtype) == (np.float64, np.float32)
    (feed,) = normalise_feeds(np.array([1j]), one("complex128"))
    assert (feed.reference["x"].dtype, feed.browser["x"].dtype) == (np.complex128, np.complex64)
    (feed,) = normalise_feeds(np.array([0.5], np.float16), one("float16"))
    assert (feed.reference["x"].dtype, feed.browser["x"].dtype) == (np.float16, np.float32)


def test_values_out_of_the_browsers_range_are_rejected():
    assert_rejected(np.array([2**40]), one("int64"), r"int32, its dtype in the browser, holds only")
    assert_rejected(
        np.array([1e300]), one("float64"), r"beyond the range of float32, its dtype in the browser"
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.uint8, "float32"),
        (np.int64, "float32"),
        (np.float32, "int32"),
        (np.bool_, "float32"),
        (np.int32, "bool"),
        (np.float32, "complex64"),
        (np.complex64, "float32"),
    ],
)
def test_casts_between_kinds_are_rejected_with_a_hint(dtype, expected):
    assert_rejected(
        np.ones(2, dtype),
        one(expected),
        rf"takes {expected}, but .* was given; write inputs\.astype\('{expected}'\)",
    )


@pytest.mark.parametrize("array", [np.array(["é", ""]), np.array([b"a", b""]), np.array(["x", b"y"], object)])
def test_strings_are_kept(array):
    (feed,) = normalise_feeds(array, one("str"))
    assert feed.browser["x"].dtype == object
    assert feed.browser["x"].tolist() == array.tolist()


def test_strings_and_numbers_do_not_mix():
    assert_rejected(np.array(["1"]), one("float32"), "takes float32, but strings was given")
    assert_rejected(np.ones(1), one("str"), "takes strings, but float64 was given")


@pytest.mark.parametrize("value", [{"x": object()}, {"x": [[1], [2, 3]]}, {"x": np.array([None])}])
def test_values_that_are_not_arrays_are_rejected(value):
    assert_rejected(value, one("float32"), "input 'x': .* cannot be converted to an array")


def test_dates_are_rejected():
    assert_rejected(np.array(["2020-01-01"], "datetime64[D]"), one("float32"), "which no model accepts")


def test_bfloat16_is_a_float():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    (feed,) = normalise_feeds(np.array([1.5], np.float32), one("bfloat16"))
    assert feed.reference["x"].dtype == ml_dtypes.bfloat16
    assert feed.browser["x"].dtype == np.float32
    assert_rejected(np.array([np.nan], ml_dtypes.bfloat16), one("bfloat16"), "1 NaN")
