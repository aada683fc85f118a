"""A reconstruction in PyTorch: what `ptycho_core.reconstruction.stages` goes through, on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_core.reconstruction.stages import FIRST_BACKGROUND, Arrays, Result, Run
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_torch.coarse import CoarseFrames, coarse_model, fine_model
from ptycho_torch.frames import Frames, Patterns
from ptycho_torch.joint import Joint, score
from ptycho_torch.pie import Momentum, pie_epoch
from ptycho_torch.propagation import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptycho_core.reconstruction.schedule import Progress
    from ptycho_core.scan.reading import Readers

__all__ = ["Result", "reconstruct"]


def reconstruct(
    patterns: Patterns,
    positions: npt.NDArray[np.float64],
    probe: npt.NDArray[np.complexfloating],
    object_start: npt.NDArray[np.complexfloating],
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    options: ReconstructionSettings | None = None,
    readers: Readers | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    report: Callable[[Progress, Model], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> Result:
    """Reconstruct the object and, as ``options`` say, probe, positions and background.

    Args:
        patterns: counts (frame, N, N), read when needed.
        positions: (frame, 2) row and column of each window's ``[0, 0]`` corner in ``object_start``, every window inside.
        probe: complex (mode, N, N), in counts: squared modulus sums to the mean counts of an empty object.
        object_start: complex (rows, columns), ones unless something better is known.
        mask: bool (N, N), True for good pixels, zero frequency at ``[N // 2, N // 2]``.
        options: defaults serve most scans.
        readers: the threads that read patterns ahead; None reads them where they are wanted.
        device: where to compute.
        dtype: ``torch.float32`` or ``torch.float64``.
        seed: of the order of frames and of the frames held out.  On the CPU the same seed and number of threads give the
            same result; on CUDA sums over overlapping windows are taken in no fixed order.
        report: called with a `schedule.Progress` and the current model (not to be changed) after every epoch and iteration.
        stop_requested: asked after every epoch and iteration; True ends the reconstruction with the best so far.
    """
    options = options or ReconstructionSettings()
    frames = Frames(patterns, mask, torch.device(device), dtype, options.memory_gib * 2**30, readers)
    engine = _Engine(frames, options)
    return Run(engine, options, seed, report, stop_requested).result(engine.start(positions, probe, object_start, dtype))


class _Engine:
    """The stages' `Engine`; see there."""

    def __init__(self, frames: Frames, options: ReconstructionSettings) -> None:
        self._frames, self._options = frames, options
        self.number, self.size = frames.number, frames.size
        self.mean_counts = frames.mean_counts_per_pixel()

    def start(
        self,
        positions: npt.NDArray[np.float64],
        probe: npt.NDArray[np.complexfloating],
        object_start: npt.NDArray[np.complexfloating],
        dtype: torch.dtype,
    ) -> Model:
        """The model to start from, on the device."""
        device = self._frames.device
        first = torch.as_tensor(np.array(object_start), dtype=dtype.to_complex(), device=device)
        modes = torch.as_tensor(np.array(probe).reshape(-1, *np.shape(probe)[-2:]), dtype=dtype.to_complex(), device=device)
        background = None
        if self._options.background != "none":
            shape = (1, 1) if self._options.background == "constant" else (self.size, self.size)
            background = torch.full(shape, FIRST_BACKGROUND * self.mean_counts, dtype=dtype, device=device)
        inside = keep_inside(np.array(positions, dtype=np.float64), tuple(first.shape), self.size)
        return Model(first, modes, inside, background)

    def copy(self, model: Model) -> Model:
        return model.copy()

    def coarse(self, model: Model) -> Model:
        return coarse_model(model)

    def fine(self, coarse: Model, model: Model) -> Model:
        return fine_model(coarse, model)

    def epochs(self, model: Model, *, coarse: bool) -> Callable[[list[npt.NDArray[np.int64]], float], float]:
        frames = CoarseFrames(self._frames) if coarse else self._frames
        momentum = Momentum(model)

        def epoch(order: list[npt.NDArray[np.int64]], position_step: float) -> float:
            return pie_epoch(
                model,
                frames,
                order,
                object_alpha=self._options.object_alpha,
                refine_probe=self._options.refine_probe,
                position_step=position_step,
                momentum=momentum,
            )

        return epoch

    def joint(self, model: Model, used: npt.NDArray[np.int64], likelihood: str, total_variation: float) -> Joint:
        return Joint(
            model,
            self._frames,
            used,
            likelihood=likelihood,
            refine_probe=self._options.refine_probe,
            refine_positions=self._options.refine_positions,
            tv_weight=total_variation,
        )

    def score(self, model: Model, chosen: npt.NDArray[np.int64], likelihood: str) -> tuple[float, float]:
        return score(model, self._frames, chosen, likelihood)

    def arrays(self, model: Model) -> Arrays:
        background = None if model.background is None else model.background.cpu().numpy()
        return Arrays(model.object.cpu().numpy(), model.probe.cpu().numpy(), background)
