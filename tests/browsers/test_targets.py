from __future__ import annotations

import pytest

from pytest_tfjs.browsers.targets import BACKENDS, VARIANTS, Target, parse_targets, parse_variants
from pytest_tfjs.errors import SettingsError


def test_target_names_are_parsed_and_printed():
    (target,) = parse_targets(["chrome"], ["webgl:f16"])
    assert (target.browser, target.backend, target.variant) == ("chrome", "webgl", "f16")
    assert target.id == "chrome-webgl:f16"
    assert str(target) == "webgl:f16 on chrome"
    assert target.half


def test_plain_backend_has_no_variant():
    (target,) = parse_targets(["chrome"], ["wasm"])
    assert (target.id, str(target), target.half) == ("chrome-wasm", "wasm on chrome", False)


def test_targets_keep_their_order_without_duplicates():
    targets = parse_targets(["chrome", "Chrome"], ["wasm", " webgl ", "wasm", "cpu"])
    assert [target.backend_variant for target in targets] == ["wasm", "webgl", "cpu"]


@pytest.mark.parametrize("backend", ["webgl", "webgl:f16", "webgl:unpacked", "webgpu"])
def test_cpu_forwarding_is_left_as_in_apps(backend):
    (target,) = parse_targets(["chrome"], [backend])
    assert not [name for name, _ in target.flags if "FORWARD" in name]


def test_variant_flags_override_backend_flags():
    threads, plain = parse_targets(["chrome"], ["wasm:threads", "wasm"])
    assert dict(threads.flags)["WASM_HAS_MULTITHREAD_SUPPORT"] is True
    assert dict(plain.flags) == {"WASM_HAS_MULTITHREAD_SUPPORT": False}


@pytest.mark.parametrize(
    ("backend", "packed"),
    [("webgl", True), ("webgl:f16", True), ("webgl:unpacked", False), ("webgpu", False), ("wasm", False)],
)
def test_only_webgl_packs_depthwise_convolutions(backend, packed):
    assert parse_targets(["chrome"], [backend])[0].packed is packed


def test_a_flag_decides_whether_webgl_packs_depthwise_convolutions():
    own = parse_variants(["webgl:plain WEBGL_PACK_DEPTHWISECONV=false", "webgl:own WEBGL_PACK=true"])
    found = parse_targets(["chrome"], ["webgl:plain", "webgl:own"], own)
    assert [target.packed for target in found] == [False, True]


@pytest.mark.parametrize(
    "line",
    [
        "webgl:x WEBGL_CPU_FORWARD=false WEBGL2_ISNAN_CUSTOM=true",
        "webgpu:x WEBGPU_CPU_FORWARD=false",
        "wasm:x WASM_HAS_SIMD_SUPPORT=true",
        "webgl:x CPU_HANDOFF_SIZE_THRESHOLD=64",
        "cpu:x KEEP_INTERMEDIATE_TENSORS=false",
    ],
)
def test_custom_variant_may_set_flags_of_its_backend_and_common_flags(line):
    own = parse_variants([line])
    (target,) = parse_targets(["chrome"], list(own), own)
    assert set(dict(target.flags)) >= {text.partition("=")[0] for text in line.split()[1:]}


def test_every_variant_belongs_to_a_backend_and_sets_a_flag():
    assert set(VARIANTS) <= set(BACKENDS)
    assert all(flags for variants in VARIANTS.values() for flags in variants.values())


def test_targets_are_hashable():
    assert len({Target("chrome", "cpu"), Target("chrome", "cpu"), *parse_targets(["chrome"], ["cpu"])}) == 1


@pytest.mark.parametrize(
    ("backend", "closest"),
    [("webg", "webgl"), ("webgl:fp16", "webgl:f16"), ("wasm:thread", "wasm:threads"), ("cpu:f16", "cpu")],
)
def test_unknown_backend_error_suggests_names(backend, closest):
    with pytest.raises(SettingsError, match="unknown backend") as caught:
        parse_targets(["chrome"], [backend])
    assert repr(backend) in str(caught.value)
    assert f"did you mean '{closest}'?" in str(caught.value)
    assert "wasm:threads" in str(caught.value).split("expected one of")[1]


def test_unknown_browser_error_lists_names():
    with pytest.raises(SettingsError, match=r"unknown browser 'netscape': expected one of chrome"):
        parse_targets(["netscape"], ["cpu"])


@pytest.mark.parametrize(
    ("browsers", "backends", "what"), [([], ["cpu"], "browser"), (["chrome"], [], "backend")]
)
def test_empty_target_list_is_rejected(browsers, backends, what):
    with pytest.raises(SettingsError, match=f"no {what} is selected"):
        parse_targets(browsers, backends)
