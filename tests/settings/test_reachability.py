from __future__ import annotations

import sys

import pytest

from pytest_tfjs.browsers.serving import access
from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.reachability import bind_of, check_reach
from pytest_tfjs.settings.settings import Settings

pytestmark = pytest.mark.usefixtures("only_this_plugin")

HERE, THERE, CLOUD = "http://localhost:4444", "http://grid:4444", "https://me:secret@hub.example"
PUBLIC = "https://ci.example"


def settings(origin="command line", **values):
    return Settings().updated(values, origin)


@pytest.fixture
def capabilities(tmp_path):
    path = tmp_path / "capabilities.json"
    path.write_text('{"platformName": "linux"}')
    return path


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"remote": HERE},
        {"remote": THERE, "bind": "0.0.0.0"},
        {"remote": CLOUD, "bind": "127.0.0.1:8000", "public_url": "http://localhost:8000"},
        {"bind": "127.0.0.2"},
        {"bind": "127.0.0.1", "public_url": PUBLIC},
    ],
)
def test_settings_that_reach_the_server_are_accepted(values):
    check_reach(settings(**values), 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"remote": THERE},
            "--tfjs-remote=http://grid:4444: browsers on the Grid cannot reach the server, which",
        ),
        (
            {"remote": CLOUD},
            "listens on 127.0.0.1. Add --tfjs-bind=0.0.0.0, or, for a tunnel or a proxy, both",
        ),
        ({"remote": THERE, "bind": "[::1]:80"}, "listens on [::1]:80. Add --tfjs-bind=0.0.0.0"),
        (
            {"public_url": PUBLIC},
            "--tfjs-public-url=https://ci.example: the option --tfjs-bind=HOST:PORT is missing",
        ),
        ({"remote": THERE, "public_url": PUBLIC}, "--tfjs-bind=HOST:PORT"),
    ],
)
def test_settings_that_do_not_reach_the_server_are_rejected(values, message):
    with pytest.raises(SettingsError) as caught:
        check_reach(settings(**values), 1)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_capabilities_need_a_grid_unless_they_are_in_the_ini_file(capabilities):
    check_reach(settings("ini", capabilities=capabilities), 1)
    check_reach(settings(capabilities=capabilities, remote=HERE), 1)
    with pytest.raises(
        SettingsError, match=r"--tfjs-capabilities=.*: only a Grid accepts capabilities. Name the Grid with"
    ):
        check_reach(settings(capabilities=capabilities), 1)


def test_capabilities_must_not_choose_the_browser(capabilities):
    capabilities.write_text('{"browserName": "firefox"}')
    with pytest.raises(
        SettingsError, match=r"must not contain browserName\. Choose browsers with --tfjs-browsers"
    ):
        check_reach(settings(capabilities=capabilities, remote=HERE), 1)


@pytest.mark.parametrize("name", ["browser_binary", "driver_binary"])
def test_local_programs_are_rejected_with_a_grid(name):
    check_reach(settings("ini", **{name: sys.executable}).updated({"remote": HERE}, "command line"), 1)
    with pytest.raises(
        SettingsError, match="the tests run in the Grid's browsers, not in a program on this machine"
    ):
        check_reach(settings(remote=HERE, **{name: sys.executable}), 1)


def test_each_worker_has_its_own_port_and_address():
    run = settings(bind="127.0.0.1:65000", public_url="https://ci.example/{port}")
    check_reach(run, 3)
    workers = [None, "gw0", "gw1", "gw2"]
    assert [bind_of(run, worker).port for worker in workers] == [65000, 65000, 65001, 65002]
    for worker in ("gw3", "gw70000", "west"):
        assert bind_of(settings(bind="127.0.0.2"), worker).port == 0
    with pytest.raises(SettingsError, match=r"the last would exceed 65535\. Choose a lower port"):
        check_reach(run, 537)
    one = settings(bind="127.0.0.1:65000", public_url=PUBLIC)
    check_reach(one, 1)
    with pytest.raises(
        SettingsError,
        match=r"each of 2 workers has its own .* Put \{port\} into the address: each worker replaces",
    ):
        check_reach(one, 2)


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        ("west", "the worker 'west' has no port, because its name has no number"),
        ("west2", "the worker 'west2' has no port"),
        ("gw", "the worker 'gw' has no port"),
        ("gw536", "the worker gw536 would listen at port 65536, but the highest port is 65535"),
    ],
)
def test_a_worker_without_a_port_is_refused(worker, message):
    with pytest.raises(SettingsError) as caught:
        bind_of(settings(bind="127.0.0.1:65000"), worker)
    assert str(caught.value).startswith(f"--tfjs-bind=127.0.0.1:65000: {message}")


@pytest.mark.parametrize(("bind", "passed"), [("127.0.0.1", 1), ("127.0.0.1:8000", 0)])
def test_workers_with_other_names_need_a_free_port(pytester, monkeypatch, bind, passed):
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_tfjs.plugin,xdist.plugin")
    pytester.makepyfile("def test(tfjs_harness): pass")
    result = pytester.runpytest_subprocess("-d", "--tx=popen//id=west", f"--tfjs-bind={bind}")
    result.assert_outcomes(passed=passed, errors=1 - passed)
    output = result.stdout.str()
    assert ("the worker 'west' has no port, because its name has no number" in output) is not bool(passed)
    assert "ValueError" not in output


def test_unreachable_servers_are_a_usage_error(pytester):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(f"--tfjs-remote={CLOUD}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --tfjs-remote=https://hub.example: browsers on the Grid cannot" in result.stderr.str()
    assert "secret" not in result.stderr.str() + result.stdout.str()


def test_an_unknown_host_of_the_grid_is_a_usage_error(pytester):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess("--tfjs-remote=http://no.such.host.invalid", "--tfjs-bind=0.0.0.0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "there is no route from here to no.such.host.invalid" in result.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "message"), [(["-n2"], "each of 2 workers"), (["--tx=3*popen", "-d"], "each of 3 workers")]
)
def test_workers_are_counted(pytester, monkeypatch, arguments, message):
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_tfjs.plugin,xdist.plugin")
    pytester.makepyfile("def test(): pass")
    there = ["--tfjs-bind=127.0.0.1:8000", f"--tfjs-public-url={PUBLIC}"]
    result = pytester.runpytest_inprocess(*there, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


def test_the_header_names_grid_and_server(pytester, monkeypatch):
    monkeypatch.setattr(access, "local_address_towards", lambda *_: "10.0.0.7")
    pytester.makefile(".ini", pytest="[pytest]\ntfjs_bind = 0.0.0.0")
    pytester.makepyfile("def test(): pass")
    output = pytester.runpytest_inprocess("--tfjs-remote=https://me:secret@hub.example/wd/hub").stdout.str()
    line = next(line for line in output.splitlines() if line.startswith("tfjs: "))
    assert line.endswith(
        "remote https://hub.example/wd/hub (command line), bind 0.0.0.0 (ini), reached at http://10.0.0.7"
    )
    assert "secret" not in output
