"""The assertion errors of `tfjs`: NotClose for comparisons, NotAgreed for agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.compare.task import Agreement


class NotClose(AssertionError):  # noqa: N818 (a verdict on the model)
    """The verdict of a comparison is not `close`; `comparison` has the verdict and all layers."""

    def __init__(self, message: str, comparison: Comparison) -> None:
        super().__init__(message)
        self.comparison = comparison

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.comparison), self.__dict__


class NotAgreed(AssertionError):  # noqa: N818 (a verdict on the model)
    """The verdict of an agreement is not `close`; `agreement` has the figures."""

    def __init__(self, message: str, agreement: Agreement) -> None:
        super().__init__(message)
        self.agreement = agreement

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.agreement), self.__dict__


NotClose.__module__ = NotAgreed.__module__ = "pytest_tfjs"
