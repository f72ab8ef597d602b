"""Writing the file of --tfjs-json."""

from __future__ import annotations

import json
import math

import pytest

from pytest_tfjs.report import json_report
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.json_report import environment_to_json, write_json
from tests.support.comparisons import everything


def reject_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_file_has_environment_and_comparisons(tmp_path):
    path = tmp_path / "new" / "folders" / "results.json"
    entry = comparison_to_json(everything())
    write_json(path, environment_to_json(tfjs="4.22.0", tensorflow="2.19.0", pytest_tfjs="1.0"), [entry])
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=reject_constant)
    assert found["schema"] == 1
    assert found["comparisons"] == [entry]
    assert found["environment"].keys() == {"pytest_tfjs", "tfjs", "tensorflow", "python", "platform"}
    assert found["environment"]["tfjs"] == "4.22.0"
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize("bad", [{"x": math.nan}, {"x": math.inf}, {"x": object()}])
def test_unserialisable_value_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {}, [bad])
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"results.json": "old"}


def test_failed_write_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "results.json"
    path.mkdir()
    with pytest.raises(OSError, match=r"results\.json"):
        write_json(path, {}, [])
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_file_is_replaced_atomically(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")
    seen = []
    replace = json_report.Path.replace

    def watched(self, new):
        seen.append((path.read_text(), json.loads(self.read_text())["schema"], self.parent == path.parent))
        return replace(self, new)

    monkeypatch.setattr(json_report.Path, "replace", watched)
    write_json(path, {}, [])
    assert seen == [("old", 1, True)]
    assert json.loads(path.read_text())["comparisons"] == []


def test_environment_has_the_given_versions():
    found = environment_to_json(tfjs=None, tensorflow="3.0.dev1", pytest_tfjs="1.0")
    assert (found["pytest_tfjs"], found["tfjs"], found["tensorflow"]) == ("1.0", None, "3.0.dev1")
