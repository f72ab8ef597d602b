"""The settings of a run or a test, and where each value came from.

The first of call, marker, command line, ini file and default that has a value for a setting decides. The
options themselves are rows of `pytest_tfjs.settings.options.OPTIONS`.
"""

# Without `from __future__ import annotations`: NamedTuple compiles each annotation that is text, which takes
# twice as long as evaluating it.

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.options import OPTIONS, option_of

if TYPE_CHECKING:
    from pytest_tfjs.settings.addresses import Bind, JsonFile, PublicUrl, RemoteUrl

TAP_BUDGET = 256_000_000
"""The default of `tap_budget`, in bytes."""


class Settings(NamedTuple):
    """The settings of one test, or of the run.

    A NamedTuple and not a frozen dataclass, whose creation would take a third of the plugin's import time.

    - `browsers` None: the first one found.
    - `variants`: the user's own, one line each, not yet parsed.
    - `strict_targets`: tests of a target that the machine does not support fail; otherwise they are skipped.
    - `weights`: as `spell_weights` writes them.
    - `rtol`, `atol` None: by the layer's arithmetic. `compression` None: by the dtype of stored weights.
    - `alone`: which layers also run alone.
    - `weight_check`: what happens if a weight of the artifacts differs from the source's.
    - `allow_vacuous`: patterns over layers and inputs that may be vacuous.
    - `sensitivity`: whether to measure which faults each comparison would have caught.
    - `timeout`: in seconds. `tap_budget`: in bytes.
    - `origins`: by name where a value came from: `ini`, `command line`, `marker` or `call`; a name that is
      missing has its default.
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
    remote: "RemoteUrl | None" = None
    capabilities: "JsonFile | None" = None
    bind: "Bind | None" = None
    public_url: "PublicUrl | None" = None
    dist: Path | None = None
    json: Path | None = None
    repro: Path | None = None
    origins: Mapping[str, str] = MappingProxyType({})

    def origin(self, name: str) -> str:
        """Where the value of `name` came from: `default`, `ini`, `command line`, `marker` or `call`."""
        return self.origins.get(name, "default")

    def spelled(self, name: str) -> str:
        """How the user wrote this setting: `--tfjs-backends=webgl`, `ini value tfjs_backends=webgl`."""
        value = getattr(self, name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        return f"{_written(name, self.origin(name))}={text}"

    def updated(
        self, values: Mapping[str, Any], origin: str, written: Mapping[str, Any] = MappingProxyType({})
    ) -> "Settings":
        """These settings, overridden by those of `values` that are not None.

        Raises SettingsError for a value that is not valid; the message shows it as `origin` writes it.
        `written`: values as the user wrote them, where `values` has others.
        """
        parsed = {
            name: _parse(name, value, origin, written.get(name, value))
            for name, value in values.items()
            if value is not None
        }
        if not parsed:
            return self
        return self._replace(**parsed, origins={**self.origins, **dict.fromkeys(parsed, origin)})


def resolve_settings(config: pytest.Config) -> Settings:
    """The run's settings, from ini file and command line. Raises SettingsError for a value that is not valid.

    Relative paths in the ini file start at pytest's root directory.
    """
    ini = {name: _ini_value(config, name) for name in OPTIONS}
    command_line = {name: config.getoption(f"tfjs_{name}") for name in OPTIONS}
    settings = Settings(variants=tuple(config.getini("tfjs_variants")))
    written = {name: config.getini(f"tfjs_{name}") for name in OPTIONS if OPTIONS[name].is_path}
    return settings.updated(ini, "ini", written).updated(command_line, "command line")


def _ini_value(config: pytest.Config, name: str) -> Any | None:
    """The ini file's value of a setting; None if it has none, or an empty one."""
    value = config.getini(f"tfjs_{name}")
    if value is None or value == "":
        return None
    if not OPTIONS[name].is_path:
        return value
    from pytest_tfjs.settings.values import expand_home

    try:
        return config.rootpath / expand_home(value)
    except SettingsError as error:
        raise _invalid(name, value, "ini", error) from None


def _parse(name: str, value: Any, origin: str, written: Any) -> Any:
    try:
        return OPTIONS[name].parse(value)
    except SettingsError as error:
        raise _invalid(name, written, origin, error) from None


def _invalid(name: str, value: Any, origin: str, error: SettingsError) -> SettingsError:
    if OPTIONS[name].may_hold_password:
        from pytest_tfjs.settings.addresses import without_user_info

        value = without_user_info(value)
    text = repr(value)
    if origin in ("ini", "command line") and isinstance(value, str) and value.isprintable():
        text = value
    return SettingsError(f"{_written(name, origin)}={text}: {error}")


def _written(name: str, origin: str) -> str:
    """A setting's name as users write it in its origin."""
    if origin == "command line":
        return option_of(name)
    return {"ini": f"ini value tfjs_{name}", "marker": f"@pytest.mark.tfjs {name}"}.get(origin, name)


SETTINGS = pytest.StashKey[Settings]()
"""The key of the run's settings in `pytest.Config.stash`."""
