from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.addresses import Bind, JsonFile, PublicUrl, RemoteUrl
from pytest_tfjs.settings.settings import (
    FLAGS,
    SETTINGS,
    Settings,
    apply_markers,
    option_of,
    resolve_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.settings.settings import Settings as Resolved

pytestmark = pytest.mark.usefixtures("only_this_plugin")

# A value of each setting as it is written, and what it is; none is the default.
VALUES = {
    "backends": ("cpu, wasm,cpu", ("cpu", "wasm")),
    "browsers": ("chrome", ("chrome",)),
    "layers": ("outputs", "outputs"),
    "format": ("graph", "graph"),
    "weights": ("uint8", "uint8"),
    "rtol": ("1e-2", 0.01),
    "atol": ("0", 0.0),
    "compression": ("0.1", 0.1),
    "weight_check": ("tell", "tell"),
    "timeout": ("2.5", 2.5),
    "tap_budget": ("1.5 MiB", 1572864),
    "headed": ("yes", True),
    "browser_binary": (sys.executable, Path(sys.executable)),
    "driver_binary": (sys.executable, Path(sys.executable)),
    "remote": ("http://me:k%2Fey@hub:4444/wd/hub/", RemoteUrl("http://hub:4444/wd/hub", "me", "k/ey")),
    "bind": ("127.0.0.2:8000", Bind("127.0.0.2", 8000)),
    "public_url": ("https://ci.example/tfjs/{port}/", PublicUrl("https://ci.example/tfjs/{port}")),
    "capabilities": ("asked.json", JsonFile(Path("asked.json"), {"a": 1})),
    "json": ("results.json", "results.json"),
}
PATHS = ("browser_binary", "driver_binary", "json", "dist", "capabilities")
MARKED = (
    "backends",
    "browsers",
    "layers",
    "format",
    "weights",
    "rtol",
    "atol",
    "compression",
    "weight_check",
    "timeout",
    "tap_budget",
)

# A value of each setting that is not valid, and what the message must say.
INVALID = [
    ("backends", "webgk", "unknown backend 'webgk' (did you mean 'webgl'?): expected one of cpu, wasm"),
    ("backends", "webgl:f17", "unknown backend 'webgl:f17' (did you mean 'webgl:f16'?)"),
    ("browsers", "netscape", "unknown browser 'netscape': expected one of chrome"),
    ("layers", "some", "expected one of all, outputs"),
    ("format", "tflite", "expected one of auto, layers, graph"),
    ("weights", "int4", "expected one of float32, float16, uint16, uint8"),
    ("weights", "uint8:", "'' is no pattern"),
    ("weights", "uint8,float16", "expected one dtype for all the weights that no pattern matches"),
    ("compression", "-1", "expected a number, 0 or greater"),
    ("weight_check", "off", "expected one of fail, tell"),
    ("rtol", "abc", "expected a number, 0 or greater, such as 1e-4"),
    ("rtol", "nan", "expected a number, 0 or greater"),
    ("atol", "-1", "expected a number, 0 or greater"),
    ("timeout", "0", "expected a number of seconds, more than 0, such as 300"),
    ("timeout", "-1", "expected a number of seconds, more than 0"),
    ("timeout", "inf", "expected a number"),
    ("tap_budget", "lots", "expected a number of bytes, such as 256MB, 1GiB or 268435456"),
    ("tap_budget", "-1MB", "expected a number of bytes"),
    ("tap_budget", "0", "expected more than 0 bytes"),
    ("browser_binary", "/nowhere/chrome", "there is no such file; expected the path of a program"),
    ("driver_binary", "/nowhere/chromedriver", "there is no such file; expected the path of a program"),
    ("dist", "/nowhere/node_modules", "there is no such directory; expected one that holds @tensorflow/tfjs"),
    ("json", "/", "that is a directory; expected the name of a file"),
    ("repro", __file__, "is a file; expected the name of a directory"),
    ("repro", f"{__file__}/below", "is a file; expected the name of a directory"),
    ("json", "/dev/null/results.json", "/dev/null cannot be written to"),
    *(
        ("remote", url, "expected an address that begins with http:// or https://, such as http://localhost")
        for url in ("hub:4444", "ftp://hub", "http://", "http://hub:port", "http://hub:0", "http://a b/")
    ),
    ("remote", "http://hub/#a", "expected an address without spaces, '?' and '#'"),
    (
        "public_url",
        "ci.example",
        "expected an address that begins with http:// or https://, such as https://",
    ),
    ("public_url", "https://ci.example/?a", "expected an address without spaces, '?' and '#'"),
    ("public_url", "https://ci.example:{PORT}", "expected an address that begins with http"),
    ("bind", "everywhere!", "expected HOST or HOST:PORT, such as 127.0.0.1:8000, [::1]:8000 or 0.0.0.0"),
    ("bind", "127.0.0.1:65536", "with a port from 0 to 65535"),
    ("bind", "127.0.0.1:http", "with a port from 0 to 65535"),
    ("bind", "[::1", "expected HOST or HOST:PORT"),
    ("bind", "198.51.100.1", "this machine cannot listen there"),
    ("bind", "no.such.host.invalid:80", "this machine cannot listen there"),
    ("capabilities", "/nowhere/asked.json", "there is no such file; expected one that holds a JSON object"),
    ("capabilities", __file__, "the file cannot be read as JSON: "),
]


@pytest.fixture
def resolve(pytester: pytest.Pytester) -> Callable[..., Resolved]:
    """The settings of a run with these arguments, in a folder whose pytest.ini has these lines."""

    pytester.makefile(".json", asked='{"a": 1}')

    def run(*arguments: str, ini: str = "") -> Resolved:
        pytester.makefile(".ini", pytest=f"[pytest]\n{ini}\n")
        return resolve_settings(pytester.parseconfig(*arguments))

    return run


def expected(name: str, folder: Path) -> object:
    value = VALUES[name][1]
    if isinstance(value, JsonFile):
        return JsonFile(folder / value.path, value.content)
    return folder / str(value) if name == "json" else value


def test_defaults_are_those_of_the_documentation(resolve):
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
    given = (option,) if option in FLAGS else (option, VALUES[name][0])
    settings = resolve(*given)
    assert getattr(settings, name) == expected(name, pytester.path)
    assert settings.origin(name) == "command line"
    assert {other for other in VALUES if settings.origin(other) != "default"} == {name}


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_has_an_ini_value(resolve, pytester, name):
    settings = resolve(ini=f"tfjs_{name} = {VALUES[name][0]}")
    assert getattr(settings, name) == expected(name, pytester.path)
    assert settings.origin(name) == "ini"


def test_paths_of_the_ini_file_begin_at_the_root_directory(resolve, pytester, monkeypatch):
    (pytester.path / "node_modules").mkdir()
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    settings = resolve(
        "--rootdir", str(pytester.path), ini="tfjs_dist = node_modules\ntfjs_json = out/x.json"
    )
    assert settings.dist == pytester.path / "node_modules"
    assert settings.json == pytester.path / "out" / "x.json"


def test_an_empty_ini_value_is_none(resolve):
    assert resolve(ini="tfjs_rtol =\ntfjs_backends =") == Settings()


@pytest.mark.parametrize("name", MARKED)
def test_the_marker_takes_every_setting_of_a_single_test(name):
    settings = apply_markers(Settings(), [pytest.mark.tfjs(**{name: VALUES[name][0]}).mark])
    assert getattr(settings, name) == VALUES[name][1]
    assert settings.origin(name) == "marker"


def test_lists_may_be_given_as_such_in_a_marker():
    settings = apply_markers(Settings(), [pytest.mark.tfjs(backends=["wasm:simd", "cpu"], rtol=1e-3).mark])
    assert settings.backends == ("wasm:simd", "cpu")
    assert settings.rtol == 0.001


def test_the_closest_origin_wins_for_each_setting_by_itself(resolve):
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
def test_an_invalid_option_ends_the_run_before_it_begins(pytester, name, value, message):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(f"{option_of(name)}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = result.stderr.str()
    assert told.startswith(f"ERROR: {option_of(name)}=")
    assert value in told
    assert message in told
    assert "Traceback" not in told + result.stdout.str()


@pytest.mark.parametrize(
    ("name", "value", "message"), INVALID, ids=[f"{name}={value}" for name, value, _ in INVALID]
)
def test_an_invalid_ini_value_ends_the_run_and_is_told_as_such(pytester, name, value, message):
    pytester.makefile(".ini", pytest=f"[pytest]\ntfjs_{name} = {value}")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = result.stderr.str()
    assert told.startswith(f"ERROR: ini value tfjs_{name}=")
    assert message in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((f"{name}={value!r}", message) for name, value, message in INVALID if name in MARKED),
        ("backends=5", "expected names, separated by commas or as a list"),
        ("backends=[]", "expected at least one name"),
        ("rtol=True", "expected a number"),
        ("backend='cpu'", "has no argument 'backend': expected one of backends, browsers, layers"),
        ("headed=True", "has no argument 'headed'"),
        ("'cpu'", "takes keyword arguments only, such as backends='wasm'; it was given ('cpu',)"),
    ],
)
def test_an_invalid_marker_is_an_error_of_collection_that_names_the_test(pytester, arguments, message):
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.tfjs({arguments})
        def test_wrong(tfjs): pass
        """
    )
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    told = result.stdout.str()
    assert "::test_wrong: @pytest.mark.tfjs " in told
    assert message in told
    assert "Traceback" not in told
    assert "settings.py" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rtol": "x"}, "rtol='x': expected a number"), ({"layers": "x"}, "layers='x': expected one of all")],
)
def test_an_invalid_argument_of_a_call_is_told_as_it_was_written(arguments, message):
    with pytest.raises(SettingsError) as caught:
        Settings().updated(arguments, "call")
    assert str(caught.value).startswith(message)


def test_a_copy_of_tfjs_without_a_backend_that_was_asked_for_is_a_usage_error(pytester):
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
def test_the_header_tells_the_settings_and_where_they_came_from(pytester, arguments, ini, line):
    pytester.makefile(".ini", pytest=f"[pytest]\n{ini}")
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(*arguments)
    result.stdout.re_match_lines(
        [rf"tfjs: [\d.]+, TF\.js [\d.]+, {line.replace('(', '.').replace(')', '.')}"]
    )


def test_the_settings_of_the_run_are_kept_for_the_fixtures(pytester):
    config = pytester.parseconfigure("--tfjs-rtol=0.5")
    assert config.stash[SETTINGS].rtol == 0.5
