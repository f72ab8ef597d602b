from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from inner_runs import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["pytester"]

X = np.array([[1, 2, 3], [0.5, 0.25, 4]], np.float32)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of model files, and under `cache` what is derived of them: runs over them need no TensorFlow.

    `tiny.h5` (Keras 2) and `tiny.keras` (Keras 3) compute the same from `x` (None, 3): `hidden`, then
    `scores`. `layers/` holds the artifacts of tiny.h5, `graph/` of tiny.keras; in `damaged/`, else as
    `layers/`, one weight of `scores` is a fifth larger.
    """
    keras2, keras3 = pytest.importorskip("tf_keras"), pytest.importorskip("keras")
    from pytest_tfjs.models.artifacts import with_weights
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.conversion import convert
    from pytest_tfjs.models.feeds import normalise_feeds
    from pytest_tfjs.models.source import Prebuilt, as_source
    from pytest_tfjs.reference.capture import capture_reference

    folder = tmp_path_factory.mktemp("tiny")
    _build(keras2).save(folder / "tiny.h5")
    _build(keras3).save(folder / "tiny.keras")
    with ContentCache(folder / "cache" / "d" / "tfjs") as cache:

        def derive(model: Any) -> Any:
            artifacts = convert(source := as_source(model), cache=cache)
            for feeds in (X, [X, 2 * X]):
                for which in ("all", "outputs"):
                    given = normalise_feeds(feeds, artifacts.inputs)
                    capture_reference(source, artifacts, given, which, cache, arithmetic=True)
            return artifacts

        layers, graph = derive(folder / "tiny.h5"), derive(folder / "tiny.keras")
        with_weights(graph, {}, folder / "graph")
        with_weights(layers, {}, folder / "layers")
        kernel = layers.read_weights()["scores/kernel"].copy()
        kernel[0, 0] *= 1.2
        with_weights(layers, {"scores/kernel": kernel}, folder / "damaged")
        derive(Prebuilt(folder / "damaged", folder / "tiny.h5"))
    return folder


def _build(keras: Any) -> Any:
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(4, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(hidden), name="tiny")
    # No unit is dead for X, so that every weight shows.
    model.set_weights(
        [
            np.linspace(0.1, 1.2, 12, dtype=np.float32).reshape(3, 4),
            np.linspace(-0.2, 0.3, 4, dtype=np.float32),
            np.linspace(0.9, -0.8, 8, dtype=np.float32).reshape(4, 2),
            np.array([0.5, -0.25], np.float32),
        ]
    )
    return model


@pytest.fixture
def only_this_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner runs without other plugins, which take most of the time of a short one."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_tfjs.plugin")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project of a user who has no models."""
    with contextlib.closing(Project(tmp_path / "project", tmp_path / "models")) as made:
        yield made


@pytest.fixture(scope="module")
def tiny_project(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Callable[[str], Project]]:
    """Makes projects whose conftest gives the tiny models: `x`, the feed, and `models`, their folder."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Project:
            made = stack.enter_context(contextlib.closing(Project(tmp_path_factory.mktemp(name), tiny)))
            made.write(conftest=_CONFTEST)
            return made

        yield make


_CONFTEST = f"""
from pathlib import Path
import numpy as np
import pytest

@pytest.fixture
def x():
    return np.array({X.tolist()}, np.float32)

@pytest.fixture
def models():
    return Path(@MODELS@)
"""
