"""Base class of the browsers built on Chromium: command lines, tabs, DevTools commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pytest_tfjs.browsers.engines.engine import Engine, is_root

if TYPE_CHECKING:
    from selenium.webdriver.chromium.options import ChromiumOptions
    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import LaunchOptions, Place

QUIET_ARGUMENTS = (
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-breakpad",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
    "--use-mock-keychain",
)
# A page in the background runs its timers, and so its heartbeat, at most once a second.
AWAKE_ARGUMENTS = (
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-hang-monitor",
)
ALLOW_SOFTWARE_WEBGL = "--enable-unsafe-swiftshader"
SOFTWARE_WEBGL = "--use-angle=swiftshader"
WEBGPU_ARGUMENTS = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")
# Without `--use-vulkan` the device is lost when TF.js reads a tensor synchronously, which uses a canvas.
SOFTWARE_WEBGPU = ("--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader")


class Chromium(Engine):
    """A browser that is built on Chromium, driven by a driver that is built on chromedriver."""

    selenium_name: ClassVar[str]
    """The prefix of Selenium's classes for this browser: `Chrome` of `ChromeOptions`."""

    def capabilities(  # noqa: D102 (see Engine)
        self, options: LaunchOptions, *, webgpu: bool, gpu: bool | None
    ) -> ChromiumOptions:
        from selenium import webdriver

        chosen: ChromiumOptions = getattr(webdriver, f"{self.selenium_name}Options")()
        chosen.page_load_strategy = "none"
        for argument in arguments(options, webgpu=webgpu, gpu=gpu):
            chosen.add_argument(argument)
        return chosen

    def start(self, chosen: ChromiumOptions, place: Place) -> WebDriver:  # noqa: D102 (see Engine)
        from selenium import webdriver

        if place.binary is not None:
            chosen.binary_location = place.binary
        for argument in local_arguments(place, chosen.arguments, root=is_root()):
            chosen.add_argument(argument)
        service = getattr(webdriver, f"{self.selenium_name}Service")(**place.service_arguments())
        driver: WebDriver = getattr(webdriver, self.selenium_name)(chosen, service)
        return driver

    def close_tab(self, driver: WebDriver, tab: str, fresh: str) -> None:  # noqa: D102 (see Engine)
        # WebDriver's own command waits for a busy page, and so does any command to the tab itself.
        driver.switch_to.window(fresh)
        _devtools(driver, "Target.closeTarget", {"targetId": tab})

    def ask(self, driver: WebDriver) -> None:  # noqa: D102 (see Engine)
        # The browser process answers this command; a script would wait for the page.
        _devtools(driver, "Browser.getVersion", {})


def arguments(options: LaunchOptions, *, webgpu: bool, gpu: bool | None) -> list[str]:
    """The command line on any machine; the user's arguments come last, so that they take precedence."""
    chosen = [*QUIET_ARGUMENTS, *AWAKE_ARGUMENTS]
    if not options.headed:
        chosen.append("--headless=new")
    # This only permits software rendering. Chrome does not fall back to it by itself if a GPU is unusable.
    chosen.append(ALLOW_SOFTWARE_WEBGL)
    if gpu is False:
        chosen.append(SOFTWARE_WEBGL)
    if webgpu:
        chosen += [*WEBGPU_ARGUMENTS, *(SOFTWARE_WEBGPU if gpu is False else ())]
    if options.trusted is not None:
        chosen.append(f"--unsafely-treat-insecure-origin-as-secure={options.trusted}")
    return [*chosen, *options.arguments]


def local_arguments(place: Place, arguments: list[str], *, root: bool) -> list[str]:
    """The further arguments for this machine, without those that `arguments` sets already."""
    chosen = [f"--user-data-dir={place.workspace.directory / 'profile'}"]
    if root:
        chosen.append("--no-sandbox")
    names = {argument.partition("=")[0] for argument in arguments}
    return [argument for argument in chosen if argument.partition("=")[0] not in names]


def _devtools(driver: WebDriver, command: str, parameters: dict[str, Any]) -> None:
    driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})
