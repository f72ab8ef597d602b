from __future__ import annotations

import contextlib
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import load

from pytest_tfjs.formats.safetensors import WireError, decode, encode, write
from tests.support.paths import TESTS

GOLDEN = TESTS / "page" / "golden.safetensors"
GOLDEN_TENSORS = {
    "float": np.array([[0.0, -0.0, 1.5], [np.inf, -np.inf, np.nan]], np.float32),
    "int": np.array([-(2**31), -1, 0, 2**31 - 1], np.int32),
    "bool": np.array([[True], [False], [True]]),
    "complex": np.array([1 + 2j, -3.5j], np.complex64),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((2, 0, 3), np.float32),
    "strings": np.array([["", "ä€😀"], ["a/b", '"\n']]),
    "ends in NUL": np.array(["a\0"], object),
    "no strings": np.zeros((0,), np.str_),
    "__proto__": np.array([7], np.int32),
    "ünïcode/:0": np.array([True]),
    "": np.array([1.0], np.float32),
}

DTYPES = st.sampled_from(
    ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", ">f4", ">i4", ">c8"]
).map(np.dtype)
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = TEXT.filter(lambda name: name != "__metadata__")


@st.composite
def tensors(draw):
    if draw(st.booleans()):
        return draw(npst.arrays(draw(DTYPES), draw(SHAPES)))
    shape = draw(SHAPES)
    values = draw(st.lists(TEXT, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(values, object).reshape(shape)


def written(sent):
    stream = io.BytesIO()
    write(stream, sent)
    return stream.getvalue()


def assert_same(actual, expected):
    assert actual.shape == expected.shape
    if expected.dtype.kind in "USO":
        assert actual.dtype.kind in "UO"
        assert actual.tolist() == expected.tolist()
    else:
        assert actual.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(actual, expected)


@given(st.dictionaries(NAMES, tensors(), max_size=6))
def test_written_tensors_round_trip(sent):
    body = written(sent)
    received = decode(body)
    assert received.keys() == sent.keys()
    for name, value in sent.items():
        assert_same(received[name], value)
        if value.dtype.kind not in "USO":
            assert received[name].flags.aligned
    assert load(body).keys() == {name for name, value in sent.items() if value.dtype.kind not in "USO"}


@given(st.dictionaries(NAMES, tensors(), max_size=6))
def test_encoded_tensors_round_trip(sent):
    received = decode(encode(sent))
    assert set(received) == set(sent)
    for name, value in sent.items():
        assert_same(received[name], value)


def test_nan_payloads_and_signed_zeros_are_kept():
    bits = np.array([0x7FC00001, 0xFFC00000, 0x80000000, 0x00000001], np.uint32)
    (received,) = decode(encode({"x": bits.view(np.float32)})).values()
    assert received.view(np.uint32).tolist() == bits.tolist()


def test_slices_and_transposed_arrays_keep_their_values():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array.T, array[:, ::-1], array[..., 1], array[1, 2, 3]):
        assert_same(decode(encode({"x": view}))["x"], view)


def test_bytes_become_text():
    received = decode(encode({"x": np.array([b"a", "ä".encode()], object)}))["x"]
    assert received.tolist() == ["a", "ä"]


def test_the_safetensors_package_reads_our_files():
    sent = {"x": np.arange(3, dtype=np.int32), "y": np.array([[True]])}
    for name, value in load(encode(sent)).items():
        assert_same(value, sent[name])


def test_decoded_arrays_are_writable_views():
    body = bytearray(encode({"x": np.zeros(2, np.float32)}))
    decode(body)["x"][1] = 1
    assert decode(body)["x"].tolist() == [0, 1]


def test_bytes_other_than_0_and_1_are_true():
    body = encode({"x": np.array([True, False, True])})
    at = body.index(b"\1\0\1", 8 + struct.unpack("<Q", body[:8])[0])
    changed = body[:at] + b"\2\0\xff" + body[at + 3 :]
    assert decode(changed)["x"].view(np.uint8).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.zeros(1, "M8[s]"), "datetime64"),
        (np.zeros(1, np.complex128), "complex128"),
        (np.array([1, None], object), "holds int: expected str or bytes"),
        (np.array([b"\xff"], object), "not UTF-8"),
    ],
)
def test_tensors_that_cannot_be_written_are_refused_by_name(value, why):
    with pytest.raises(WireError, match=f"'feed x'.*{why}"):
        encode({"feed x": value})


@pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
def test_names_that_cannot_be_written_are_refused(name):
    with pytest.raises(WireError, match="name"):
        encode({name: np.zeros(1, np.float32)})


def file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), begin=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def strings(text, others=None, data=b""):
    return file({"__metadata__": {"pytest_tfjs.strings": text}, **(others or {})}, data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        file(b"{"),
        file(b"[" * 100_000),
        file([]),
        file({"x": 1}, b"\0" * 4),
        file({"x": {"dtype": "F32", "shape": [1]}}, b"\0" * 4),
        file({"x": entry(dtype="F8")}, b"\0" * 4),
        file({"x": entry(shape=(2,))}, b"\0" * 4),
        file({"x": entry(shape=(-1,), end=-4)}, b"\0" * 4),
        file({"x": entry(shape=(2**62, 4))}, b"\0" * 4),
        file({"x": {**entry(), "shape": [1.0]}}, b"\0" * 4),
        file({"x": {**entry(), "shape": [True]}}, b"\0" * 4),
        file({"x": entry()}, b"\0" * 3),
        file({"x": entry()}, b"\0" * 5),
        file({"x": entry(begin=4, end=8)}, b"\0" * 8),
        file({"x": entry(), "y": entry()}, b"\0" * 4),
        file({"x": {**entry(), "data_offsets": [0, 1e400]}}, b"\0" * 4),
        file({"x": {**entry(), "data_offsets": [0.5, 4.5]}}, b"\0" * 4),
        file({"x": {**entry(), "data_offsets": [False, 4]}}, b"\0" * 4),
        file({"x": {**entry(), "data_offsets": ["0", "4"]}}, b"\0" * 4),
        file({"x": {**entry(), "data_offsets": [0, 4, 4]}}, b"\0" * 4),
        file({"x": [0, 4]}, b"\0" * 4),
        file({"x": entry(shape=(1,) * 200)}, b"\0" * 4),
        file({"x": entry(shape=(0, 2**62, 2**62), end=0)}),
        file({"x": entry(shape=(0, 2**200), end=0)}),
        file({"x": entry(shape=(10**4000,))}, b"\0" * 4),
        file({"__metadata__": {"pytest_tfjs.strings": "{"}}),
        file({"__metadata__": {"pytest_tfjs.strings": '{"x": {"shape": [1], "values": [1]}}'}}),
        file({"__metadata__": {"pytest_tfjs.strings": '{"x": {"shape": [2], "values": ["a"]}}'}}),
        file({"__metadata__": 1}),
        file({"__metadata__": {"pytest_tfjs.strings": ["{}"]}}),
        strings('{"x": {"shape": [1], "values": {"a": "b"}}}'),
        strings('{"x": {"shape": [1], "values": "a"}}'),
        strings('{"x": {"shape": [1], "values": ["a"]}, "x": {"shape": [1], "values": ["b"]}}'),
        strings('{"\\ud800": {"shape": [1], "values": ["a"]}}'),
        strings('{"x": {"shape": [1], "values": ["a"]}}', {"x": entry()}, b"\0" * 4),
        file(b'{"x": %s, "x": %s}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 4),
        file(b'{"\\ud800": %s}' % json.dumps(entry()).encode(), b"\0" * 4),
        file({"x": {**entry(), "shape": [float("nan")]}}, b"\0" * 4),
    ],
)
def test_invalid_files_are_refused(body):
    with pytest.raises(WireError):
        decode(body)


def test_one_long_string_does_not_widen_all_elements():
    values = ["a" * 1_000_000, *[""] * 200_000]
    received = decode(encode({"x": np.array(values, object)}))["x"]
    assert received.tolist() == values
    assert received.nbytes <= 8 * len(values)


def test_strings_of_similar_length_have_dtype_u():
    assert decode(encode({"x": np.array(["", "a", "a longer one"])}))["x"].dtype == "U12"


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_wire_errors(body):
    with contextlib.suppress(WireError):
        decode(body)


@given(st.data())
def test_a_changed_byte_raises_only_wire_errors(data):
    body = bytearray(encode({"a": np.arange(3, dtype=np.float32), "s": np.array(["x"])}))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        decode(body)


def test_the_file_read_by_the_page_tests_is_current():
    # tests/page/safetensors.test.js reads this file, which encode() wrote from these tensors.
    received = decode(GOLDEN.read_bytes())
    assert set(received) == set(GOLDEN_TENSORS)
    for name, value in GOLDEN_TENSORS.items():
        assert_same(received[name], value)
