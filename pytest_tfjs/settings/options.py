"""The table of options: each row is a command line option and an ini value.

Some options are marker arguments too. To add an option, add a row to `OPTIONS` here and a field of the same
name, with its default, to `pytest_tfjs.settings.settings.Settings`. The option `--tfjs-NAME`, the ini value
`tfjs_NAME`, parsing and messages follow from these two; `docs/settings.md` lists the option for users, and
a test compares the two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


class Option(NamedTuple):
    """One row of the table.

    - `parser`: the words that the option accepts, or `module:function` in `pytest_tfjs.settings`, which gives
      the value or raises SettingsError. A run that does not set the option does not import the module.
    - `metavar`: the placeholder for the value in `--help`; None for an option without a value.
    - `help`: the text of `--help`, with the default.
    - `marker`: whether `@pytest.mark.tfjs` takes it too.
    - `is_path`: a relative path in an ini file starts at pytest's root directory.
    - `may_hold_password`: messages show the value without its user name and password.
    """

    parser: str | tuple[str, ...]
    metavar: str | None
    help: str
    marker: bool = False
    is_path: bool = False
    may_hold_password: bool = False

    def parse(self, value: Any) -> Any:
        """The value, from text or from a value in Python. Raises SettingsError if it is not valid."""
        if isinstance(self.parser, tuple):
            if value not in self.parser:
                raise SettingsError(f"expected one of {', '.join(self.parser)}")
            return str(value)
        module, _, function = self.parser.partition(":")
        return getattr(import_module(f"pytest_tfjs.settings.{module}"), function)(value)


OPTIONS: Mapping[str, Option] = {
    "backends": Option(
        "values:names",
        "LIST",
        "backends and variants, separated by commas: cpu, wasm, webgl, webgpu, webgl:f16, ... "
        "(default: webgl,wasm)",
        marker=True,
    ),
    "browsers": Option(
        "values:names", "LIST", "browsers, separated by commas (default: the first one found)", marker=True
    ),
    "strict_targets": Option(
        "values:flag",
        None,
        "fail the tests of a target that this machine does not support (default: skip them)",
    ),
    "layers": Option(
        ("all", "outputs"),
        "WHICH",
        "compare all layers, or only the model's outputs (default: all)",
        marker=True,
    ),
    "format": Option(
        ("auto", "layers", "graph"),
        "FORMAT",
        "layers, graph, or auto, which is layers for Keras 2 and graph for everything else (default: auto)",
        marker=True,
    ),
    "weights": Option(
        "quantisation:spell_weights",
        "DTYPE",
        "store weights as float32, float16, uint16 or uint8, or by pattern: uint8:*stem*,float16 "
        "(default: float32)",
        marker=True,
    ),
    "rtol": Option(
        "values:number",
        "X",
        "tolerance relative to each element (default: derived from the layer's arithmetic)",
        marker=True,
    ),
    "atol": Option(
        "values:number",
        "X",
        "tolerance relative to the layer's largest activation (default: derived from the layer's arithmetic)",
        marker=True,
    ),
    "alone": Option(
        ("all", "none"),
        "WHICH",
        "all: also run each layer alone, on the reference's inputs, to find the layer that causes an error; "
        "none: run only the whole model (default: all)",
        marker=True,
    ),
    "compression": Option(
        "values:number",
        "X",
        "how much quantised weights may change an output, relative to the largest value of the output "
        "(default: depends on the dtype)",
        marker=True,
    ),
    "weight_check": Option(
        ("fail", "tell"),
        "HOW",
        "fail: a test fails if the artifacts' weights differ from the source's; tell: only report the "
        "difference (default: fail)",
        marker=True,
    ),
    "allow_vacuous": Option(
        "values:names",
        "LIST",
        "names or patterns of the outputs, layers and inputs that may hold one single value, or the same "
        "values for every feed",
        marker=True,
    ),
    "sensitivity": Option(
        "values:flag",
        None,
        "measure which faults each comparison would have caught (default: no)",
        marker=True,
    ),
    "timeout": Option(
        "values:seconds",
        "SECONDS",
        "time limit of each job in the browser and of each call of the TensorFlow process (default: 300)",
        marker=True,
    ),
    "tap_budget": Option(
        "values:byte_count",
        "BYTES",
        "memory limit for activations, such as 256MB or 1GiB (default: 256MB)",
        marker=True,
    ),
    "headed": Option("values:flag", None, "show the browser"),
    "browser_binary": Option(
        "values:program", "FILE", "the browser to start (default: found automatically)", is_path=True
    ),
    "driver_binary": Option(
        "values:program",
        "FILE",
        "the browser's WebDriver program (default: found automatically)",
        is_path=True,
    ),
    "remote": Option(
        "addresses:parse_remote",
        "URL",
        "run the browsers on a Selenium Grid or a cloud service, such as http://grid:4444 "
        "(default: on this machine)",
        may_hold_password=True,
    ),
    "capabilities": Option(
        "addresses:parse_json_file",
        "FILE",
        "a JSON object of capabilities to request from the Grid, added to the browser's own (default: none)",
        is_path=True,
    ),
    "bind": Option(
        "addresses:parse_bind",
        "HOST[:PORT]",
        "where the local server listens (default: 127.0.0.1, at a free port)",
    ),
    "public_url": Option(
        "addresses:parse_public_url",
        "URL",
        "where browsers reach the local server, such as https://ci.example/tfjs; {port} stands for the "
        "server's port (default: where the server listens)",
        may_hold_password=True,
    ),
    "dist": Option(
        "values:directory",
        "DIR",
        "your own copy of TF.js: a node_modules folder (default: the copy shipped with the plugin)",
        is_path=True,
    ),
    "json": Option("values:new_file", "FILE", "write the results as JSON", is_path=True),
    "repro": Option(
        "values:new_directory",
        "DIR",
        "write each wrong layer as a self-contained page, for a TF.js issue",
        is_path=True,
    ),
}
"""Every option, by the name of its field in `Settings`."""


def option_of(name: str) -> str:
    """The command line option of a setting: `--tfjs-browser-binary`."""
    return "--tfjs-" + name.replace("_", "-")


FLAGS = frozenset(option_of(name) for name, option in OPTIONS.items() if option.metavar is None)
"""The command line options that take no value."""


def add_options(parser: pytest.Parser) -> None:
    """Adds the command line options and ini values to pytest's."""
    group = parser.getgroup("tfjs", "TensorFlow.js models in real browsers")
    for name, option in OPTIONS.items():
        flag = option_of(name)
        if option.metavar is None:
            group.addoption(flag, dest=f"tfjs_{name}", action="store_true", default=None, help=option.help)
        else:
            group.addoption(flag, dest=f"tfjs_{name}", default=None, metavar=option.metavar, help=option.help)
        parser.addini(f"tfjs_{name}", f"default of {flag}", default=None)
    parser.addini(
        "tfjs_variants",
        "your own variants, one per line: backend:name and TF.js flags, such as webgl:old WEBGL_VERSION=1",
        type="linelist",
        default=[],
    )
