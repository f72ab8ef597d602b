from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.addresses import JsonFile
from pytest_tfjs.settings.markers import apply_markers
from pytest_tfjs.settings.options import FLAGS, OPTIONS, option_of
from pytest_tfjs.settings.settings import SETTINGS, Settings, resolve_settings
from tests.support.setting_values import INVALID, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("only_this_plugin")


@pytest.fixture
def resolve(pytester: pytest.Pytester) -> Callable[..., Settings]:
    """Gives the settings of a run with these arguments, in a folder whose pytest.ini has these lines."""

    pytester.makefile(".json", capabilities='{"a": 1}')
    pytester.mkdir("node_modules")

    def run(*arguments: str, ini: str = "") -> Settings:
        pytester.makefile(".ini", pytest=f"[pytest]\n{ini}\n")
        return resolve_settings(pytester.parseconfig(*arguments))

    return run


def expected(name: str, folder: Path) -> object:
    value = VALUES[name][1]
    if isinstance(value, JsonFile):
        return JsonFile(folder / value.path, value.content)
    return folder / value if isinstance(value, Path) else value


def test_the_documented_defaults(resolve):
    settings = resolve()
    assert settings == Settings()
    assert settings.backends == ("webgl", "wasm")
    assert (settings.browsers, settings.layers, settings.format, settings.weights) == (
        None, "all", "auto", "float32",
    )  # fmt: skip
    assert (settings.rtol, settings.atol, settings.timeout, settings.headed) == (None, None, 300.0, False)
    assert settings.origin("backends") == "default"


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_has_an_option(resolve, pytester, name):
    option = option_of(name)
    arguments = (option,) if option in FLAGS else (option, VALUES[name][0])
    settings = resolve(*arguments)
    assert getattr(settings, name) == expected(name, pytester.path)
    assert settings.origin(name) == "command line"
    assert {other for other in VALUES if settings.origin(other) != "default"} == {name}


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_has_an_ini_value(resolve, pytester, name):
    settings = resolve(ini=f"tfjs_{name} = {VALUES[name][0]}")
    assert getattr(settings, name) == expected(name, pytester.path)
    assert settings.origin(name) == "ini"


