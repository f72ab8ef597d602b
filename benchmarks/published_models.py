"""Compares models that others publish, as artifacts and as source, in a browser.

`python -m benchmarks.published_models` fetches packages of npm and PyPI whose content is pinned, converts
their sources with several versions of the converter, and prints a table. Ends with exit code 1 if an artifact
is not close to its source, unless TF.js itself refuses it.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.published_packages import FOLDER, MODELS, artifacts_of, source_of
from benchmarks.sound_models.running import checker_on
from pytest_tfjs import Prebuilt
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.tensorflow.process import TensorFlowProcess
from pytest_tfjs.report.failure_message import failure_message

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSIONS = ("3.9.0", "3.18.0", "4.22.0")
REFUSED = "TF.js refuses it"
TARGETS = ("chrome/cpu", "chrome/wasm", "chrome/webgl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares and prints; 1 where an artifact is not close."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published_models", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="some of them, separated by commas")
    parser.add_argument("--versions", default=",".join(VERSIONS), help="of the converter")
    options = parser.parse_args(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    harness = Harness(dist=Dist.shipped())
    failed = 0
    try:
        with ContentCache(FOLDER / "cache") as cache, TensorFlowProcess() as tensorflow:
            checkers = [checker_on(target, harness, cache, tensorflow) for target in TARGETS]
            print(f"| model | artifacts | {' | '.join(TARGETS)} |\n|---|---|{'---|' * len(TARGETS)}")
            for name in options.models.split(","):
                source = source_of(name, tensorflow)
                for label, model_json in artifacts_of(name, source, options.versions.split(",")):
                    model = Prebuilt(model_json, source)
                    found = [_outcome(model, name, checker) for checker in checkers]
                    print(f"| {name} | {label} | {' | '.join(text for text, _ in found)} |", flush=True)
                    print("\n".join(message for _, message in found if message), file=sys.stderr)
                    failed += sum(text not in ("close", REFUSED) for text, _ in found)
    finally:
        harness.close()
    return int(failed > 0)


def _outcome(model: Prebuilt, name: str, checker: Any) -> tuple[str, str]:
    """The verdict in a word or two, and the message where it is not close."""
    try:
        comparison = checker.compare(model, MODELS[name].feed())
    except TfjsError as error:
        return type(error).__name__, str(error)
    if comparison.verdict == "close":
        return "close", ""
    message, refusal = failure_message(comparison), MODELS[name].refusal
    is_refused = refusal is not None and refusal in message.partition("\n")[0]
    return REFUSED if is_refused else comparison.verdict, message


if __name__ == "__main__":
    sys.exit(main())
