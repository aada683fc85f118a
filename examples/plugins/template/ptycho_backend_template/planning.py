"""An answer to every setting that a user asked for: it is applied, adjusted, or not supported, and then the job is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.backends.plans import make_plan

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, ProbeReport, Value

HONOURS: Final = {"reconstruct": ("start", "epochs", "iterations", "batch_size", "object_alpha", "refine_probe")}
"""The settings that act, by verb: ``start`` is in the arrays that the core prepares, `engine` looks at the others.

Name what your code acts on, and no more: nothing here reads ahead, so ``num_workers`` and ``prefetch`` are not among them.
"""

ANYWAY: Final[dict[str, tuple[Value, str]]] = {
    "modes": (1, "it fits one mode"),
    "likelihood": ("amplitude", "it fits amplitudes"),
    "coarse_start": (False, "it starts with the whole detector"),
    "held_out": (0.0, "it uses all frames"),
}
"""What it does without being asked, and why nothing else; who asks for just that is not refused."""


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Say how a job will be run: device, precision and threads as every backend decides them, the rest by the tables above.

    A setting that is not looked at must be refused: one that is swallowed leaves a user with a result that is not what it says.
    """
    fixed = {"threads": (1, "NumPy's transforms use one thread")}
    return make_plan(request, probe, "NumPy", fixed, honours=HONOURS[request.verb], anyway=ANYWAY)
