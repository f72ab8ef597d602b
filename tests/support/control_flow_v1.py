"""Converts graphs to version 1 control flow (Switch, Merge), as converters do."""

from __future__ import annotations

from pytest_tfjs import Prebuilt
from pytest_tfjs.models.tensorflow.importing import captured, import_converter


def lowered(path, folder):
    """A model file or SavedModel with its artifacts, whose loops and branches are Switch and Merge."""
    with captured():
        saved = path if path.is_dir() else _exported(path, folder / "exported")
        import_converter().graph.convert_tf_saved_model(
            str(saved), str(folder / "lowered"), strip_debug_ops=True, control_flow_v2=False
        )
    return Prebuilt(folder / "lowered", saved)


def _exported(path, target):
    import tf_keras

    tf_keras.models.load_model(path).export(str(target))
    return target
