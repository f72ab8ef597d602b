"""The build hook: copies TF.js's browser bundles into the package before a wheel is built."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from types import ModuleType


class TfjsBuildHook(BuildHookInterface[Any]):
    """Vendors TF.js for wheels and editable installs; requires Node for the build if it is not installed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Further packages for the build environment."""
        requirements: list[str] = self._vendor_script().build_requirements(Path(self.root))
        return requirements

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Makes the vendor folder match the lock file; if that fails, ends the build with the cause."""
        script = self._vendor_script()
        try:
            script.ensure(Path(self.root))
        except script.VendorError as error:
            self.app.abort(str(error))

    def _vendor_script(self) -> ModuleType:
        spec = util.spec_from_file_location("vendor_tfjs", Path(self.root, "scripts", "vendor_tfjs.py"))
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
