"""Writes the results file (`--tfjs-json`): strict JSON for other programs."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1


def environment_to_json(
    *, tfjs: str | None, tensorflow: str | None, pytest_tfjs: str | None
) -> dict[str, Any]:
    """The JSON's `environment`: the given versions (None: not installed), Python's and the platform."""
    return {
        "pytest_tfjs": pytest_tfjs,
        "tfjs": tfjs,
        "tensorflow": tensorflow,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def write_json(
    path: str | os.PathLike[str],
    environment: Mapping[str, Any],
    comparisons: Sequence[Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]] = (),
    not_run: Sequence[Mapping[str, str]] = (),
) -> None:
    """Writes the file atomically, and creates its folders: a reader sees the old file or the new one.

    `comparisons` are those of `comparison_to_json`, `tasks` of `agreement_to_json`; `not_run` are the tests
    that were skipped, and why. Raises ValueError for a
    value that strict JSON lacks and OSError where the file cannot be written; nothing is left behind then.
    """
    document = {
        "schema": SCHEMA,
        "environment": dict(environment),
        "comparisons": list(comparisons),
        "task": list(tasks),
        "not_run": list(not_run),
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
