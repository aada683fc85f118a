"""The verb ``reconstruct``: the stages of `ptycho_core.reconstruction.stages` in their plainest form.

rPIE without momentum (Maiden, Johnson & Li, Optica 4 (2017) 736), then object and probe together by L-BFGS with the gradients of
`ptycho_core.physics`. The flux is fitted where asked. There is no start at half the resolution, and neither positions nor a
background are fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.losses import variation
from ptycho_core.conformance.reference.search import Placing
from ptycho_core.contract import EvaluateJob
from ptycho_core.imaging.metrics import frame_sums
from ptycho_core.physics import evaluate, intensities
from ptycho_core.physics.forward import at_detector, from_detector
from ptycho_core.physics.losses import bounded_above
from ptycho_core.physics.propagation import shift
from ptycho_core.physics.windows import add_windows, cut_windows, split_positions
from ptycho_core.reconstruction.constants import COUNTS_FLOOR, ILLUMINATION_FLOOR, PROBE_ALPHA
from ptycho_core.reconstruction.lbfgs import minimise
from ptycho_core.reconstruction.position_search import SEARCH_ALPHA
from ptycho_core.reconstruction.schedule import keep_inside
from ptycho_core.reconstruction.stages import Run
from ptycho_core.scan.scan import hidden_light
from ptycho_core.settings.reconstruction import ReconstructionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ptycho_core.contract import EventSink, ExecutionPlan, ReconstructJob, ReconstructResult
    from ptycho_core.physics.near_field import Propagation

    Complex = NDArray[np.complex128]
    Real = NDArray[np.float64]

__all__ = ["reconstruct"]

_TERMS = {"amplitude": "amplitude", "poisson": "nll"}
_TINY = np.finfo(float).tiny
_LARGEST = 0.5
"""Of ``log f`` in one step."""


def reconstruct(job: ReconstructJob, plan: ExecutionPlan, events: EventSink) -> ReconstructResult:
    """Fit object and probe to one scan.

    Raises:
        DataError: if the scan's patterns cannot be used; the message names the frame.
    """
    scan = job.scan
    counts = np.where(scan.mask, scan.patterns.read(np.arange(len(scan))), 0.0).astype(np.float64)
    inside = keep_inside(np.array(job.positions, dtype=np.float64), job.object.shape, counts.shape[-1])
    options = ReconstructionSettings(**job.settings["reconstruction"])  # type: ignore[arg-type]
    flux = np.ones(len(scan)) if job.flux is None and options.refine_flux else job.flux
    start = _Model(job.object.astype(np.complex128), job.probe.astype(np.complex128), inside, flux)
    # What the plan refuses may have been allowed all the same: then it is done without.
    likelihood = options.likelihood if options.likelihood in _TERMS else "auto"
    options = replace(options, coarse_start=False, likelihood=likelihood)
    hidden = hidden_light(job.probe, scan.mask, scan.propagation)
    engine = _Engine(counts, scan.mask, options, scan.propagation, hidden)
    return Run(engine, options, plan, events).result(start)


@dataclass
class _Model:
    """Object (rows, columns), probe (mode, N, N), positions (frame, 2), and flux (frame,) or None for 1."""

    object: Complex
    probe: Complex
    positions: Real
    flux: Real | None

    def copy(self) -> _Model:
        flux = None if self.flux is None else self.flux.copy()
        return _Model(self.object.copy(), self.probe.copy(), self.positions.copy(), flux)

    def flux_of(self, frames: NDArray[np.int64]) -> Real:
        """(k,), of some frames."""
        return np.ones(len(frames)) if self.flux is None else self.flux[frames]

    def is_finite(self) -> bool:
        return bool(np.isfinite(self.object).all() and np.isfinite(self.probe).all())


class _Engine:
    """The stages' `Engine`; see there."""

    def __init__(
        self,
        counts: Real,
        mask: NDArray[np.bool_],
        options: ReconstructionSettings,
        way: Propagation | None = None,
        hidden: float = 0.0,
    ) -> None:
        self.counts, self.mask, self._options, self.way, self.hidden = counts, mask, options, way, hidden
        self.number, self.size = len(counts), counts.shape[-1]
        self.mean_counts = float(counts[:, mask].mean())

    def coarse(self, model: _Model) -> _Model:
        raise NotImplementedError("it never starts at half the resolution")

    def fine(self, coarse: _Model, model: _Model) -> _Model:
        raise NotImplementedError("it never starts at half the resolution")

    def epochs(self, model: _Model, *, coarse: bool) -> Callable[[list[NDArray[np.int64]], float], float]:
        assert not coarse

        def epoch(order: list[NDArray[np.int64]], _: float) -> float:
            difference = sum(self._update(model, frames) for frames in order)
            return difference / self._amplitudes(np.concatenate(order))

        return epoch

    def placing(self, model: _Model) -> Placing:
        options = replace(self._options, object_alpha=SEARCH_ALPHA)
        known, fitted = (
            _Engine(self.counts, self.mask, replace(options, refine_probe=fitted), self.way)._update  # noqa: SLF001 - of this class
            for fitted in (False, True)
        )
        saturation, refine_flux = self._options.saturation, bool(self._options.refine_flux)
        return Placing(model.copy(), self.counts, self.mask, known, fitted, self.way, saturation, refine_flux)

    def joint(self, model: _Model, used: NDArray[np.int64], likelihood: str, total_variation: float) -> _Joint:
        model = self.with_flux(model, used)
        return _Joint(self, model, used, likelihood, total_variation, self._options)

    def score(self, model: _Model, chosen: NDArray[np.int64], likelihood: str) -> tuple[float, float]:
        loss, misfit, _ = self.evaluated(self.with_flux(model, chosen), chosen, likelihood, gradients=False)
        return loss / len(chosen), misfit

    def with_flux(self, model: _Model, chosen: NDArray[np.int64]) -> _Model:
        """Without a background the amplitudes are a multiple of those modelled, so that the best one is linear least squares."""
        if not self._options.refine_flux:
            return model
        found = model.copy()
        for frame in chosen:
            light = intensities(model.object, model.probe, model.positions[frame, None], way=self.way)
            root = np.sqrt(light[0, self.mask])
            measured = np.sqrt(self.counts[frame, self.mask])
            if self._options.saturation:  # a bound says little of the dose
                below = measured < np.sqrt(0.999 * self._options.saturation)
                root, measured = root[below], measured[below]
            if found.flux is not None and root.any() and measured.any():
                found.flux[frame] = ((root * measured).sum() / (root * root).sum()) ** 2
        return found

    def replaced(self, model: _Model, object: Complex, probe: Complex, flux: Real) -> _Model:  # noqa: A002
        return _Model(object, probe, model.positions, flux)

    def arrays(self, model: _Model) -> tuple[Complex, Complex, None]:
        return model.object, model.probe, None

    def frame_sums(self, model: _Model) -> Real:
        return frame_sums(
            self.counts,
            self.mask,
            model.object,
            model.probe,
            model.positions,
            flux=model.flux,
            saturation=self._options.saturation,
            way=self.way,
        )

    def evaluated(
        self, model: _Model, chosen: NDArray[np.int64], likelihood: str, *, gradients: bool
    ) -> tuple[float, float, dict[str, NDArray[Any]]]:
        """Summed loss and R of the ``chosen`` frames, and the gradients with respect to object, probe and flux by name."""
        term = _TERMS[likelihood]
        job = EvaluateJob(
            model.object, model.probe, model.positions[chosen], self.counts[chosen], self.mask, None, {term: 1.0}, gradients,
            None if model.flux is None else model.flux[chosen], self._options.saturation or None, self.way,
        )  # fmt: skip
        found, pixels = evaluate(job), len(chosen) * np.count_nonzero(self.mask)
        misfit = found.losses["mae"] * pixels / self._amplitudes(chosen)
        return found.losses[term] * pixels, misfit, {name: slope * pixels for name, slope in found.gradients.items()}

    def bounded(self, frames: NDArray[np.int64], intensity: Real) -> Real:
        """Modelled counts of frames, no more than a saturated pixel counts."""
        level = self._options.saturation
        return bounded_above(intensity, self.counts[frames], level, COUNTS_FLOOR) if level else intensity

    def _amplitudes(self, frames: NDArray[np.int64]) -> float:
        return max(float(np.sqrt(self.counts[frames]).sum()), 1.0)

    def _update(self, model: _Model, frames: NDArray[np.int64]) -> float:
        """Move object and probe by one batch; Σ|√I − √n| before."""
        corners, remainders = split_positions(model.positions[frames])
        patches, d = cut_windows(model.object, corners, self.size), remainders[:, None]
        flux = model.flux_of(frames)[:, None, None]
        probes = np.sqrt(flux)[:, None] * shift(model.probe, d)
        waves = at_detector(probes * patches[:, None], d, self.way)
        light = (np.abs(waves) ** 2).sum(axis=1)
        intensity = self.bounded(frames, light)
        modelled = np.sqrt(intensity + COUNTS_FLOOR)
        residual = np.where(self.mask, np.sqrt(self.counts[frames]) - modelled, 0.0)
        change = from_detector((residual / modelled)[:, None] * waves, d, self.way)
        power = (np.abs(probes) ** 2).sum(axis=1)
        illumination, step = np.zeros(model.object.shape), np.zeros_like(model.object)
        add_windows(illumination, power, corners)
        add_windows(step, (probes.conj() * change).sum(axis=1), corners)
        alpha = self._options.object_alpha
        model.object = model.object + step / ((1 - alpha) * illumination + alpha * power.max() + _TINY)
        if self._options.refine_probe:
            seen = (flux * np.abs(patches) ** 2).sum(axis=0)
            slope = shift(np.sqrt(flux)[:, None] * patches.conj()[:, None] * change, -d).sum(axis=0)
            model.probe = model.probe + slope / ((1 - PROBE_ALPHA) * seen + PROBE_ALPHA * seen.max() + _TINY)
        if self._options.refine_flux and model.flux is not None:
            by_log = np.where(self.mask, light / (2 * modelled), 0.0)
            steps = (by_log * residual).sum(axis=(1, 2)) / ((by_log**2).sum(axis=(1, 2)) + _TINY)
            model.flux[frames] *= np.exp(steps.clip(-_LARGEST, _LARGEST))
        return float(np.abs(residual).sum())


