"""The algorithms, written once on the array operations that a framework brings (`ArrayOps`).

A backend may use what ``__all__`` names; it is versioned with the contract. Importing this module imports no NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_core.engine.arrays import MIXED, Array, ArrayOps, Corners
    from ptycho_core.engine.hooks import engine_hooks
    from ptycho_core.engine.losses import Loss
    from ptycho_core.engine.network import Layout

_PLACES = {
    "MIXED": "arrays",
    "Array": "arrays",
    "ArrayOps": "arrays",
    "Corners": "arrays",
    "Layout": "network",
    "Loss": "losses",
    "engine_hooks": "hooks",
}

__all__ = ["MIXED", "Array", "ArrayOps", "Corners", "Layout", "Loss", "engine_hooks"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute is of any type
    if name not in _PLACES:
        raise AttributeError(f"module 'ptycho_core.engine' has no attribute '{name}'")
    return getattr(import_module(f"ptycho_core.engine.{_PLACES[name]}"), name)
