"""The verb ``reconstruct`` on the operations of a framework: what the stages of a reconstruction go through."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.engine.coarse import coarse_state, fine_state
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.frequencies import Frequencies
from ptycho_core.engine.joint import Joint, frame_sums, score, with_best_flux
from ptycho_core.engine.losses import built_in
from ptycho_core.engine.patterns import DevicePatterns, InnerPatterns
from ptycho_core.engine.pie import Momentum, pie_epoch
from ptycho_core.engine.search import Placing
from ptycho_core.engine.state import State
from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_core.reconstruction.stages import Run
from ptycho_core.scan.beam_stop import is_stopped, passed, windows_spectrum
from ptycho_core.scan.reading import Readers
from ptycho_core.scan.scan import empty_pattern, hidden_light
from ptycho_core.settings.reconstruction import ReconstructionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, ExecutionPlan, ReconstructJob, ReconstructResult
    from ptycho_core.engine.arrays import ArrayOps
    from ptycho_core.engine.losses import Loss

__all__ = ["reconstruct"]

FIRST_BACKGROUND: Final = 0.01
"""Of the mean counts a pixel.  Not zero: the fit is on the background's square root, which has no slope there."""


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink, xp: ArrayOps) -> ReconstructResult:
    """Fit object, probe and, if asked, positions, background and flux to the scan of a job, on the operations of a framework.

    On a CPU the same seed and number of threads give the same result; on a GPU sums over overlapping windows may be taken in no
    fixed order.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    options, readers = ReconstructionSettings(**job.settings["reconstruction"]), Readers.planned(plan.execution)  # type: ignore[arg-type]
    likelihoods = {loss.likelihood: loss for loss in (job.losses or built_in()).values() if loss.likelihood is not None}
    frames = DevicePatterns(xp, job.scan.patterns, job.scan.mask, options.memory_gib * 2**30, readers, options.saturation)
    engine = _Engine(frames, options, likelihoods, job)
    found = Run(engine, options, plan, events).result(engine.start(job))
    return replace(found, facts={**found.facts, **readers.facts()})


class _Engine:
    """The stages' `Engine`; see there."""

    fine = staticmethod(fine_state)

    def __init__(
        self, frames: DevicePatterns, options: ReconstructionSettings, likelihoods: Mapping[str, Loss], job: ReconstructJob
    ) -> None:
        self._frames, self._options, self._xp = frames, options, frames.xp
        self._forward, self._likelihoods = forward_of(frames.xp, job.scan.propagation, frames.size), likelihoods
        self.way = job.scan.propagation
        self.number, self.size = frames.number, frames.size
        self.mean_counts = frames.mean_counts_per_pixel()
        known = job.scan.background
        self._known = None if known is None else np.fft.ifftshift(known)
        self._mask = job.scan.mask
        self.hidden = hidden_light(job.probe, self._mask, self.way)

    def start(self, job: ReconstructJob) -> State:
        """The state to start from, on the device."""
        xp = self._xp
        # Copies: where memory is shared with NumPy, an update in place must not change what the caller holds.
        first, modes = xp.from_numpy(np.array(job.object)), xp.from_numpy(np.array(job.probe))
        background = None if self._known is None else xp.from_numpy(self._known)
        if self._options.background != "none":
            shape = (1, 1) if self._options.background == "constant" else (self.size, self.size)
            least = np.full(shape, FIRST_BACKGROUND * self.mean_counts)
            background = xp.from_numpy(least if self._known is None else np.maximum(self._known, least))
        inside = keep_inside(np.array(job.positions, dtype=np.float64), tuple(first.shape), self.size)
        flux = np.ones(self.number) if job.flux is None and self._options.refine_flux else job.flux
        return State(xp, first, modes, inside, background, None if flux is None else np.array(flux, dtype=np.float64))

    def coarse(self, model: State) -> State:
        small = coarse_state(model)
        if self._known is not None:
            keep = np.fft.fftfreq(self.size // 2, 2 / self.size).astype(np.int64)
            small.background = self._xp.from_numpy(self._known[np.ix_(keep, keep)])
        return small

    def epochs(self, model: State, *, coarse: bool) -> Callable[[list[NDArray[np.int64]], float], float]:
        frames = InnerPatterns(self._frames) if coarse else self._frames
        # It carries on the first change from a flat object, by half of it: that the coarse start has taken, where there is one.
        momentum = Momentum(model) if self.way is None else None

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
                refine_flux=bool(self._options.refine_flux),
            )

        return epoch

    def placing(self, model: State) -> Placing:
        return Placing(model, self._frames, self._forward, refine_flux=bool(self._options.refine_flux))

    def joint(self, model: State, used: NDArray[np.int64], likelihood: str, total_variation: float) -> Joint:
        return Joint(
            model,
            self._frames,
            used,
            forward=self._forward,
            likelihood=self._likelihoods[likelihood],
            refine_probe=self._options.refine_probe,
            refine_positions=self._options.moves_positions,
            tv_weight=total_variation,
            refine_flux=bool(self._options.refine_flux),
            refine_background=self._options.background != "none",
            scales=self._scales(model, used) if is_stopped(self.hidden) else (None, None),
        )

    def _scales(self, model: State, used: NDArray[np.int64]) -> tuple[Frequencies, Frequencies]:
        """What makes frequencies that a stop hides in part as easy to find as the others."""
        image, probe, _ = self.arrays(model)
        seen = windows_spectrum(image, model.positions[used], self.size)
        of_object = passed(empty_pattern(probe, None), self._mask, image.shape)
        of_probe = passed(seen, self._mask, probe.shape[1:])
        return Frequencies(self._xp, of_object**-0.5), Frequencies(self._xp, of_probe**-0.5)

    def score(self, model: State, chosen: NDArray[np.int64], likelihood: str) -> tuple[float, float]:
        model = self.with_flux(model, chosen)
        return score(model, self._frames, chosen, forward=self._forward, likelihood=self._likelihoods[likelihood])

    def with_flux(self, model: State, chosen: NDArray[np.int64]) -> State:
        if not (self._options.refine_flux and len(chosen)):
            return model
        return with_best_flux(model, self._frames, chosen, forward=self._forward)

    def replaced(
        self,
        model: State,
        object: NDArray[Any],  # noqa: A002 - the field's word
        probe: NDArray[Any],
        flux: NDArray[np.float64],
    ) -> State:
        found = model.copy()
        found.object, found.probe, found.flux = self._xp.from_numpy(object), self._xp.from_numpy(probe), flux
        return found

    def arrays(self, model: State) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        background = None if model.background is None else self._xp.to_numpy(model.background)
        return self._xp.to_numpy(model.object), self._xp.to_numpy(model.probe), background

    def frame_sums(self, model: State) -> NDArray[np.float64]:
        return frame_sums(model, self._frames, forward=self._forward)
