"""Have a module imported as soon as a package is, and not before it: `import xdelnx` loads no xarray."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def after_import(package: str, module: str) -> None:
    """Import the module now if the package is there, or else right after whoever imports the package."""
    if package in sys.modules:
        import_module(module)
    else:
        sys.meta_path.insert(0, _Waiting(package, module))


class _Waiting(MetaPathFinder):
    """Finds nothing itself: it has the others find the package, and steps aside when that is loaded."""

    def __init__(self, package: str, module: str) -> None:
        self.package, self.module = package, module

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - as importlib asks
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Spec of the package, whose loading imports the module, too; None for any other."""
        if fullname != self.package:
            return None
        place = sys.meta_path.index(self)
        sys.meta_path.remove(self)  # so that the others are asked
        try:
            spec = find_spec(fullname)
        finally:
            sys.meta_path.insert(place, self)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        load = loader.exec_module

        def exec_module(package: ModuleType) -> None:
            load(package)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                import_module(self.module)

        loader.exec_module = exec_module
