"""Browsers start on this machine; a failed launch says why and leaves nothing behind."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pytest_tfjs.browsers.engines import ENGINES, first_found
from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.launching import local
from pytest_tfjs.browsers.launching.driver_session import first_line
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.browsers.launching.local import has_gpu
from pytest_tfjs.errors import BrowserError
from pytest_tfjs.settings.addresses import parse_remote
from tests.support.processes import running

# A driver that reports ready but never answers a session request; on the request it runs `then`.
HANGING_DRIVER = """#!{python}
import http.server, os, pathlib, signal, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"value": {{"ready": true, "message": ""}}}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        pathlib.Path({pid!r}).write_text(str(os.getpid()))
        {then}
        time.sleep(600)

port = next(word.partition("=")[2] for word in sys.argv if word.startswith("--port="))
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def program(folder: Path, name: str, script: str = "exit 1") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with nothing on PATH, without a network for Selenium Manager and webdriver-manager."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("SE_CACHE_PATH", str(tmp_path / "selenium"))
    monkeypatch.delenv("SE_CHROMEDRIVER", raising=False)

    def nothing(*_):
        raise OSError("webdriver-manager is offline\nand says so at length")

    for engine in ENGINES.values():
        monkeypatch.setattr(type(engine), "fetch_driver", nothing)
        monkeypatch.setattr(type(engine), "places", ())
    return path


@pytest.fixture
def started(monkeypatch):
    """Records the programs of each launch; every launch fails."""
    places = []

    def start(_self, _chosen, place):
        places.append((place.binary, place.driver))
        raise OSError("not today")

    for engine in ENGINES.values():
        monkeypatch.setattr(type(engine), "start", start)
    return places


def test_default_browser_without_any_installed_is_chrome(bare):
    assert first_found() == next(iter(ENGINES)) == "chrome"


@pytest.mark.parametrize(
    ("name", "program_name"),
    [(name, program_name) for name, engine in ENGINES.items() for program_name in engine.programs],
)
def test_first_installed_browser_is_used(bare, monkeypatch, name, program_name):
    program(bare, program_name)
    program(bare, ENGINES[name].driver_program)
    monkeypatch.setattr(platform, "system", lambda: "Darwin" if name == "safari" else "Linux")
    assert first_found() == name
    assert first_found(Path("/opt/somewhere") / program_name) == name


def test_browser_is_found_in_its_usual_folder(bare, monkeypatch, tmp_path):
    engine = ENGINES["chrome"]
    monkeypatch.setattr(type(engine), "places", ("$APPS/browsers-*/chrome", "$NOWHERE/chrome"))
    monkeypatch.setenv("APPS", str(tmp_path))
    assert not engine.is_found()
    (tmp_path / "browsers-2").mkdir()
    program(tmp_path / "browsers-2", "chrome")
    assert engine.is_found()


def test_webkit_without_its_driver_is_not_used(bare):
    program(bare, "MiniBrowser")
    assert first_found() == "chrome"


@pytest.mark.parametrize(
    ("name", "first", "remedy"),
    [
        ("firefox", "on PATH: found none of firefox, firefox-esr", "apt-get install firefox-esr"),
        ("edge", "on PATH: found none of microsoft-edge", "https://www.microsoft.com/edge"),
        ("webkitgtk", "on PATH: found none of MiniBrowser", "apt-get install webkit2gtk-driver xvfb"),
        ("safari", "on macOS: this machine runs Linux", "sudo safaridriver --enable"),
    ],
)
def test_missing_browser_error_names_the_remedy(bare, monkeypatch, name, first, remedy):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(BrowserError) as caught:
        launch(name, LaunchOptions())
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{ENGINES[name].label} could not be started."
    assert lines[1].startswith(f"- {first}")
    assert remedy in lines[-1]


@pytest.mark.parametrize("name", ["chrome", "firefox", "edge"])
def test_each_way_to_find_a_driver_is_tried_in_turn(bare, started, name):
    program(bare, ENGINES[name].programs[0])
    program(bare, ENGINES[name].driver_program)
    with pytest.raises(BrowserError):
        launch(name, LaunchOptions())
    binary, driver = (
        str(bare / found) for found in (ENGINES[name].programs[0], ENGINES[name].driver_program)
    )
    assert started == [(binary, driver), (binary, None)]


