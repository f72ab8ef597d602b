"""Every setting, resolved once, with where it came from: call > marker > command line > ini > default."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings import values
from pytest_tfjs.settings.addresses import (
    Bind,
    JsonFile,
    PublicUrl,
    RemoteUrl,
    parse_bind,
    parse_json_file,
    parse_public_url,
    parse_remote,
    without_user_info,
)
from pytest_tfjs.settings.quantisation import spell_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

FORMATS = ("auto", "layers", "graph")
LAYERS = ("all", "outputs")
WEIGHT_CHECKS = ("fail", "tell")
ALONE = ("all", "none")
TAP_BUDGET = 256_000_000  # bytes


@dataclass(frozen=True)
class Settings:
    """The settings of one test, or of the run.

    `browsers` None: the first one found. `weights`: as `spell_weights` spells them. `rtol` and `atol` None:
    by the layer's arithmetic; `compression` None: by how the weights are stored. `alone`: which layers are
    run alone as well. `weight_check`: what a weight does that is not the source's. `allow_vacuous`: patterns
    over layers and inputs whose vacuity is meant. `sensitivity`: whether to measure which faults each
    comparison would have caught. `timeout`: in seconds. `variants`: the user's own, a line each, not parsed.
    `strict_targets`: whether a target that the machine cannot have fails its tests, which are skipped else.
    `tap_budget`: in bytes. `origins` tells by name where each value came from: `default`, `ini`,
    `command line`, `marker` or `call`.
    """

    backends: tuple[str, ...] = ("webgl", "wasm")
    browsers: tuple[str, ...] | None = None
    variants: tuple[str, ...] = ()
    strict_targets: bool = False
    layers: Literal["all", "outputs"] = "all"
    format: Literal["auto", "layers", "graph"] = "auto"
    weights: str = "float32"
    rtol: float | None = None
    atol: float | None = None
    alone: Literal["all", "none"] = "all"
    compression: float | None = None
    weight_check: Literal["fail", "tell"] = "fail"
    allow_vacuous: tuple[str, ...] = ()
    sensitivity: bool = False
    timeout: float = 300.0
    tap_budget: int = TAP_BUDGET
    headed: bool = False
    browser_binary: Path | None = None
    driver_binary: Path | None = None
    remote: RemoteUrl | None = None
    capabilities: JsonFile | None = None
    bind: Bind | None = None
    public_url: PublicUrl | None = None
    dist: Path | None = None
    json: Path | None = None
    repro: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        """Where the value of `name` came from."""
        return self.origins.get(name, "default")

    def spelled(self, name: str) -> str:
        """How the user wrote this setting: `--tfjs-backends=webgl`, `ini value tfjs_backends=webgl`."""
        value = getattr(self, name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        return f"{_spell(_SPELLINGS.get(self.origin(name), '{}'), name)}={text}"

    def updated(self, values: Mapping[str, Any], origin: str) -> Settings:
        """These settings with `values` over them; a value of None changes nothing.

        Raises SettingsError for a value that is not valid.
        """
        parsed = {}
        for name, value in values.items():
            if value is not None:
                parsed[name] = _parse(name, value, origin)
        origins = {**self.origins, **dict.fromkeys(parsed, origin)}
        return replace(self, **parsed, origins=origins)


_SPELLINGS = {
    "ini": "ini value tfjs_{}",
    "command line": "--tfjs-{}",
    "marker": "@pytest.mark.tfjs {}",
    "call": "{}",
}
"""How a setting is written, by where it comes from."""


def _spell(spelling: str, name: str) -> str:
    return spelling.format(name.replace("_", "-") if spelling.startswith("--") else name)


def _parse(name: str, value: Any, origin: str) -> Any:
    try:
        return _OPTIONS[name].parse(value)
    except SettingsError as error:
        shown = repr(without_user_info(value)) if name in _ADDRESSES else repr(value)
        raise SettingsError(f"{_spell(_SPELLINGS[origin], name)}={shown}: {error}") from None


class _Option(NamedTuple):
    parse: Callable[[Any], Any]
    metavar: str | None
    help: str


_OPTIONS: Mapping[str, _Option] = {
    "backends": _Option(
        values.names,
        "LIST",
        "backends and variants, separated by commas: cpu, wasm, webgl, webgpu, webgl:f16, ... "
        "(default: webgl,wasm)",
    ),
    "browsers": _Option(values.names, "LIST", "browsers, separated by commas (default: the first one found)"),
    "strict_targets": _Option(
        values.flag, None, "fail the tests of a target that this machine cannot have (default: skip them)"
    ),
    "layers": _Option(
        values.one_of(*LAYERS), "WHICH", "compare all layers, or the model's outputs only (default: all)"
    ),
    "format": _Option(
        values.one_of(*FORMATS),
        "FORMAT",
        "auto, layers or graph (default: auto: layers for Keras 2, graph for all else)",
    ),
    "weights": _Option(
        spell_weights,
        "DTYPE",
        "store weights as float32, float16, uint16 or uint8, or by pattern: uint8:*stem*,float16 "
        "(default: float32)",
    ),
    "rtol": _Option(
        values.number, "X", "tolerance relative to each element (default: by the layer's arithmetic)"
    ),
    "atol": _Option(
        values.number,
        "X",
        "tolerance relative to the layer's largest activation (default: by its arithmetic)",
    ),
    "alone": _Option(
        values.one_of(*ALONE),
        "WHICH",
        "all: also run each layer alone, on the reference's inputs, to find the one that makes an error; "
        "none: run only the whole model (default: all)",
    ),
    "compression": _Option(
        values.number,
        "X",
        "how far quantised weights may move an output, relative to its largest value (default: by dtype)",
    ),
    "weight_check": _Option(
        values.one_of(*WEIGHT_CHECKS),
        "HOW",
        "fail: weights that are not the source's fail a test; tell: they are told only (default: fail)",
    ),
    "allow_vacuous": _Option(
        values.names,
        "LIST",
        "names or patterns of outputs, layers and inputs that are meant to be of one value or not to change",
    ),
    "sensitivity": _Option(
        values.flag, None, "measure which faults each comparison would have caught (default: no)"
    ),
    "timeout": _Option(values.seconds, "SECONDS", "limit of one job in the browser (default: 300)"),
    "tap_budget": _Option(
        values.byte_count,
        "BYTES",
        "activations held in memory at once, such as 256MB or 1GiB (default: 256MB)",
    ),
    "headed": _Option(values.flag, None, "show the browser"),
    "browser_binary": _Option(values.program, "FILE", "the browser to start (default: found)"),
    "driver_binary": _Option(values.program, "FILE", "its WebDriver program (default: found)"),
    "remote": _Option(
        parse_remote,
        "URL",
        "run the browsers on a Selenium Grid or a cloud service, such as http://grid:4444 (default: here)",
    ),
    "capabilities": _Option(
        parse_json_file,
        "FILE",
        "a JSON object of capabilities to ask the Grid for, over those of the browser (default: none)",
    ),
    "bind": _Option(
        parse_bind,
        "HOST[:PORT]",
        "where the server listens (default: 127.0.0.1, at a free port)",
    ),
    "public_url": _Option(
        parse_public_url,
        "URL",
        "where browsers reach the server, such as https://ci.example/tfjs; {port} stands for the port bound "
        "(default: where it listens)",
    ),
    "dist": _Option(
        values.directory,
        "DIR",
        "your own copy of TF.js: a node_modules folder (default: the copy shipped with the plugin)",
    ),
    "json": _Option(values.new_file, "FILE", "write the results as JSON"),
    "repro": _Option(
        values.new_directory, "DIR", "write each wrong layer as a page that stands alone, for a TF.js issue"
    ),
}

_ADDRESSES = ("remote", "public_url")
_PATHS = ("dist", "json", "repro", "browser_binary", "driver_binary", "capabilities")

MARKER = (
    "backends",
    "browsers",
    "layers",
    "format",
    "weights",
    "rtol",
    "atol",
    "alone",
    "compression",
    "weight_check",
    "allow_vacuous",
    "sensitivity",
    "timeout",
    "tap_budget",
)
"""The arguments of the marker `tfjs`."""


def option_of(name: str) -> str:
    """The command line option of a setting: `--tfjs-browser-binary`."""
    return "--tfjs-" + name.replace("_", "-")


FLAGS = frozenset(option_of(name) for name, option in _OPTIONS.items() if option.metavar is None)
"""The command line options that take no value."""


def add_options(parser: pytest.Parser) -> None:
    """Adds the command line options and ini values."""
    group = parser.getgroup("tfjs", "TensorFlow.js models in real browsers")
    for name, option in _OPTIONS.items():
        flag = option_of(name)
        if option.metavar is None:
            group.addoption(flag, dest=f"tfjs_{name}", action="store_true", default=None, help=option.help)
        else:
            group.addoption(flag, dest=f"tfjs_{name}", default=None, metavar=option.metavar, help=option.help)
        parser.addini(f"tfjs_{name}", f"default of {flag}", default=None)
    parser.addini(
        "tfjs_variants",
        "variants of your own, one a line: backend:name and TF.js flags, such as webgl:old WEBGL_VERSION=1",
        type="linelist",
        default=[],
    )


def resolve_settings(config: pytest.Config) -> Settings:
    """The run's settings, from ini file and command line. Raises SettingsError for what is not valid."""
    ini: dict[str, Any] = {}
    for name in _OPTIONS:
        value = config.getini(f"tfjs_{name}")
        if value not in (None, ""):
            ini[name] = config.rootpath / value if name in _PATHS else value
    given = {name: config.getoption(f"tfjs_{name}") for name in _OPTIONS}
    settings = Settings(variants=tuple(config.getini("tfjs_variants")))
    return settings.updated(ini, "ini").updated(given, "command line")


