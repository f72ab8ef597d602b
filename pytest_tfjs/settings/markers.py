"""The markers `tfjs` (a test's settings) and `tfjs_xfail` (expected failures by target)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_tfjs.settings.settings import Settings

TFJS = "tfjs"
XFAIL = "tfjs_xfail"

ARGUMENTS = tuple(name for name, option in OPTIONS.items() if option.marker)
"""The arguments of the marker `tfjs`."""


def add_markers(config: pytest.Config) -> None:
    """Registers both markers, for `--markers` and `--strict-markers`."""
    config.addinivalue_line(
        "markers",
        f"{TFJS}({', '.join(ARGUMENTS)}): "
        "settings for the TensorFlow.js models of one test; they override the command line",
    )
    config.addinivalue_line(
        "markers",
        f"{XFAIL}(target, reason): on the targets that match, such as 'firefox/webgl' or '*/webgpu', "
        "the comparison is expected to fail; if it passes, the test fails",
    )


def apply_markers(settings: Settings, markers: Iterable[pytest.Mark]) -> Settings:
    """`settings`, overridden by the arguments of `tfjs` markers.

    `markers` is ordered closest first, as `Node.iter_markers` gives them; for each argument the closest one
    wins. Raises SettingsError for positional or unknown arguments and for values that are not valid.
    """
    arguments: dict[str, Any] = {}
    for marker in markers:
        if marker.args:
            raise SettingsError(
                "@pytest.mark.tfjs takes keyword arguments only, such as backends='wasm'; "
                f"got {marker.args!r}"
            )
        for name, value in marker.kwargs.items():
            if name not in ARGUMENTS:
                raise SettingsError(
                    f"@pytest.mark.tfjs has no argument {name!r}: expected one of {', '.join(ARGUMENTS)}"
                )
            arguments.setdefault(name, value)
    return settings.updated(arguments, "marker")


def expected_failure(mark: pytest.Mark) -> tuple[str, str]:
    """The `target` pattern and the `reason` of a `tfjs_xfail` marker.

    Raises SettingsError unless the marker has exactly these two keyword arguments, both texts that are not
    empty.
    """
    texts = all(isinstance(text, str) and text.strip() for text in mark.kwargs.values())
    if mark.args or not texts or mark.kwargs.keys() != {"target", "reason"}:
        arguments = [*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())]
        raise SettingsError(
            "@pytest.mark.tfjs_xfail needs exactly two keyword arguments, both non-empty strings, such as"
            ' (target="firefox/webgl", reason="...");'
            f" got {', '.join(arguments) or 'no arguments'}"
        )
    return mark.kwargs["target"], mark.kwargs["reason"]