def test_safari_rejects_a_browser_binary(bare, monkeypatch, started):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    binary, driver = program(bare, "Safari"), program(bare, "safaridriver")
    with pytest.raises(BrowserError, match="name that Safari's driver"):
        launch("safari", LaunchOptions(binary=binary))
    assert started == []
    with pytest.raises(BrowserError, match="not today"):
        launch("safari", LaunchOptions())
    assert started == [(None, str(driver))]


def test_browser_gets_only_its_own_arguments(bare, monkeypatch):
    given = []
    monkeypatch.setattr(
        type(ENGINES["chrome"]), "capabilities", lambda _, options, **__: given.append(options.arguments)
    )
    program(bare, "chromium")
    program(bare, "chromedriver")
    options = LaunchOptions(arguments=("-a",), own_arguments={"chrome": ("-b",), "firefox": ("-c",)})
    with pytest.raises(BrowserError):
        launch("chrome", options)
    assert set(given) == {("-a", "-b")}


@pytest.mark.parametrize("remote", [None, parse_remote("http://127.0.0.1:9")])
def test_arguments_for_safari_are_rejected(monkeypatch, started, remote):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(BrowserError) as caught:
        launch("safari", LaunchOptions(own_arguments={"safari": ("--lang=de",)}, remote=remote))
    assert str(caught.value).startswith("Safari accepts no command line arguments, but the fixture")
    assert "returns --lang=de for this browser. Return a mapping" in str(caught.value)
    assert started == []


@pytest.mark.parametrize(
    ("device", "gpu"), [("dri/renderD128", True), ("nvidia0", True), ("dri/card0", False), ("null", False)]
)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev")
def test_gpu_is_detected_by_its_device_file(tmp_path, device, gpu):
    (tmp_path / device).parent.mkdir(exist_ok=True)
    (tmp_path / device).touch()
    assert has_gpu(tmp_path) is gpu


def test_error_lists_each_attempt_and_the_remedy(bare, temporary):
    with pytest.raises(BrowserError) as caught:
        launch("chrome", LaunchOptions())
    lines = str(caught.value).splitlines()
    assert lines[0] == "Chrome or Chromium could not be started."
    assert lines[1].startswith("- on PATH: found none of chromium, google-chrome")
    assert lines[2].startswith("- Selenium Manager: ")
    assert lines[3] == "- webdriver-manager: webdriver-manager is offline"
    assert "apt-get install chromium chromium-driver" in lines[4]


