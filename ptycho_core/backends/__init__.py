"""Backends: which are installed, in what state they are, and the one that was chosen.

The names below are loaded on first use: listing backends costs neither pluggy nor any plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_core.backends.doctor import Diagnosis, diagnose
    from ptycho_core.backends.loading import Backend, load
    from ptycho_core.backends.registry import choose, find_backends, register, unregister
    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.backends.worker import Worker

_PLACES = {
    "Backend": "loading",
    "Diagnosis": "doctor",
    "BackendInfo": "states",
    "Worker": "worker",
    "choose": "registry",
    "diagnose": "doctor",
    "find_backends": "registry",
    "load": "loading",
    "register": "registry",
    "unregister": "registry",
}

__all__ = [
    "Backend",
    "BackendInfo",
    "Diagnosis",
    "Worker",
    "choose",
    "diagnose",
    "find_backends",
    "load",
    "register",
    "unregister",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute is of any type
    if name not in _PLACES:
        raise AttributeError(f"module 'ptycho_core.backends' has no attribute '{name}'")
    return getattr(import_module(f"ptycho_core.backends.{_PLACES[name]}"), name)
