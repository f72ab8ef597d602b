"""The errors that pytest-tfjs raises.

Each message says what was wrong, what was expected and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass


class TfjsError(Exception):
    """Base of all errors except verdicts. `str` escapes unprintable characters from models and files."""

    def __str__(self) -> str:
        from pytest_tfjs.formats.escaping import printable_lines

        return printable_lines(super().__str__())


class SettingsError(TfjsError):
    """An option, ini value or marker argument is not valid."""


class SourceError(TfjsError):
    """The source is not a model, or cannot be read."""


class ConversionError(TfjsError):
    """The source cannot be converted to TensorFlow.js."""


class MissingPackageError(ConversionError):
    """TensorFlow or the converter is not installed, or cannot be imported."""


class ArtifactsError(TfjsError):
    """A converted model (`model.json` and its weight shards) is damaged or incomplete."""


class FeedError(TfjsError, ValueError):
    """A feed does not fit the model's inputs: wrong name, shape or dtype, or NaN values."""


class ToleranceError(TfjsError, ValueError):
    """A tolerance is not valid, or a `per_layer` pattern matches no layer."""


class DistError(TfjsError):
    """A copy of TF.js lacks a file that the page needs."""


class BrowserError(TfjsError):
    """A browser could not be found, started or driven."""


@dataclass(frozen=True)
class RefusedLayer:
    """The layer at which TF.js throws: its name, its operation or class, and what it takes, if that is known.

    `inputs`: dtype and shape of each. `computable`: how many of the job's taps, in their order, TF.js
    computes; None if the model does not load.
    """

    name: str
    op: str
    inputs: tuple[str, ...] | None = None
    computable: int | None = None

    def __str__(self) -> str:
        """As messages name it, such as `'hidden' (Dense of float32 [2, 3])`."""
        of = "" if self.inputs is None else f" of {', '.join(self.inputs) or 'no inputs'}"
        return f"{self.name!r} ({self.op}{of})"


class PageError(TfjsError):
    """A job failed in the page.

    - `reason`: why, in one line.
    - `stack`: the JavaScript stack, if there is one.
    - `stage`: what the page was doing.
    - `refused`: TF.js itself cannot load or run the model there; browser, driver and server work.
    - `layer`: the layer at which TF.js throws, if it was found.
    """

    def __init__(
        self,
        reason: str,
        *,
        stack: str | None = None,
        stage: str | None = None,
        refused: bool = False,
        layer: RefusedLayer | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stack = stack
        self.stage = stage
        self.refused = refused
        self.layer = layer


class TargetUnavailableError(PageError):
    """The machine or its browser does not support the target: no GPU adapter, no float32 textures."""


class JobTimeoutError(PageError):
    """A job took longer than `--tfjs-timeout`."""


class BrowserLostError(PageError):
    """The tab, the browser, its driver or its GPU was lost during a job; the next job needs a new browser.

    `what`: which of them was lost and during what, without the target.
    """

    def __init__(self, target: object, what: str, *, stage: str | None = None) -> None:
        super().__init__(f"{target}: {what}", stage=stage)
        self.target = target
        self.what = what

    def __reduce__(self) -> tuple[type[BrowserLostError], tuple[object, str], dict[str, object]]:
        return type(self), (self.target, self.what), self.__dict__