@pytest.mark.parametrize(
    ("said", "fetching_matters"),
    [
        ("session not created: Chrome instance exited", False),
        ("This version of ChromeDriver only supports Chrome version 999", True),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_failed_download_is_left_out_if_programs_were_found(bare, monkeypatch, said, fetching_matters, named):
    def start(_self, _chosen, _place):
        raise OSError(said)

    monkeypatch.setattr(type(ENGINES["chrome"]), "start", start)
    browser = program(bare, "chromium")
    program(bare, "chromedriver")
    with pytest.raises(BrowserError) as caught:
        launch("chrome", LaunchOptions(binary=browser if named else None))
    text = str(caught.value)
    assert f": {said}\n" in text
    assert ("webdriver-manager is offline" in text) is fetching_matters


def test_browser_without_a_driver_is_reported(bare):
    program(bare, "google-chrome")
    with pytest.raises(BrowserError, match="on PATH: chromedriver not found"):
        launch("chrome", LaunchOptions())


def test_driver_that_exits_is_reported_and_leaves_no_files(bare, temporary):
    program(bare, "chromium")
    program(bare, "chromedriver", "exit 7")
    with pytest.raises(
        BrowserError, match=r"on PATH: .*chromedriver unexpectedly exited. Status code was: 7"
    ):
        launch("chrome", LaunchOptions())


@pytest.fixture
def hanging(bare, tmp_path):
    """Installs a hanging driver; returns the file with the driver's process id."""
    pid_file = tmp_path / "pid"

    def make(then):
        program(bare, "chromium")
        script = HANGING_DRIVER.format(python=sys.executable, pid=str(pid_file), then=then)
        program(bare, "chromedriver").write_text(script)
        return pid_file

    return make


def test_hanging_driver_is_killed_and_the_next_attempt_made(hanging, monkeypatch, temporary):
    pid_file = hanging("pass")
    monkeypatch.setattr(local, "START_S", 5.0)
    fetched = []

    def nothing(_self, binary):
        fetched.append(binary)
        raise OSError("no network")

    monkeypatch.setattr(type(ENGINES["chrome"]), "fetch_driver", nothing)
    with pytest.raises(BrowserError) as caught:
        launch("chrome", LaunchOptions())
    lines = str(caught.value).splitlines()
    assert lines[1] == "- on PATH: the browser did not start within 5 s and was stopped"
    assert len(fetched) == 1
    assert "no network" not in str(caught.value)
    assert not running(int(pid_file.read_text()))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_during_launch_kills_the_driver(hanging, temporary):
    pid_file = hanging("os.kill(os.getppid(), signal.SIGINT)")
    with pytest.raises(KeyboardInterrupt):
        launch("chrome", LaunchOptions())
    assert not running(int(pid_file.read_text()))


def test_failure_after_launch_leaves_no_files(monkeypatch, temporary):
    def fail(*_):
        raise psutil.AccessDenied(1)

    monkeypatch.setattr(type(ENGINES["chrome"]), "start", lambda *_: SimpleNamespace(capabilities={}))
    monkeypatch.setattr(type(ENGINES["chrome"]), "found_here", lambda *_: ("here", lambda: ("a", "b")))
    monkeypatch.setattr(type(ENGINES["chrome"]), "pid", fail)
    monkeypatch.setattr(local, "limit_commands", lambda *_: None)
    with pytest.raises(psutil.AccessDenied):
        launch("chrome", LaunchOptions())


def test_driver_timeout_message_shows_no_number():
    from urllib3.exceptions import ReadTimeoutError

    assert first_line(ReadTimeoutError(None, "/url", "read timeout=360")) == (
        "the browser's driver did not respond in time"
    )


def test_first_program_on_the_path_is_used(bare, started):
    for name in ("chrome", "google-chrome", "chromium", "chromedriver"):
        program(bare, name)
    with pytest.raises(BrowserError):
        launch("chrome", LaunchOptions())
    assert started[0] == (str(bare / "chromium"), str(bare / "chromedriver"))
    assert started[1] == (str(bare / "chromium"), None)


def test_named_program_is_used_and_never_replaced(bare, started, tmp_path):
    for name in ("chromium", "chromedriver"):
        program(bare, name)
    binary, driver = program(tmp_path / "own", "my-chrome"), program(tmp_path / "own", "my-driver")
    with pytest.raises(BrowserError, match=rf"named \({binary}, {driver}\)"):
        launch("chrome", LaunchOptions(binary=binary, driver=driver))
    assert started == [(str(binary), str(driver))] * 2


@pytest.mark.parametrize("named", ["binary", "driver"])
def test_named_file_that_is_not_executable_is_rejected(bare, tmp_path, named):
    for name in ("chromium", "chromedriver"):
        program(bare, name)
    plain = tmp_path / "plain"
    plain.touch()
    for path in (plain, tmp_path / "missing", tmp_path):
        with pytest.raises(BrowserError) as caught:
            launch("chrome", LaunchOptions(**{named: path}))
        assert f"{path} is not an executable file" in str(caught.value).splitlines()[1]


@pytest.mark.browser
def test_browser_that_does_not_start_leaves_no_files(monkeypatch, tmp_path, temporary):
    monkeypatch.setenv("SE_OFFLINE", "true")
    binary = program(tmp_path, "chromium", "exit 3")
    with pytest.raises(BrowserError, match="could not be started"):
        launch("chrome", LaunchOptions(binary=binary))
