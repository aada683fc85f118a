"""How a job will run: in double precision on the processor, whatever else was asked for; and an answer to each option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.backends.plans import make_plan
from ptycho_core.contract import Device, ProbeReport
from ptycho_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from ptycho_core.contract import ExecutionPlan, ExecutionRequest, Value

__all__ = ["ptycho_plan", "ptycho_probe"]

_PRECISION = "float64"

_HONOURED: Final = {
    "train": """
        model_type gridsize neighbor_count modes merge update_steps estimate network network_depth network_width output_form
        amplitude_activation train_probe train_scale probe_scale probe_mask_diameter probe_mask_edge probe_smoothing
        epochs batch_size learning_rate optimizer weight_decay adam_beta1 adam_beta2 adam_epsilon momentum scheduler
        warmup_epochs decay plateau_factor plateau_patience min_learning_rate gradient_clip_val gradient_clip_algorithm
        accumulate_grad_batches nll_weight amplitude_weight mae_weight tv_weight realspace_weight validation_split oversampling
        n_groups n_subsample sequential_sampling subsample_seed labels refine_flux saturation deterministic
    """,
    "infer": """
        refine_probe refine_flux saturation update_steps probe_mask_diameter probe_mask_edge probe_smoothing deterministic
    """,
    "reconstruct": """
        start modes epochs iterations batch_size object_alpha likelihood total_variation refine_probe refine_flux saturation
        held_out tolerance deterministic
    """,
    "evaluate": "deterministic",
}
"""What acts, by verb."""

_ANYWAY: Final[dict[str, tuple[Value, str]]] = {
    "coarse_start": (False, "starts at the whole resolution"),
    "refine_positions": ("off", "does not fit positions"),
    "background": ("none", "does not fit a background"),
    "memory_gib": (None, "keeps all patterns in memory"),
}

_FIXED: Final[dict[str, tuple[Value, str]]] = {
    "threads": (
        None,
        "NumPy's libraries choose their threads as they are loaded; set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS before",
    ),
    "num_workers": (0, "patterns are read where they are wanted"),
}
_SAME: Final[tuple[Value, str]] = ("on", "there is nothing here that differs from run to run")


@hookimpl
def ptycho_probe() -> ProbeReport:
    """NumPy's version; there is one device and one precision."""
    import numpy as np

    return ProbeReport(np.__version__, (Device("cpu", "cpu", "CPU, NumPy"),), (_PRECISION,))


@hookimpl
def ptycho_plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    loose = {"deterministic": _SAME} if request.execution["deterministic"] == "off" else {}
    return make_plan(request, probe, "NumPy", {**_FIXED, **loose}, honours=_HONOURED[request.verb].split(), anyway=_ANYWAY)
