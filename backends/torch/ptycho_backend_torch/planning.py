"""How a job will run on PyTorch: accelerator, precision, threads, and an answer to every option that was asked for."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ptycho_core.backends.plans import make_plan, without

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    found = make_plan(request, probe, "PyTorch")
    if not found.options.get("compile"):
        return found
    why = _why_not_compiled(request.verb, str(found.execution["accelerator"]))
    return without(found, "torch.compile", why) if why else found


def _why_not_compiled(verb: str, accelerator: str) -> str:
    """Why torch.compile cannot serve here; empty if it can."""
    if verb not in ("train", "infer"):
        return f"it compiles the network of train and infer, and serves '{verb}' nothing"
    if accelerator != "cpu":
        return "" if find_spec("triton") else "torch.compile needs the package triton on a GPU"
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as PyTorch looks for it
    return "" if shutil.which(compiler) else f"torch.compile needs a C++ compiler on a CPU, and there is no '{compiler}'"
