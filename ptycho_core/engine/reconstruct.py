"""The verb ``reconstruct`` on the operations of a framework: what the stages of a reconstruction go through."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from ptycho_core.engine.coarse import coarse_state, fine_state
from ptycho_core.engine.forward import DEFAULT
from ptycho_core.engine.joint import Joint, score
from ptycho_core.engine.losses import LIKELIHOODS
from ptycho_core.engine.patterns import DevicePatterns, InnerPatterns, Patterns
from ptycho_core.engine.pie import Momentum, pie_epoch
from ptycho_core.engine.state import State
from ptycho_core.reconstruction.job import fit_scan
from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_core.reconstruction.stages import Arrays, Result, Run
from ptycho_core.settings.components import losses_of
from ptycho_core.settings.reconstruction import ReconstructionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, ExecutionPlan, ReconstructJob, ReconstructResult
    from ptycho_core.engine.arrays import ArrayOps
    from ptycho_core.engine.losses import Loss
    from ptycho_core.reconstruction.schedule import Progress
    from ptycho_core.scan.reading import Readers

__all__ = ["fit", "reconstruct"]

FIRST_BACKGROUND: Final = 0.01
"""Of the mean counts a pixel.  Not zero: the fit is on the background's square root, which has no slope there."""


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink, xp: ArrayOps) -> ReconstructResult:
    """Fit object, probe and, if asked, positions and background to the scan of a job, on the operations of a framework.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    likelihoods = {loss.likelihood: loss for loss in losses_of(job.settings).values() if loss.likelihood is not None}
    return fit_scan(job, plan, events, partial(fit, xp, likelihoods=likelihoods))


def fit(
    xp: ArrayOps,
    patterns: Patterns,
    positions: NDArray[np.float64],
    probe: NDArray[np.complexfloating],
    object_start: NDArray[np.complexfloating],
    *,
    mask: NDArray[np.bool_] | None = None,
    options: ReconstructionSettings | None = None,
    likelihoods: Mapping[str, Loss] = LIKELIHOODS,
    readers: Readers | None = None,
    seed: int = 0,
    report: Callable[[Progress, State], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> Result:
    """Reconstruct the object and, as ``options`` say, probe, positions and background.

    Args:
        xp: operations of a framework, in the precision and on the device to compute with.
        patterns: counts (frame, N, N), read when needed.
        positions: (frame, 2) row and column of each window's ``[0, 0]`` corner in ``object_start``, every window inside.
        probe: complex (mode, N, N), in counts: squared modulus sums to the mean counts of an empty object.
        object_start: complex (rows, columns), ones unless something better is known.
        mask: bool (N, N), True for good pixels, zero frequency at ``[N // 2, N // 2]``.
        options: defaults serve most scans.
        likelihoods: what the joint fit can minimise, by the words of ``options.likelihood``.
        readers: the threads that read patterns ahead; None reads them where they are wanted.
        seed: of the order of frames and of the frames held out.  On a CPU the same seed and number of threads give the same
            result; on a GPU sums over overlapping windows may be taken in no fixed order.
        report: called with a `schedule.Progress` and the current state (not to be changed) after every epoch and iteration.
        stop_requested: asked after every epoch and iteration; True ends the reconstruction with the best so far.
    """
    options = options or ReconstructionSettings()
    engine = _Engine(DevicePatterns(xp, patterns, mask, options.memory_gib * 2**30, readers), options, likelihoods)
    return Run(engine, options, seed, report, stop_requested).result(engine.start(positions, probe, object_start))


class _Engine:
    """The stages' `Engine`; see there."""

    coarse, fine = staticmethod(coarse_state), staticmethod(fine_state)

    def __init__(self, frames: DevicePatterns, options: ReconstructionSettings, likelihoods: Mapping[str, Loss]) -> None:
        self._frames, self._options, self._xp = frames, options, frames.xp
        self._forward, self._likelihoods = DEFAULT, likelihoods
        self.number, self.size = frames.number, frames.size
        self.mean_counts = frames.mean_counts_per_pixel()

    def start(
        self,
        positions: NDArray[np.float64],
        probe: NDArray[np.complexfloating],
        object_start: NDArray[np.complexfloating],
    ) -> State:
        """The state to start from, on the device."""
        xp = self._xp
        # Copies: where memory is shared with NumPy, an update in place must not change what the caller holds.
        first = xp.from_numpy(np.array(object_start))
        modes = xp.from_numpy(np.array(probe).reshape(-1, *np.shape(probe)[-2:]))
        background = None
        if self._options.background != "none":
            shape = (1, 1) if self._options.background == "constant" else (self.size, self.size)
            background = xp.from_numpy(np.full(shape, FIRST_BACKGROUND * self.mean_counts))
        inside = keep_inside(np.array(positions, dtype=np.float64), tuple(first.shape), self.size)
        return State(xp, first, modes, inside, background)

    def epochs(self, model: State, *, coarse: bool) -> Callable[[list[NDArray[np.int64]], float], float]:
        frames = InnerPatterns(self._frames) if coarse else self._frames
        momentum = Momentum(model)

        def epoch(order: list[NDArray[np.int64]], position_step: float) -> float:
            return pie_epoch(
                model,
                frames,
                order,
                forward=self._forward,
                object_alpha=self._options.object_alpha,
                refine_probe=self._options.refine_probe,
                position_step=position_step,
                momentum=momentum,
            )

        return epoch

    def joint(self, model: State, used: NDArray[np.int64], likelihood: str, total_variation: float) -> Joint:
        return Joint(
            model,
            self._frames,
            used,
            forward=self._forward,
            likelihood=self._likelihoods[likelihood],
            refine_probe=self._options.refine_probe,
            refine_positions=self._options.refine_positions,
            tv_weight=total_variation,
        )

    def score(self, model: State, chosen: NDArray[np.int64], likelihood: str) -> tuple[float, float]:
        return score(model, self._frames, chosen, forward=self._forward, likelihood=self._likelihoods[likelihood])

    def arrays(self, model: State) -> Arrays:
        background = None if model.background is None else self._xp.to_numpy(model.background)
        return Arrays(self._xp.to_numpy(model.object), self._xp.to_numpy(model.probe), background)
