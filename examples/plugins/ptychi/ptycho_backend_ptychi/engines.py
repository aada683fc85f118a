"""What an engine of pty-chi gets: its options, made from our settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_backend_ptychi.library import library
from ptycho_core.physics.windows import split_positions
from ptycho_core.reconstruction.constants import PROBE_ALPHA

if TYPE_CHECKING:
    from ptycho_backend_ptychi.conventions import Model
    from ptycho_core.contract import ExecutionPlan
    from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["Choices", "frames_that_overlap", "task_options"]

_CLASSES: Final = {
    "lsqml": "LSQMLOptions",
    "rpie": "RPIEOptions",
    "epie": "EPIEOptions",
    "dm": "DMOptions",
    "autodiff": "AutodiffPtychographyOptions",
}
_GRADIENT: Final = 0.5
"""pty-chi's gradients with respect to real and imaginary part are twice the step of ePIE, which their scale is meant to match."""

_DM_CHUNK: Final = 32
"""Frames that dm computes at once: it bounds the memory and changes nothing else."""


@dataclass(frozen=True)
class Choices:
    """What an engine is to do.

    Attributes:
        settings: the *reconstruction* settings.
        options: this backend's own, by name.
        likelihood: ``amplitude`` or ``poisson``.
        epochs: how many it will run.
        frames: how many it is given.
        origin: where its position (0, 0) lies in the object, (row, column).
    """

    settings: ReconstructionSettings
    options: dict[str, Any]
    likelihood: str
    epochs: int
    frames: int
    origin: tuple[float, float]

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return str(self.options["engine"])

    @property
    def batch(self) -> int:
        """Frames in one update."""
        return self.frames if self.engine == "dm" else min(self.settings.batch_size, self.frames)


def task_options(choices: Choices, start: Model, plan: ExecutionPlan) -> Any:  # noqa: ANN401 - pty-chi has no annotations
    """The options of pty-chi's task for an engine."""
    api = library()
    found = getattr(api, _CLASSES[choices.engine])()
    _set(
        found.reconstructor_options,
        num_epochs=choices.epochs,
        default_device=api.Devices.CPU if plan.device == "cpu" else api.Devices.GPU,
        default_dtype=api.Dtypes.FLOAT64 if plan.execution["precision"] == "float64" else api.Dtypes.FLOAT32,
        random_seed=int(plan.execution["seed"] or 0),
        allow_nondeterministic_algorithms=plan.execution["deterministic"] == "off",
    )
    found.data_options.fft_shift = False
    _set(
        found.object_options,
        determine_position_origin_coords_by=api.ObjectPosOriginCoordsMethods.SPECIFIED,
        position_origin_coords=list(choices.origin),
    )
    if not choices.settings.refine_probe:
        found.probe_options.optimizable = False
        found.object_options.remove_object_probe_ambiguity.enabled = False  # it would scale the probe
    if choices.settings.moves_positions:
        found.probe_position_options.optimizable = True
        # Of autodiff it would fail: pty-chi 2.2 asks for the gradient of positions that do not have one yet.
        first = 0 if choices.engine == "autodiff" else int(choices.options["position_start"])
        found.probe_position_options.optimization_plan.start = first
        found.probe_position_options.step_size = float(choices.options["position_step"])
    _of_engine(found, choices, start)
    return found


def frames_that_overlap(start: Model, batch: int, alpha: float) -> float:
    """Frames of a random batch that update the same place of the object, at most; at least 1.

    pty-chi adds up the updates of all frames of a batch. Each is the exact answer to its own pattern, so that where k of them
    overlap the sum goes k times too far.

    Args:
        start: probe and positions.
        batch: frames in a batch.
        alpha: regularisation of rPIE, whose update weighs ``|P|² / ((1 − α) |P|² + α max|P|²)``; 1 for ePIE.
    """
    power = (np.abs(start.probe) ** 2).sum(axis=0)
    weight = power / ((1 - alpha) * power + alpha * power.max())
    weights = np.zeros(start.object.shape)
    size = weight.shape[0]
    for row, column in split_positions(start.positions)[0]:
        weights[row : row + size, column : column + size] += weight
    return max(1.0, float(weights.max()) * batch / len(start.positions))


def _of_engine(found: Any, choices: Choices, start: Model) -> None:  # noqa: ANN401 - pty-chi's options
    """What one engine has and others do not."""
    alpha, step = choices.settings.object_alpha, float(choices.options["step"])
    own = found.reconstructor_options
    if choices.engine == "dm":
        own.displayed_loss_function = None  # it reports the error of the difference map
        own.chunk_length = _DM_CHUNK
        return
    own.batch_size, own.batching_mode = choices.batch, str(choices.options["batching"])
    if choices.engine == "lsqml":
        own.noise_model = "poisson" if choices.likelihood == "poisson" else "gaussian"
        own.momentum_acceleration_gain = float(choices.options["momentum"])
        own.rescale_probe_intensity_in_first_epoch = choices.settings.refine_probe
        return
    alpha = alpha if choices.engine == "rpie" else 1.0  # of epie the length of its step
    scale = step * (_GRADIENT if choices.engine == "autodiff" else 1.0)
    found.object_options.step_size = scale / frames_that_overlap(start, choices.batch, alpha)
    found.probe_options.step_size = scale
    if choices.engine != "autodiff":
        found.object_options.alpha = alpha
        found.probe_options.alpha = PROBE_ALPHA if choices.engine == "rpie" else 1.0


def _set(options: Any, **values: Any) -> None:  # noqa: ANN401 - pty-chi's options
    for name, value in values.items():
        setattr(options, name, value)
