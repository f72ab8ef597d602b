"""Targets: what a test runs on, browser × backend × variant, and the flags that each stands for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Flags = tuple[tuple[str, "bool | int | float"], ...]

# Set on a backend whatever the variant. With CPU forwarding on, small tensors are computed in JavaScript in
# place of the GPU. Threads need a page that is cross-origin isolated, as ours is and most apps' are not:
# plain `wasm` is what those run, `wasm:threads` asks for threads.
BACKENDS: Mapping[str, Flags] = {
    "cpu": (),
    "wasm": (("WASM_HAS_MULTITHREAD_SUPPORT", False),),
    "webgl": (("WEBGL_CPU_FORWARD", False),),
    "webgpu": (("WEBGPU_CPU_FORWARD", False),),
}
VARIANTS: Mapping[str, Mapping[str, Flags]] = {
    "wasm": {
        "plain": (("WASM_HAS_SIMD_SUPPORT", False),),
        "simd": (("WASM_HAS_SIMD_SUPPORT", True),),
        "threads": (("WASM_HAS_SIMD_SUPPORT", True), ("WASM_HAS_MULTITHREAD_SUPPORT", True)),
    },
    "webgl": {
        "f16": (("WEBGL_FORCE_F16_TEXTURES", True),),
        "unpacked": (("WEBGL_PACK", False),),
    },
}


@dataclass(frozen=True)
class Target:
    """What one test runs on.

    `flags`: the TF.js flags set before the backend is made, and asserted after.
    """

    browser: str
    backend: str
    variant: str | None = None
    flags: Flags = ()

    @property
    def backend_variant(self) -> str:
        """The backend as users write it: `webgl`, `webgl:f16`."""
        return self.backend if self.variant is None else f"{self.backend}:{self.variant}"

    @property
    def id(self) -> str:
        """The part of a test's id that names the target: `chrome-webgl:f16`."""
        return f"{self.browser}-{self.backend_variant}"

    @property
    def half(self) -> bool:
        """Whether the variant computes in half precision."""
        return self.variant == "f16"

    def __str__(self) -> str:
        return f"{self.backend_variant} on {self.browser}"


def parse_targets(browsers: Sequence[str], backends: Sequence[str]) -> tuple[Target, ...]:
    """Every browser with every backend, in the order given, without duplicates.

    `backends`: names as users write them, `webgl` or `webgl:f16`. Raises SettingsError for a name that is not
    known, with the known ones and the closest.
    """
    names = [_known("browser", name, ENGINES) for name in browsers]
    choices = [_parse_backend(text) for text in backends]
    if not names or not choices:
        what = "backend" if names else "browser"
        raise SettingsError(f"no {what} to run on: name at least one of {', '.join(_all_names(what))}")
    targets = (
        Target(browser, backend, variant, _flags(backend, variant))
        for browser in names
        for backend, variant in choices
    )
    return tuple(dict.fromkeys(targets))


def _parse_backend(text: str) -> tuple[str, str | None]:
    known = {name: name for name in _all_names("backend")}
    backend, _, variant = _known("backend", text, known).partition(":")
    return backend, variant or None


def _all_names(what: str) -> list[str]:
    if what == "browser":
        return list(ENGINES)
    return [
        name
        for backend in BACKENDS
        for name in (backend, *(f"{backend}:{variant}" for variant in VARIANTS.get(backend, {})))
    ]


def _known(what: str, text: str, known: Iterable[str]) -> str:
    name = text.strip().lower()
    names = list(known)
    if name in names:
        return name
    closest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" (did you mean {closest[0]!r}?)" if closest else ""
    raise SettingsError(f"unknown {what} {text.strip()!r}{hint}: expected one of {', '.join(names)}")


def _flags(backend: str, variant: str | None) -> Flags:
    """The backend's flags and the variant's; where both set one, the variant's value holds."""
    own = VARIANTS[backend][variant] if variant is not None else ()
    return tuple({**dict(BACKENDS[backend]), **dict(own)}.items())
