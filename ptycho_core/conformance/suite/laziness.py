"""Run in a fresh process: loading a plugin while everything heavy is barred."""

from __future__ import annotations

import sys
import traceback
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["heavy_imports"]

HEAVY: Final = ("cupy", "h5py", "jax", "matplotlib", "numba", "numpy", "pandas", "scipy", "skimage", "sklearn")


class _Bar(MetaPathFinder):
    """Refuses to find what is heavy, and remembers who asked for it."""

    def __init__(self, barred: set[str]) -> None:
        self.barred, self.tried = barred, dict[str, str]()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        """Nothing for what is not barred, nor for who only looks whether it is there."""
        asker = _asker() if name.partition(".")[0] in self.barred else ""
        if not asker:
            return None
        self.tried.setdefault(name.partition(".")[0], asker)
        raise ImportError(f"'{name}' is barred while a plugin is loaded")


def heavy_imports(name: str) -> dict[str, str]:
    """Load a backend with all checks; which heavy modules it tried to import, each with the line that did."""
    from ptycho_core.backends import choose, load
    from ptycho_core.backends.known import known_backends
    from ptycho_core.errors import PtychoError

    row = choose(name)
    assert row.spec is not None
    barred = {*HEAVY, *(known.module.partition(".")[0] for known in known_backends().values())}
    if row.spec.framework is not None:
        barred.add(row.spec.framework.module.partition(".")[0])
    bar = _Bar(barred)
    already = {one: "imported before" for one in barred if one in sys.modules}
    sys.meta_path.insert(0, bar)
    try:
        load(row)
    except PtychoError:
        if not bar.tried:
            raise
    finally:
        sys.meta_path.remove(bar)
    return bar.tried | already


def _asker() -> str:
    """The line of code that imports; empty for a look-up by ``importlib.util.find_spec``, which imports nothing."""
    for frame in reversed(traceback.extract_stack()):
        if frame.name == "find_spec" and "util" in Path(frame.filename).name:
            return ""
        if "importlib" not in frame.filename and Path(frame.filename) != Path(__file__):
            return f"{frame.filename}:{frame.lineno}"
    return "unknown"