def apply_markers(settings: Settings, markers: Iterable[pytest.Mark]) -> Settings:
    """`settings` with the arguments of the `tfjs` markers over them; `markers` are given closest first."""
    arguments: dict[str, Any] = {}
    for marker in markers:
        if marker.args:
            raise SettingsError(
                "@pytest.mark.tfjs takes keyword arguments only, such as backends='wasm'; "
                f"it was given {marker.args!r}"
            )
        for name, value in marker.kwargs.items():
            if name not in MARKER:
                raise SettingsError(
                    f"@pytest.mark.tfjs has no argument {name!r}: expected one of {', '.join(MARKER)}"
                )
            arguments.setdefault(name, value)
    return settings.updated(arguments, "marker")


def expected_failure(mark: pytest.Mark) -> tuple[str, str]:
    """The pattern over targets and the reason that a marker `tfjs_xfail` gives. Raises SettingsError."""
    given = all(isinstance(text, str) and text.strip() for text in mark.kwargs.values())
    if mark.args or not given or mark.kwargs.keys() != {"target", "reason"}:
        there = [*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())]
        raise SettingsError(
            "@pytest.mark.tfjs_xfail takes target= and reason=, and nothing else: such as"
            f' target="firefox/webgl", reason="..."; it was given {", ".join(there) or "nothing"}'
        )
    return mark.kwargs["target"], mark.kwargs["reason"]


SETTINGS = pytest.StashKey[Settings]()
"""Where a run's `pytest.Config.stash` holds its settings."""
