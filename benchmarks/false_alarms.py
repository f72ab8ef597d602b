"""Compares sound models and counts the comparisons that are not close: the false alarms.

`python -m benchmarks.false_alarms`; ends with exit code 1 if there is one. A run that was interrupted
continues where it stopped, from the results in build/false_alarms.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sound_models.cases import GROUPS
from benchmarks.sound_models.results import ResultsFile, report
from benchmarks.sound_models.running import Resources, compare
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.tensorflow.process import TensorFlowProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.sound_models.cases import SoundCase

FOLDER = Path(__file__).resolve().parents[1] / "build" / "false_alarms"
# So many cases run on one target before the next, which needs a new page.
_BLOCK = 24
_CACHE_BYTES = 12 * 2**30

Comparison = tuple[str, "SoundCase", str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares and prints; 1 where a sound model is not close."""
    options = _parsed(arguments)
    planned = list(_planned(options.only.split(","), options.seeds, options.targets, options.match))
    if options.list:
        print("\n".join(_key(case, target) for _, case, target in planned))
        return 0
    results = ResultsFile(options.results)
    left = [one for one in planned if not _is_done(one, results, again=options.again)]
    if options.limit is not None:
        left = left[: options.limit]
    _run(left, results, time.monotonic() + 60 * options.minutes)
    records = results.of(_key(case, target) for _, case, target in planned)
    print(report(records))
    print(f"{len(planned) - len(records)} of {len(planned)} have not run yet")
    return int(any(record["outcome"] == "alarm" for record in records))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_alarms", description=__doc__)
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, separated by commas")
    parser.add_argument("--seeds", default="0", help="of weights and feeds, separated by commas")
    parser.add_argument("--targets", default="", help="such as chrome/webgl, separated by commas")
    parser.add_argument("--match", default="", help="only comparisons whose key contains this text")
    parser.add_argument("--limit", type=int, help="the number of comparisons to run now")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start none after so long")
    parser.add_argument("--again", action="store_true", help="repeat those that were false alarms")
    parser.add_argument("--results", type=Path, default=FOLDER / "results.jsonl", help="the results file")
    parser.add_argument("--list", action="store_true", help="print the comparisons and run none")
    options = parser.parse_args(arguments)
    unknown = set(options.only.split(",")) - set(GROUPS)
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return options


def _planned(groups: Sequence[str], seeds: str, targets: str, match: str) -> Iterator[Comparison]:
    """Every comparison: a block of cases on each target by turns, so that a short run has some of each."""
    for seed in map(int, seeds.split(",")):
        for name in groups:
            cases = iter(GROUPS[name].cases(seed))
            while block := list(islice(cases, _BLOCK)):
                for target in GROUPS[name].targets:
                    if not targets or target in targets.split(","):
                        yield from ((name, case, target) for case in block if match in _key(case, target))


def _key(case: SoundCase, target: str) -> str:
    return f"{case} on {target}"


def _is_done(one: Comparison, results: ResultsFile, *, again: bool) -> bool:
    _, case, target = one
    key = _key(case, target)
    return key in results and not (again and results.outcome(key) == "alarm")


def _run(left: Sequence[Comparison], results: ResultsFile, deadline: float) -> None:
    harness = Harness(dist=Dist.shipped())
    try:
        with (
            ContentCache(FOLDER / "cache", max_bytes=_CACHE_BYTES) as cache,
            TensorFlowProcess() as tensorflow,
        ):
            resources = Resources(harness, cache, tensorflow, FOLDER / "models")
            for number, (group, case, target) in enumerate(left, 1):
                if time.monotonic() > deadline:
                    return
                record = compare(case, target, resources)
                results.add(_key(case, target), group, target, record)
                print(
                    f"{number}/{len(left)} {record['outcome']:<8} {record['seconds']:5.1f} s  "
                    f"{_key(case, target)}",
                    flush=True,
                )
    except KeyboardInterrupt:
        print("interrupted; the same command continues")
    finally:
        harness.close()


if __name__ == "__main__":
    sys.exit(main())
