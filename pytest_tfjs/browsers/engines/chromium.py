"""What Chrome, Chromium and Edge share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.engines.engine import Engine, is_root

if TYPE_CHECKING:
    from selenium.webdriver.chromium.options import ChromiumOptions
    from selenium.webdriver.chromium.webdriver import ChromiumDriver
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
# A page that is not in front runs its timers once a second, and its heartbeat less than that.
AWAKE_ARGUMENTS = (
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-hang-monitor",
)
ALLOW_SOFTWARE_WEBGL = "--enable-unsafe-swiftshader"
SOFTWARE_WEBGL = "--use-angle=swiftshader"
WEBGPU_ARGUMENTS = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")
# Without its second the device is lost when TF.js reads a tensor at once, which it does through a canvas.
SOFTWARE_WEBGPU = ("--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader")


class Chromium(Engine):
    """A browser that is built on Chromium, driven by a driver that is built on chromedriver."""

    def new_options(self) -> ChromiumOptions:
        """Selenium's options for this browser."""
        raise NotImplementedError

    def new_driver(self, options: Any, service_arguments: dict[str, Any]) -> ChromiumDriver:
        """Selenium's driver of this browser, started."""
        raise NotImplementedError

    def capabilities(  # noqa: D102 (see Engine)
        self, options: LaunchOptions, *, webgpu: bool, gpu: bool | None
    ) -> ChromiumOptions:
        chosen = self.new_options()
        chosen.page_load_strategy = "none"
        for argument in arguments(options, webgpu=webgpu, gpu=gpu):
            chosen.add_argument(argument)
        return chosen

    def start(self, chosen: ChromiumOptions, place: Place) -> WebDriver:  # noqa: D102 (see Engine)
        if place.binary is not None:
            chosen.binary_location = place.binary
        for argument in local_arguments(place, chosen.arguments, root=is_root()):
            chosen.add_argument(argument)
        return self.new_driver(chosen, place.service_arguments())

    def close_tab(self, driver: WebDriver, tab: str, fresh: str) -> None:  # noqa: D102 (see Engine)
        # WebDriver's own command waits for a page that is busy, and so does any command to the tab itself.
        driver.switch_to.window(fresh)
        _devtools(driver, "Target.closeTarget", {"targetId": tab})

    def ask(self, driver: WebDriver) -> None:  # noqa: D102 (see Engine)
        # Answered by the browser's own process: a script would wait for the page.
        _devtools(driver, "Browser.getVersion", {})


def arguments(options: LaunchOptions, *, webgpu: bool, gpu: bool | None) -> list[str]:
    """The command line on any machine; the caller's own arguments come last, where they win."""
    chosen = [*QUIET_ARGUMENTS, *AWAKE_ARGUMENTS]
    if not options.headed:
        chosen.append("--headless=new")
    # It only allows what Chrome does not fall back to by itself, where a GPU is there but of no use.
    chosen.append(ALLOW_SOFTWARE_WEBGL)
    if gpu is False:
        chosen.append(SOFTWARE_WEBGL)
    if webgpu:
        chosen += [*WEBGPU_ARGUMENTS, *(SOFTWARE_WEBGPU if gpu is False else ())]
    if options.trusted is not None:
        chosen.append(f"--unsafely-treat-insecure-origin-as-secure={options.trusted}")
    return [*chosen, *options.arguments]


def local_arguments(place: Place, given: list[str], *, root: bool) -> list[str]:
    """What only this machine asks for; arguments that are `given` win over these."""
    chosen = [f"--user-data-dir={place.workspace.directory / 'profile'}"]
    if root:
        chosen.append("--no-sandbox")
    names = {argument.partition("=")[0] for argument in given}
    return [argument for argument in chosen if argument.partition("=")[0] not in names]


def _devtools(driver: WebDriver, command: str, parameters: dict[str, Any]) -> None:
    driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})
