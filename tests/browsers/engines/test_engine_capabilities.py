"""The capabilities, arguments and driver version that each engine requests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pytest_tfjs.browsers.engines import ENGINES, first_found
from pytest_tfjs.browsers.engines.chromium import local_arguments
from pytest_tfjs.browsers.engines.engine import LaunchOptions, Place


def arguments(name="chrome", options=None, *, webgpu=False, gpu=False):
    return ENGINES[name].capabilities(options or LaunchOptions(), webgpu=webgpu, gpu=gpu).arguments


def test_engines_are_keyed_by_their_names():
    assert "chrome" in ENGINES
    assert all(engine.name == name for name, engine in ENGINES.items())


def test_browser_is_headless_unless_headed():
    assert "--headless=new" in arguments()
    assert not any("headless" in argument for argument in arguments(options=LaunchOptions(headed=True)))


def test_only_root_disables_the_sandbox_and_user_arguments_win():
    place = Place(SimpleNamespace(directory=Path("/w")), None, None)
    assert local_arguments(place, [], root=False) == [f"--user-data-dir={Path('/w/profile')}"]
    assert "--no-sandbox" in local_arguments(place, [], root=True)
    assert local_arguments(place, ["--user-data-dir=/mine"], root=True) == ["--no-sandbox"]
    assert "--no-sandbox" not in arguments()


def test_browser_is_recognised_by_its_program_name():
    assert first_found(Path("C:/Program Files/Mozilla Firefox/Firefox.exe")) == "firefox"
    assert first_found(Path("/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge")) == "edge"
    assert first_found(Path("/opt/google-chrome")) == "chrome"


@pytest.mark.parametrize("name", ENGINES)
def test_no_browser_waits_for_page_load(name):
    chosen = ENGINES[name].capabilities(LaunchOptions(), webgpu=True, gpu=None).to_capabilities()
    assert chosen["pageLoadStrategy"] == "none"
    expected = {"edge": "MicrosoftEdge", "webkitgtk": "MiniBrowser"}.get(name, name)
    assert chosen["browserName"] == expected


@pytest.mark.parametrize(("name", "key"), [("edge", "ms:edgeOptions"), ("chrome", "goog:chromeOptions")])
def test_edge_and_chrome_share_arguments(name, key):
    chosen = ENGINES[name].capabilities(LaunchOptions(), webgpu=True, gpu=False).to_capabilities()
    assert chosen[key]["args"] == arguments("chrome", webgpu=True)


def test_firefox_disables_throttling_and_enables_webgpu_on_request():
    def options(**changes):
        chosen = ENGINES["firefox"].capabilities(LaunchOptions(**changes), webgpu=False, gpu=None)
        return chosen.to_capabilities()["moz:firefoxOptions"]

    assert options()["args"] == ["-headless"]
    assert options(headed=True, arguments=("-purgecaches",))["args"] == ["-purgecaches"]
    assert options()["prefs"]["dom.timeout.enable_budget_timer_throttling"] is False
    assert "dom.webgpu.enabled" not in options()["prefs"]
    with_webgpu = ENGINES["firefox"].capabilities(LaunchOptions(), webgpu=True, gpu=None)
    assert with_webgpu.preferences["dom.webgpu.enabled"] is True


@pytest.mark.parametrize("gpu", [None, True])
def test_software_rendering_is_allowed_but_not_forced_with_a_gpu(gpu):
    assert "--enable-unsafe-swiftshader" in arguments(gpu=gpu)
    assert not any("=swiftshader" in argument for argument in arguments(gpu=gpu, webgpu=True))


def test_webgl_is_software_rendered_only_without_a_gpu():
    assert {"--use-angle=swiftshader", "--enable-unsafe-swiftshader"} <= set(arguments())
    assert "--use-angle=swiftshader" not in arguments(gpu=True)


def test_webgpu_is_enabled_only_on_request():
    assert "--enable-unsafe-webgpu" in arguments(webgpu=True)
    assert "--use-webgpu-adapter=swiftshader" in arguments(webgpu=True)
    assert not any("webgpu" in argument for argument in arguments())


def test_user_arguments_come_last():
    assert arguments(options=LaunchOptions(arguments=("--lang=de",)))[-1] == "--lang=de"


@pytest.mark.parametrize("trouble", [psutil.NoSuchProcess(1), psutil.AccessDenied(1)])
def test_webkit_has_no_process_id_once_its_driver_is_gone(monkeypatch, trouble):
    class Gone:
        def __init__(self, _):
            pass

        def children(self):
            raise trouble

    monkeypatch.setattr(psutil, "Process", Gone)
    driver = SimpleNamespace(service=SimpleNamespace(process=SimpleNamespace(pid=1)))
    assert ENGINES["webkitgtk"].pid(driver) is None


@pytest.mark.parametrize(
    ("program_name", "fetched"),
    [
        ("/Applications/Chromium.app/Contents/MacOS/Chromium", "chromium"),
        ("/usr/bin/chromium-browser", "chromium"),
        ("/usr/bin/google-chrome", "google-chrome"),
    ],
)
def test_fetched_driver_matches_the_browser_program(monkeypatch, program_name, fetched):
    from webdriver_manager import chrome

    class Manager:
        def __init__(self, *, chrome_type):
            self.chrome_type = chrome_type

        def install(self):
            return self.chrome_type

    monkeypatch.setattr(chrome, "ChromeDriverManager", Manager)
    assert ENGINES["chrome"].fetch_driver(program_name) == fetched
