"""The models of `keras.applications`, as initialised: what people try first."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType


class Application(NamedTuple):
    """A class of `keras.applications`: a small and the full size of its pictures, and their largest value.

    `keras`: the versions to build it with, and `layers`: whether TF.js can load it as a layers model.
    """

    name: str
    small: int
    full: int
    scale: float = 1.0
    keras: tuple[int, ...] = (2, 3)
    layers: bool = False

    def build(self, keras: ModuleType, size: int) -> Any:
        """The model with Keras' own top for 1000 classes; of 224 pixels and less than these alike."""
        return getattr(keras.applications, self.name)(weights=None, input_shape=(size, size, 3))


APPLICATIONS: Mapping[str, Application] = MappingProxyType(
    {
        one.name: one
        for one in (
            Application("MobileNetV2", 96, 224, layers=True),
            Application("MobileNet", 96, 224),
            Application("MobileNetV3Small", 64, 224, scale=255.0),
            Application("EfficientNetV2B0", 64, 224, scale=255.0),
            Application("EfficientNetB0", 64, 224, scale=255.0),
            Application("ResNet50V2", 64, 224, keras=(2,), layers=True),
            Application("DenseNet121", 64, 224, keras=(3,), layers=True),
            Application("NASNetMobile", 64, 224, keras=(2,)),
            Application("Xception", 72, 299, keras=(3,)),
            Application("InceptionV3", 80, 299, keras=(2,), layers=True),
        )
    }
)
FULL_SIZE = ("MobileNetV2", "MobileNet", "MobileNetV3Small", "EfficientNetV2B0", "NASNetMobile")
"""Those that are also compared at full size."""
