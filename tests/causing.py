"""Causes of faults, as a plugin of inner runs: `-p causing` gives their tests the fixture `trouble`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.browsers.harness import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.browsers.harness import Harness

HOLD = "tf.loadGraphModel = tf.loadLayersModel = () => new Promise(() => {});"
"""Makes the page wait for ever where it builds a model, so that what happens then finds it there."""


class Trouble:
    """Strikes the browser in the midst of a job: once, or in as many browsers as it is told."""

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self._harness = harness
        self._monkeypatch = monkeypatch
        self._left: list[Callable[[Trouble], None]] = []

    def __call__(self, cause: Callable[[Trouble], None], *, times: int = 1, hold: str = HOLD) -> None:
        """`cause` is called while a job is in the page, which `hold` keeps there; so for `times` jobs."""
        self._left = [cause] * times
        run, progress = Page.run, self._harness.on_progress

        def troubled(page: Page, *arguments: Any) -> Any:
            if self._left:
                self.script(hold)
            return run(page, *arguments)

        def heard(told: Any) -> None:
            progress(told)
            if told.stage == "loading model" and self._left:
                self._left.pop()(self)

        self._monkeypatch.setattr(Page, "run", troubled)
        self._monkeypatch.setattr(self._harness, "on_progress", heard)

    @property
    def browser(self) -> Any:
        """The browser there is."""
        return self._harness._browser

    def script(self, text: str) -> Any:
        """Runs JavaScript in the page, from outside of it."""
        return self.browser._driver.execute_script(text)

    def kill_browser(self) -> None:
        """As the system does where memory is short."""
        self.browser._process.kill()

    def kill_driver(self) -> None:
        """As somebody does who cleans up a machine."""
        self.browser._driver.service.process.kill()


@pytest.fixture
def trouble(tfjs: object, tfjs_harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """Depends on `tfjs`, which tells the harness what hears its progress."""
    return Trouble(tfjs_harness, monkeypatch)
