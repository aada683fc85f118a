"""An answer to every setting that a user asked for: it is applied, adjusted, or not supported, and then the job is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ptycho_core.backends.plans import make_plan
from ptycho_core.contract import Disposition

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport

USED: Final = ("start", "epochs", "iterations", "batch_size", "object_alpha", "refine_probe")
"""The settings of a reconstruction that act: ``start`` is in the arrays that the core prepares, `engine` looks at the others."""

ANYWAY: Final = {"modes": 1, "likelihood": "amplitude", "coarse_start": False, "held_out": 0.0}
"""What it does without being asked; whoever asks for just that is not refused."""


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Say how a job will be run: device, precision and threads as every backend decides them, the rest by the tables above.

    A setting that is not looked at must be refused: one that is swallowed leaves a user with a result that is not what it says.
    """
    found = make_plan(request, probe, "NumPy", fixed={"threads": (1, "NumPy's transforms use one thread")})
    settings = request.settings.get("reconstruction", {})
    dead = [name for name, value in settings.items() if name not in USED and ANYWAY.get(name, "no value") != value]
    refused = {name: Disposition("unsupported", why="this backend does not look at it") for name in request.requested & {*dead}}
    return replace(found, dispositions={**found.dispositions, **refused})
