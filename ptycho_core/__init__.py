"""Ptychography with one command line, one Python API and engines that are plugins.

The names below are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_core.conversion import convert
    from ptycho_core.evaluation import evaluate
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.formats.product import Reconstruction, load_reconstruction
    from ptycho_core.hookspecs import hookimpl
    from ptycho_core.imaging.metrics import score
    from ptycho_core.inference.run import infer
    from ptycho_core.model import load_model
    from ptycho_core.reconstruction.find_convention import find_convention
    from ptycho_core.reconstruction.halves import resolution
    from ptycho_core.reconstruction.verb import reconstruct
    from ptycho_core.simulate import simulate_scan
    from ptycho_core.training.run import train

__version__ = "0.1.0"

_PLACES = {
    "Reconstruction": "ptycho_core.formats.product",
    "convert": "ptycho_core.conversion",
    "evaluate": "ptycho_core.evaluation",
    "find_convention": "ptycho_core.reconstruction.find_convention",
    "hookimpl": "ptycho_core.hookspecs",
    "infer": "ptycho_core.inference.run",
    "load_model": "ptycho_core.model",
    "load_reconstruction": "ptycho_core.formats.product",
    "open_scan": "ptycho_core.formats.opening",
    "reconstruct": "ptycho_core.reconstruction.verb",
    "resolution": "ptycho_core.reconstruction.halves",
    "score": "ptycho_core.imaging.metrics",
    "simulate_scan": "ptycho_core.simulate",
    "train": "ptycho_core.training.run",
}

__all__ = [
    "Reconstruction",
    "__version__",
    "backends",
    "convert",
    "evaluate",
    "find_convention",
    "hookimpl",
    "infer",
    "load_model",
    "load_reconstruction",
    "open_scan",
    "reconstruct",
    "resolution",
    "score",
    "simulate_scan",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute is of any type
    if name == "backends":
        return import_module("ptycho_core.backends")
    if name not in _PLACES:
        raise AttributeError(f"module 'ptycho_core' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
