"""The `tfjs` object: compares and times models on one target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.sources import as_source
from pytest_tfjs.report.agreement_message import task_message
from pytest_tfjs.report.failure_message import failure_message
from pytest_tfjs.workflows.agreement import agree
from pytest_tfjs.workflows.assertion_errors import NotAgreed, NotClose
from pytest_tfjs.workflows.call_arguments import (
    AgreementArguments,
    CompareArguments,
    SensitivityArguments,
    require_known,
    require_minimum,
)
from pytest_tfjs.workflows.comparison import compare
from pytest_tfjs.workflows.preparation import convert_source, prepare
from pytest_tfjs.workflows.retry import result_of
from pytest_tfjs.workflows.sensitivity import sensitivity
from pytest_tfjs.workflows.timing import time_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from pytest_tfjs.compare.results import Comparison, TargetFacts
    from pytest_tfjs.compare.sensitivity import Sensitivity
    from pytest_tfjs.compare.task import Agreement
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.timing.samples import Timing
    from pytest_tfjs.workflows.context import Context


class Checker:
    """Compares and times models on one target; a test gets it as the fixture `tfjs`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __repr__(self) -> str:
        return f"<tfjs: {self._context.target}>"

    @property
    def target(self) -> TargetFacts:
        """Browser, backend, variant, flags and renderer of this test; opens the page if necessary."""
        return result_of(lambda page: page.facts, self._context)

    def assert_close(self, model: Any, inputs: Any, **arguments: Unpack[CompareArguments]) -> Comparison:
        """The comparison of `model` in the browser with Python, if it is close at every layer.

        `model`: a Keras model, a `.keras` or `.h5` file, a SavedModel, a tf.function or tf.Module with a
        signature, or `Prebuilt(artifacts, source)`. `inputs`: an array, a dict by input name, a tuple in
        signature order, or a list of these: several feeds. `layers`: "all" or "outputs". `format`: "auto",
        "layers" or "graph".

        Each layer is also run alone, on the reference's inputs, unless `alone="none"`. A layer is close if
        its local error is within the allowance of its arithmetic. If `rtol` or `atol` is given, they decide
        alone: an element is close if |browser - reference| <= atol * (the layer's largest |reference|) +
        rtol * |reference|; `per_layer` maps glob patterns of layer names to their own tolerances.

        `weights` is how weights are stored: a dtype, or a mapping from dtypes to glob patterns of weight
        names (True: all others). The reference then computes with the weights as they are stored, and
        `compression` is how far they may move an output from that of the source, relative to its largest
        value.

        `allow_vacuous`: names or glob patterns of outputs, layers and inputs that may have one value only, or
        may not change with the feed; any other such output or feed makes the comparison `vacuous`.

        Arguments that are left out come from the marker, the command line, the ini file or the default.
        Raises NotClose for any verdict but `close`, and TfjsError for a model that cannot be compared at all.
        """
        __tracebackhide__ = True
        require_known(arguments, CompareArguments, "assert_close")
        comparison = self.compare(model, inputs, **arguments)
        if comparison.verdict == "close":
            return comparison
        others = self._context.earlier.elsewhere(comparison)
        raise NotClose(failure_message(comparison, others=others, repeat=self._context.repeat), comparison)

    def compare(self, model: Any, inputs: Any, **arguments: Unpack[CompareArguments]) -> Comparison:
        """Like `assert_close`, for any verdict; raises TfjsError for a model that cannot be compared."""
        __tracebackhide__ = True
        require_known(arguments, CompareArguments, "compare")
        per_layer = arguments.pop("per_layer", None)
        return compare(model, inputs, per_layer, self._context.updated(arguments))

    def assert_agrees(self, model: Any, inputs: Any, **arguments: Unpack[AgreementArguments]) -> Agreement:
        """The `agreement` of `model` in the browser with Python, if it reaches every minimum.

        Requires at least one of `min_top1`, `min_topk`, `min_iou` and `min_metric`. Raises NotAgreed for any
        verdict but `close`, and TfjsError for a model that cannot be compared at all.
        """
        __tracebackhide__ = True
        require_minimum(arguments)
        agreement = self.agreement(model, inputs, **arguments)
        if agreement.verdict == "close":
            return agreement
        raise NotAgreed(task_message(agreement, repeat=self._context.repeat), agreement)

    def agreement(self, model: Any, inputs: Any, **arguments: Unpack[AgreementArguments]) -> Agreement:
        """Whether `model` does the same task in the browser as its source in Python, over many samples.

        `inputs` as in `assert_close`; each row of the first axis is a sample, and `batch` samples (32) run at
        once. Only outputs are read. `output` names the output that has classes, if there are several;
        `labels` are the correct classes. The share of samples with the reference's class is always measured:
        `min_top1` is its minimum; `min_topk=(5, 0.99)` the minimal share of samples whose class in the
        reference is among the browser's first 5; `min_iou` the minimal mean intersection over union of maps
        of classes. `metric(browser, reference)` is your function of the outputs of all samples (dicts by name
        if there are several), with the minimum `min_metric`. `allow_vacuous`, `format` and `weights` as in
        `assert_close`; the cost of quantised weights counts, because the reference is the source itself.
        Raises TfjsError for a model that cannot be compared at all.
        """
        __tracebackhide__ = True
        require_known(arguments, AgreementArguments, "agreement")
        return agree(model, inputs, arguments, self._context)

    def sensitivity(self, model: Any, inputs: Any, **arguments: Unpack[SensitivityArguments]) -> Sensitivity:
        """Which faults `compare` with the same arguments would have caught; no browser is started.

        Each compared layer gets faults that ports of models have (two channels swapped, a bias dropped, a
        batch-norm's epsilon that of another framework, ...), one at a time, and its activation is judged as
        if it came from the browser. Raises TfjsError for a model that cannot be compared at all.
        """
        __tracebackhide__ = True
        require_known(arguments, SensitivityArguments, "sensitivity")
        per_layer = arguments.pop("per_layer", None)
        context = self._context.updated(arguments)
        return sensitivity(prepare(model, inputs, context), per_layer, context)

    def time(self, model: Any, inputs: Any, *, runs: int | None = None, warmup: int | None = None) -> Timing:
        """Milliseconds of loading `model` in the browser, of its first inference and of `runs` warm ones.

        `warmup` inferences (3) between the first and the `runs` (20) counted ones are left out. Each ends
        when the outputs are in memory. Of several feeds the first is used. The timed model is never one that
        activations are read from. Raises PageError if the model does not run.
        """
        __tracebackhide__ = True
        return time_model(model, inputs, self._context, runs=runs, warmup=warmup)

    def convert(
        self,
        model: Any,
        *,
        format: str | None = None,  # noqa: A002
        weights: str | Mapping[str, Any] | None = None,
    ) -> Artifacts:
        """The artifacts of `model`, converted now or cached. Raises ConversionError and SourceError."""
        context = self._context.updated({"format": format, "weights": weights})
        return convert_source(as_source(model), context)
