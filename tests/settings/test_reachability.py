"""Settings under which the browsers of a Grid would not reach the server are refused before anything runs."""

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
def asked(tmp_path):
    path = tmp_path / "asked.json"
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
def test_what_leads_to_the_server_is_taken(values):
    check_reach(settings(**values), 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"remote": THERE},
            "--tfjs-remote=http://grid:4444: browsers there cannot reach the server, which listens",
        ),
        ({"remote": CLOUD}, "listens on 127.0.0.1: add --tfjs-bind=0.0.0.0, or for a tunnel or a proxy"),
        ({"remote": THERE, "bind": "[::1]:80"}, "listens on [::1]:80: add --tfjs-bind=0.0.0.0"),
        (
            {"public_url": PUBLIC},
            "--tfjs-public-url=https://ci.example: name as well where the server listens",
        ),
        ({"remote": THERE, "public_url": PUBLIC}, "--tfjs-bind=HOST:PORT"),
    ],
)
def test_what_leads_nowhere_is_refused(values, message):
    with pytest.raises(SettingsError) as caught:
        check_reach(settings(**values), 1)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_capabilities_wait_in_an_ini_file_for_a_grid(asked):
    check_reach(settings("ini", capabilities=asked), 1)
    check_reach(settings(capabilities=asked, remote=HERE), 1)
    with pytest.raises(
        SettingsError, match=r"--tfjs-capabilities=.*: these are asked of a Grid: name it with"
    ):
        check_reach(settings(capabilities=asked), 1)


def test_capabilities_do_not_choose_the_browser(asked):
    asked.write_text('{"browserName": "firefox"}')
    with pytest.raises(SettingsError, match="name browsers with --tfjs-browsers"):
        check_reach(settings(capabilities=asked, remote=HERE), 1)


@pytest.mark.parametrize("name", ["browser_binary", "driver_binary"])
def test_programs_of_this_machine_are_not_for_a_grid(name):
    check_reach(settings("ini", **{name: sys.executable}).updated({"remote": HERE}, "command line"), 1)
    with pytest.raises(SettingsError, match="--tfjs-remote starts the browsers that are there"):
        check_reach(settings(remote=HERE, **{name: sys.executable}), 1)


def test_each_worker_has_a_port_and_an_address_of_its_own():
    given = settings(bind="127.0.0.1:65000", public_url="https://ci.example/{port}")
    check_reach(given, 3)
    workers = [None, "gw0", "gw1", "gw2"]
    assert [bind_of(given, worker).port for worker in workers] == [65000, 65000, 65001, 65002]
    for worker in ("gw3", "gw70000", "west"):
        assert bind_of(settings(bind="127.0.0.2"), worker).port == 0
    with pytest.raises(SettingsError, match="there is none above 65535: name a lower one"):
        check_reach(given, 537)
    one = settings(bind="127.0.0.1:65000", public_url=PUBLIC)
    check_reach(one, 1)
    with pytest.raises(
        SettingsError, match=r"each of 2 workers has a server of its own.*: put \{port\} where"
    ):
        check_reach(one, 2)


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        ("west", "which port is that of the worker 'west' cannot be told"),
        ("west2", "which port is that of the worker 'west2' cannot be told"),
        ("gw", "which port is that of the worker 'gw' cannot be told"),
        ("gw536", "the worker gw536 listens 536 ports above this one, and there is none above 65535"),
    ],
)
def test_a_worker_without_a_port_of_its_own_is_refused(worker, message):
    with pytest.raises(SettingsError) as caught:
        bind_of(settings(bind="127.0.0.1:65000"), worker)
    assert str(caught.value).startswith(f"--tfjs-bind=127.0.0.1:65000: {message}")


@pytest.mark.parametrize(("bind", "passed"), [("127.0.0.1", 1), ("127.0.0.1:8000", 0)])
def test_workers_may_have_names_of_their_own(pytester, monkeypatch, bind, passed):
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_tfjs.plugin,xdist.plugin")
    pytester.makepyfile("def test(tfjs_harness): pass")
    result = pytester.runpytest_subprocess("-d", "--tx=popen//id=west", f"--tfjs-bind={bind}")
    result.assert_outcomes(passed=passed, errors=1 - passed)
    told = result.stdout.str()
    assert ("which port is that of the worker 'west' cannot be told" in told) is not bool(passed)
    assert "ValueError" not in told


def test_what_leads_nowhere_ends_the_run_before_it_begins(pytester):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(f"--tfjs-remote={CLOUD}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --tfjs-remote=https://hub.example: browsers there cannot" in result.stderr.str()
    assert "secret" not in result.stderr.str() + result.stdout.str()


def test_an_address_that_cannot_be_told_ends_the_run_before_it_begins(pytester):
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess("--tfjs-remote=http://no.such.host.invalid", "--tfjs-bind=0.0.0.0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be told, as there is no way from here to no.such.host.invalid" in result.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "message"), [(["-n2"], "each of 2 workers"), (["--tx=3*popen", "-d"], "of 3")]
)
def test_workers_are_counted(pytester, monkeypatch, arguments, message):
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_tfjs.plugin,xdist.plugin")
    pytester.makepyfile("def test(): pass")
    there = ["--tfjs-bind=127.0.0.1:8000", f"--tfjs-public-url={PUBLIC}"]
    result = pytester.runpytest_inprocess(*there, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


def test_the_header_tells_where_browsers_and_server_are(pytester, monkeypatch):
    monkeypatch.setattr(access, "local_address_towards", lambda *_: "10.0.0.7")
    pytester.makefile(".ini", pytest="[pytest]\ntfjs_bind = 0.0.0.0")
    pytester.makepyfile("def test(): pass")
    told = pytester.runpytest_inprocess("--tfjs-remote=https://me:secret@hub.example/wd/hub").stdout.str()
    line = next(line for line in told.splitlines() if line.startswith("tfjs: "))
    assert line.endswith(
        "remote https://hub.example/wd/hub (command line), bind 0.0.0.0 (ini), reached at http://10.0.0.7"
    )
    assert "secret" not in told
