"""TensorFlow, both versions of Keras, and conversions with a cache of the module's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.sources import as_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfjs.models.artifacts import Artifacts


@pytest.fixture(scope="module")
def tf() -> Any:
    """The module tensorflow."""
    return pytest.importorskip("tensorflow")


@pytest.fixture(params=["tf_keras", "keras"])
def keras(request: pytest.FixtureRequest, tf: Any) -> Any:
    """Keras 2, then Keras 3."""
    return pytest.importorskip(request.param)


@pytest.fixture
def tf_keras(tf: Any) -> Any:
    """Keras 2."""
    return pytest.importorskip("tf_keras")


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContentCache]:
    """A cache of the module's own, in a folder with a space in its name."""
    with ContentCache(tmp_path_factory.mktemp("cache dir")) as cache:
        yield cache


@pytest.fixture
def made(module_cache: ContentCache) -> Callable[..., Artifacts]:
    """Converts a model with `module_cache`."""
    return lambda model, **options: convert(as_source(model), cache=module_cache, **options)
