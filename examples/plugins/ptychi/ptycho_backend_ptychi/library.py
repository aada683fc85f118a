"""pty-chi itself: imported with or without torchvision, and the devices that it can use."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from ptycho_core.contract import Device, ProbeReport
from ptycho_core.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GaussianBlur", "library", "probe"]

_TORCHVISION = "torchvision", "torchvision.transforms"


class GaussianBlur:
    """Stands for torchvision's class of that name where torchvision cannot be imported: pty-chi imports it for one function.

    That function makes random objects and probes to start from, which this backend never asks for: a start comes from the core.
    """

    def __init__(self, *_: object, **__: object) -> NoReturn:
        """Say what is missing.

        Raises:
            BackendError: always.
        """
        raise BackendError(
            "pty-chi blurs its random images with torchvision, which is not installed or does not fit this PyTorch.",
            remedy="Give pty-chi an object and a probe to start from, or install the torchvision that belongs to your PyTorch.",
            backend="ptychi",
        )


def library() -> Any:  # noqa: ANN401 - a module without its own annotations
    """The module ``ptychi.api``, imported by the first call; ``ptychi.api.task`` is there then too."""
    with _torchvision_or_stand_in():
        import_module("ptychi.api.task")
    # PyTorch imports it with the first optimizer that pty-chi makes, and names and makes a folder for its cache then. That is
    # an import's business, not that of a job.
    import_module("torch._dynamo")
    return import_module("ptychi.api")


def probe() -> ProbeReport:
    """Import pty-chi and report its version and the devices that its PyTorch sees."""
    import torch

    library()
    devices = [Device("cpu", "cpu", f"CPU, {torch.get_num_threads()} threads")]
    problems = []
    if torch.cuda.is_available():
        devices.append(Device("cuda", "cuda", torch.cuda.get_device_name()))
    elif torch.version.cuda is None:
        problems.append("this build of PyTorch has no CUDA")
    else:
        problems.append("PyTorch was built for CUDA but finds no usable GPU")
    return ProbeReport(version("ptychi"), tuple(devices), ("float32", "float64"), tuple(problems))


@contextmanager
def _torchvision_or_stand_in() -> Iterator[None]:
    """While pty-chi is imported, the name that it needs of torchvision can be imported."""
    if "ptychi.utils" in sys.modules or _imports("torchvision.transforms"):
        yield
        return
    package, transforms = map(ModuleType, _TORCHVISION)
    vars(package)["transforms"], vars(transforms)["GaussianBlur"] = transforms, GaussianBlur
    sys.modules.update(zip(_TORCHVISION, (package, transforms), strict=True))
    try:
        yield
    finally:
        for name in _TORCHVISION:
            del sys.modules[name]


def _imports(module: str) -> bool:
    try:
        import_module(module)
    except Exception:  # noqa: BLE001 - built for another PyTorch, it fails in its own ways
        return False
    return True