def test_paths_in_the_ini_file_start_at_the_root_directory(resolve, pytester, monkeypatch):
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    settings = resolve(
        "--rootdir", str(pytester.path), ini="tfjs_dist = node_modules\ntfjs_json = out/x.json"
    )
    assert settings.dist == pytester.path / "node_modules"
    assert settings.json == pytester.path / "out" / "x.json"


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.is_path])
def test_a_tilde_in_the_ini_file_is_the_home_directory(resolve, pytester, monkeypatch, name):
    home = pytester.mkdir("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for folder in ("folder", "node_modules"):
        (home / folder).mkdir()
    (home / "file").write_text("{}")
    path = {"dist": "node_modules", "repro": "folder"}.get(name, "file")
    settings = resolve(ini=f"tfjs_{name} = ~/{path}")
    assert str(getattr(settings, name)) == str(home / path)


def test_an_unknown_home_directory_in_the_ini_file_is_a_usage_error(pytester):
    pytester.makefile(".ini", pytest="[pytest]\ntfjs_json = ~nobody-has-this-name/x.json")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().startswith("ERROR: ini value tfjs_json=~nobody-has-this-name/x.json: ")


def test_the_message_for_an_invalid_path_shows_it_as_the_ini_file_has_it(pytester):
    pytester.makefile(".ini", pytest="[pytest]\ntfjs_dist = ~/there-is-no-such-folder")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().startswith("ERROR: ini value tfjs_dist=~/there-is-no-such-folder: ")


def test_an_empty_ini_value_is_ignored(resolve):
    assert resolve(ini="tfjs_rtol =\ntfjs_backends =") == Settings()


def test_the_origin_of_highest_precedence_applies_per_setting(resolve):
    run = resolve("--tfjs-rtol=3", "--tfjs-atol=3", "--tfjs-timeout=3", ini=
        "tfjs_rtol = 4\ntfjs_atol = 4\ntfjs_timeout = 4\ntfjs_weights = uint8"
    )  # fmt: skip
    closest, farther = pytest.mark.tfjs(rtol=1), pytest.mark.tfjs(rtol=2, atol=2)
    marked = apply_markers(run, [closest.mark, farther.mark])
    assert (marked.rtol, marked.atol) == (1, 2)
    settings = marked.updated({"rtol": 0, "atol": None}, "call")
    assert (settings.rtol, settings.atol, settings.timeout, settings.weights) == (0, 2, 3, "uint8")
    assert [settings.origin(name) for name in ("rtol", "atol", "timeout", "weights", "layers")] == [
        "call", "marker", "command line", "ini", "default",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "message"), INVALID, ids=[f"{name}={value}" for name, value, _ in INVALID]
)
def test_an_invalid_option_is_a_usage_error(pytester, name, value, message):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(f"{option_of(name)}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message_shown = result.stderr.str()
    assert message_shown.startswith(f"ERROR: {option_of(name)}=")
    assert value in message_shown
    assert message in message_shown
    assert "Traceback" not in message_shown + result.stdout.str()


@pytest.mark.parametrize(
    ("name", "value", "message"), INVALID, ids=[f"{name}={value}" for name, value, _ in INVALID]
)
def test_an_invalid_ini_value_is_a_usage_error(pytester, name, value, message):
    pytester.makefile(".ini", pytest=f"[pytest]\ntfjs_{name} = {value}")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message_shown = result.stderr.str()
    assert message_shown.startswith(f"ERROR: ini value tfjs_{name}=")
    assert message in message_shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rtol": "x"}, "rtol='x': expected a number"), ({"layers": "x"}, "layers='x': expected one of all")],
)
def test_the_message_shows_an_invalid_argument_of_a_call(arguments, message):
    with pytest.raises(SettingsError) as caught:
        Settings().updated(arguments, "call")
    assert str(caught.value).startswith(message)


def test_a_copy_of_tfjs_without_a_named_backend_is_a_usage_error(pytester):
    package = pytester.mkdir("node_modules") / "@tensorflow" / "tfjs"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"version": "4.22.0"}')
    (package / "dist" / "tf.min.js").write_text("//")
    pytester.makepyfile("def test(): pass")
    dist = "--tfjs-dist=node_modules"

    refused = pytester.runpytest_inprocess(dist, "--tfjs-backends=webgl,wasm")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "npm install @tensorflow/tfjs-backend-wasm@4.22.0" in refused.stderr.str()
    # Only a test that asks for wasm would need it.
    assert pytester.runpytest_inprocess(dist).ret == pytest.ExitCode.OK
    assert pytester.runpytest_inprocess(dist, "--tfjs-backends=webgl,cpu").ret == pytest.ExitCode.OK


def test_a_folder_without_tfjs_is_a_usage_error(pytester):
    result = pytester.runpytest_inprocess(f"--tfjs-dist={pytester.path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "a folder without '@tensorflow'. Expected a node_modules folder" in result.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "ini", "line"),
    [
        ([], "", "backends webgl,wasm (default)"),
        (["--tfjs-backends=cpu"], "tfjs_backends = wasm", "backends cpu (command line)"),
        ([], "tfjs_backends = wasm", "backends wasm (ini)"),
        (["--tfjs-browsers=chrome"], "", "backends webgl,wasm (default), browsers chrome (command line)"),
    ],
)
def test_the_header_shows_settings_and_their_origins(pytester, arguments, ini, line):
    pytester.makefile(".ini", pytest=f"[pytest]\n{ini}")
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(*arguments)
    result.stdout.re_match_lines(
        [rf"tfjs: [\d.]+, TF\.js [\d.]+, {line.replace('(', '.').replace(')', '.')}"]
    )


def test_the_stash_holds_the_settings_of_the_run(pytester):
    config = pytester.parseconfigure("--tfjs-rtol=0.5")
    assert config.stash[SETTINGS].rtol == 0.5