class _Joint:
    """The joint fit of object and probe to the frames ``used``, each unknown scaled by the root of its share of the curvature.

    Attributes:
        misfit: R at the last evaluation.
    """

    def __init__(
        self,
        engine: _Engine,
        model: _Model,
        used: NDArray[np.int64],
        likelihood: str,
        variation: float,
        options: ReconstructionSettings,
    ) -> None:
        self._engine, self._start, self._used, self._likelihood = engine, model, used, likelihood
        self._refine_probe, self._refine_flux, self.misfit = options.refine_probe, bool(options.refine_flux), math.nan
        corners, _ = split_positions(model.positions[used])
        power = np.broadcast_to((np.abs(model.probe) ** 2).sum(axis=0), (len(used), engine.size, engine.size))
        self._light = light = np.zeros(model.object.shape)
        add_windows(light, power, corners)
        seen = (np.abs(cut_windows(model.object, corners, engine.size)) ** 2).sum(axis=0)
        self._object_scale = (light + ILLUMINATION_FLOOR * light.max() + _TINY) ** -0.5
        self._probe_scale = (seen + ILLUMINATION_FLOOR * seen.max() + _TINY) ** -0.5
        self._flux_scale = (0.5 * float(light.sum() * seen.mean()) / len(used) ** 2 + _TINY) ** -0.5
        counts = max(float(np.quantile(light[light > 0], 0.7)), 1.0) if light.any() else 1.0
        # The weight is relative to the photon noise of an object pixel, and smaller differences than half of it count as squares.
        self._variation, self._rounding = variation * math.sqrt(counts), 0.5 / math.sqrt(counts)

    def illumination(self) -> Real:
        """``Σ|P|²`` at each pixel of the object, at the start."""
        return self._light

    def iterate(self) -> Iterator[tuple[_Model, float]]:
        """Yield (model, loss a frame) after each iteration."""
        flux = np.log(self._start.flux_of(self._used)) / self._flux_scale
        start = self._packed(self._start.object / self._object_scale, self._start.probe / self._probe_scale, flux)
        for step in minimise(self._evaluate, start, lambda one, other: float(one @ other)):
            if step.stuck:
                return
            yield self._model(step.point), step.loss / len(self._used)

    def _packed(self, object_: Complex, probe: Complex, flux: Real) -> Real:
        parts = [object_, probe] if self._refine_probe else [object_]
        flat = [part.reshape(-1).view(np.float64) for part in parts]
        return np.concatenate([*flat, flux] if self._refine_flux else flat)

    def _model(self, point: Real) -> _Model:
        flux, number = self._start.flux, self._start.object.size
        if self._refine_flux and flux is not None:
            flux, point = flux.copy(), point.copy()
            flux[self._used], point = np.exp(point[-len(self._used) :] * self._flux_scale), point[: -len(self._used)]
        values = point.view(np.complex128)
        object_, probe = values[:number].reshape(self._start.object.shape), self._start.probe
        if self._refine_probe:
            probe = values[number:].reshape(probe.shape) * self._probe_scale
        return _Model(object_ * self._object_scale, probe, self._start.positions, flux)

    def _evaluate(self, point: Real) -> tuple[float, Real]:
        model = self._model(point)
        loss, self.misfit, slopes = self._engine.evaluated(model, self._used, self._likelihood, gradients=True)
        of_object, flux = slopes["object"], model.flux_of(self._used)
        if self._variation > 0:
            lengths, slope = variation(model.object, self._rounding)
            loss, of_object = loss + self._variation * float(lengths.sum()), of_object + self._variation * slope
        by_log = slopes.get("flux", np.zeros(len(flux))) * flux * self._flux_scale
        return loss, self._packed(of_object * self._object_scale, slopes["probe"] * self._probe_scale, by_log)
