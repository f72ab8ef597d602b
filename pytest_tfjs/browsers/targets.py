"""Targets (browser × backend × variant), their flags, and how they are parsed."""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Flags = tuple[tuple[str, "bool | int | float"], ...]

# The flags of a backend in every variant. Threads need a cross-origin isolated page, which the harness page
# is and the pages of most apps are not: `wasm` has no threads, like those apps; `wasm:threads` has them. CPU
# forwarding is left on, as in apps; `page/forwarding.js` keeps float tensors on the GPU.
BACKENDS: Mapping[str, Flags] = {
    "cpu": (),
    "wasm": (("WASM_HAS_MULTITHREAD_SUPPORT", False),),
    "webgl": (),
    "webgpu": (),
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
_VARIANT = re.compile(r"(?P<backend>[^:\s]+):(?P<name>[A-Za-z0-9_.-]+)\Z")
_FLAG = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>\S+)\Z")
_INTEGER, _NUMBER = re.compile(r"-?\d+\Z"), re.compile(r"-?\d+\.\d+\Z")


@dataclass(frozen=True)
class Target:
    """A browser, a backend and a variant: what one test runs on.

    `flags`: the TF.js flags, set before the backend is created, and asserted after.
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
    def path(self) -> str:
        """The form that patterns are matched against: `chrome/webgl:f16`."""
        return f"{self.browser}/{self.backend_variant}"

    @property
    def half(self) -> bool:
        """Whether its flags make it compute in half precision."""
        flags = dict(self.flags)
        forced = flags.get("WEBGL_FORCE_F16_TEXTURES") is True
        return self.backend == "webgl" and (forced or flags.get("WEBGL_RENDER_FLOAT32_ENABLED") is False)

    @property
    def packed(self) -> bool:
        """Whether its depthwise convolutions are webgl's packed ones."""
        flags = dict(self.flags)
        return self.backend == "webgl" and bool(
            flags.get("WEBGL_PACK_DEPTHWISECONV", flags.get("WEBGL_PACK", True))
        )

    def matches(self, pattern: str) -> bool:
        """Whether it matches a pattern, such as `firefox/webgl*` or `*/wasm:threads`."""
        return fnmatch.fnmatchcase(self.path, pattern)

    def __str__(self) -> str:
        return f"{self.backend_variant} on {self.browser}"


def parse_targets(
    browsers: Sequence[str], backends: Sequence[str], own: Mapping[str, Flags] | None = None
) -> tuple[Target, ...]:
    """Every browser with every backend, in the order of the arguments, without duplicates.

    `backends`: names such as `webgl` and `webgl:f16`; `own`: the user's variants, from `parse_variants`.
    Raises SettingsError for an unknown name, with the known names and the closest one.
    """
    known = known_backends(own)
    names = [_known("browser", name, ENGINES) for name in browsers]
    chosen = [_known("backend", text, known) for text in backends]
    if not names or not chosen:
        what, all_of_them = ("backend", known) if names else ("browser", ENGINES)
        raise SettingsError(f"no {what} is selected: expected at least one of {', '.join(all_of_them)}")
    targets = (_target(browser, backend, known[backend]) for browser in names for backend in chosen)
    return tuple(dict.fromkeys(targets))


def known_backends(own: Mapping[str, Flags] | None = None) -> dict[str, Flags]:
    """The flags of each backend and variant, by names such as `webgl:f16`: built-in, then the user's own."""
    known: dict[str, Flags] = {}
    for backend, flags in BACKENDS.items():
        known[backend] = flags
        for variant, more in VARIANTS.get(backend, {}).items():
            known[f"{backend}:{variant}"] = _joined(flags, more)
    for name, more in (own or {}).items():
        known[name] = _joined(BACKENDS[name.partition(":")[0]], more)
    return known


def check_pattern(pattern: str, own: Mapping[str, Flags] | None = None) -> None:
    """Raises SettingsError if a pattern over targets, such as `firefox/webgl*`, can match no target."""
    paths = [target.path for target in parse_targets(list(ENGINES), list(known_backends(own)), own)]
    if any(fnmatch.fnmatchcase(path, pattern) for path in paths):
        return
    closest = difflib.get_close_matches(pattern, paths, n=1, cutoff=0.5)
    hint = f" (did you mean {closest[0]!r}?)" if closest else ""
    raise SettingsError(
        f"{pattern!r} matches no target{hint}: expected browser/backend or browser/backend:variant, with"
        f" browsers {', '.join(ENGINES)} and backends {', '.join(known_backends(own))}; * matches any text"
    )


def parse_variants(lines: Iterable[str]) -> dict[str, Flags]:
    """The user's own variants, by names such as `webgl:old`, from lines such as `webgl:old WEBGL_VERSION=1`.

    Values are true, false or numbers. Raises SettingsError for a line of another form, for a variant that
    exists already, and for a flag of another backend.
    """
    variants: dict[str, Flags] = {}
    for line in filter(str.strip, lines):
        name, *flags = line.split()
        match = _VARIANT.match(name)
        if match is None or not flags:
            raise SettingsError(
                f"{line.strip()!r} is not a variant: expected a backend, a name and flags, such as"
                " 'webgl:old WEBGL_VERSION=1'"
            )
        backend = _known("backend", match["backend"], BACKENDS)
        own = f"{backend}:{match['name'].lower()}"
        if own in variants or own in known_backends():
            raise SettingsError(f"{line.strip()!r}: the variant {own} already exists. Choose another name")
        variants[own] = tuple(dict(map(_flag, flags)).items())
        _check_flags(line.strip(), backend, variants[own])
    return variants


def _check_flags(line: str, backend: str, flags: Flags) -> None:
    for name, _ in flags:
        # The backend cpu has no flags; CPU_HANDOFF_SIZE_THRESHOLD is a flag of webgl.
        other = next((one for one in BACKENDS if one != "cpu" and name.startswith(one.upper())), backend)
        if other != backend:
            raise SettingsError(
                f"{line!r}: the flag {name} of {other} has no effect on {backend}. Remove the flag,"
                f" or name the variant {other}:…"
            )


def _flag(text: str) -> tuple[str, bool | int | float]:
    match = _FLAG.match(text)
    value = None if match is None else _value(match["value"])
    if match is None or value is None:
        raise SettingsError(f"{text!r} is not a flag: expected NAME=VALUE with true, false or a number")
    return match["name"], value


def _value(text: str) -> bool | int | float | None:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _NUMBER.match(text) else None


def _target(browser: str, name: str, flags: Flags) -> Target:
    backend, _, variant = name.partition(":")
    return Target(browser, backend, variant or None, flags)


def _joined(flags: Flags, more: Flags) -> Flags:
    """The flags of both; the value in `more` takes precedence."""
    return tuple({**dict(flags), **dict(more)}.items())


def _known(what: str, text: str, known: Iterable[str]) -> str:
    name = text.strip().lower()
    names = list(known)
    if name in names:
        return name
    closest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" (did you mean {closest[0]!r}?)" if closest else ""
    raise SettingsError(f"unknown {what} {text.strip()!r}{hint}: expected one of {', '.join(names)}")
