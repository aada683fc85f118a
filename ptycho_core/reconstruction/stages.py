"""A reconstruction from start to end: rPIE epochs, the joint fit, then total variation where photons are few.

The engine and the reference, which shares none of the engine's text, both go through these stages; what they compute is behind
`Engine`.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ptycho_core.contract import Event, ReconstructResult, Snapshot
from ptycho_core.imaging.verdict import LEAST_DOSE
from ptycho_core.reconstruction.affine_search import AffineSearch
from ptycho_core.reconstruction.amplitude_ramp import without_ramp
from ptycho_core.reconstruction.information import UNCERTAIN, object_dose, position_errors
from ptycho_core.reconstruction.modes import orthogonalise_modes
from ptycho_core.reconstruction.position_search import SEARCHES, Search, reach_of
from ptycho_core.reconstruction.schedule import (
    HeldOut,
    Plan,
    Progress,
    batches,
    choose_held_out,
    choose_plan,
    keep_inside,
    positions_settled,
    shared_frames,
)
from ptycho_core.reconstruction.settling import Settling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ptycho_core.contract import EventSink, ExecutionPlan
    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.reconstruction.position_search import Searching
    from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["Engine", "Fit", "Run"]

HELD_OUT_RISE = 1.005
"""Frames held out may fit worse than their best by this factor before it counts as fitting noise.  Smooth phase still
converges long after their loss has stopped to fall, so that the first rise must not end the joint fit."""

TV_WEIGHTS = (0.5, 1.0, 2.0, 4.0)
TV_ITERATIONS = 8

FEW_WEIGHTS = (32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0)
FEW_ITERATIONS = 10
CERTAIN = 1.5
"""Standard errors by which frames held out must prefer a rougher object to a smoother one, where photons are few."""

REFIT_ITERATIONS = 10
"""Iterations at the end in which the frames held out to stop by are used too."""

LAST_ITERATIONS = 3
"""The same where all other frames have been fitted to the end: as many as are saved by leaving out one frame in twenty."""

JUDGED_EVERY = 5
"""Epochs from one look at the frames held out to the next, where they were not asked for."""

PLACE_EPOCHS = 20
"""Epochs in which frames held out find their places before they count, where positions are refined."""

IntArray = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


class AnyModel(Protocol):
    """What is reconstructed, in the arrays of a framework; ``positions`` (frame, 2) and ``flux`` (frame,) are float64 NumPy."""

    positions: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64] | None

    def copy(self) -> Self:
        """A model that stays as it is when this one is changed."""

    def is_finite(self) -> bool:
        """Whether all its numbers are finite."""


M = TypeVar("M", bound=AnyModel)
M_co = TypeVar("M_co", bound=AnyModel, covariant=True)


class Fit(Protocol[M_co]):
    """A joint fit under way; ``misfit`` is R at the last evaluation."""

    misfit: float

    def illumination(self) -> Array:
        """``Σ|P|²`` over modes and frames at each pixel of the object, at the start: NumPy (rows, columns)."""

    def iterate(self) -> Iterator[tuple[M_co, float]]:
        """Yield (model, loss a frame) after each iteration."""


class Engine(Protocol[M]):
    """What a framework computes.

    Attributes:
        number: frames in the scan.
        size: N.
        mean_counts: of a good pixel.
        way: to the detector in the near field; None in the far field.
        hidden: part of the light of the probe of the start that falls on bad pixels.
    """

    hidden: float
    number: int
    size: int
    mean_counts: float
    way: Propagation | None

    def coarse(self, model: M) -> M:
        """The model at half the resolution."""

    def fine(self, coarse: M, model: M) -> M:
        """``model`` with object and probe taken from ``coarse``."""

    def epochs(self, model: M, *, coarse: bool) -> Callable[[list[IntArray], float], float]:
        """What updates ``model`` by batches of frames, with a factor on steps of positions, and gives R."""

    def placing(self, model: M) -> Searching:
        """What searches for the positions of a copy of the model, with a flat object and the probe of the mean pattern."""

    def joint(self, model: M, used: IntArray, likelihood: str, total_variation: float) -> Fit[M]:
        """The joint fit of the frames ``used``."""

    def score(self, model: M, chosen: IntArray, likelihood: str) -> tuple[float, float]:
        """(loss a frame, R) of the ``chosen`` frames."""

    def with_flux(self, model: M, chosen: IntArray) -> M:
        """The model with the flux of the ``chosen`` frames that fits them best; as it is where flux is not fitted."""

    def replaced(self, model: M, object: Array, probe: Array, flux: npt.NDArray[np.float64]) -> M:  # noqa: A002
        """The model with other arrays: (rows, columns), (mode, N, N), (frame,)."""

    def arrays(self, model: M) -> tuple[Array, Array, Array | None]:
        """Object (rows, columns), probe (mode, N, N), and background, (1, 1) or (N, N) in FFT order or None, as NumPy."""

    def frame_sums(self, model: M) -> npt.NDArray[np.float64]:
        """Of each frame ``Σ|√I − √n|`` and ``Σ√n`` over good pixels: (frame, 2)."""


class Run(Generic[M]):
    """One reconstruction: its choices, history and best state.

    Args:
        engine: what computes.
        options: what is computed.
        plan: for the seed and the record.
        events: gets every epoch and iteration and the notes, and says when to stop.
    """

    def __init__(self, engine: Engine[M], options: ReconstructionSettings, plan: ExecutionPlan, events: EventSink) -> None:
        self._engine, self._options, self._planned, self._events = engine, options, plan, events
        seed = int(plan.execution["seed"] or 0)
        self._plan: Plan = choose_plan(options, engine.mean_counts, engine.number, engine.size, engine.way, engine.hidden)
        self._weight: float | None = self._plan.total_variation or 0.0  # None: no fit is to be trusted
        self._held_out_r: npt.NDArray[np.float64] | None = None
        self._random = np.random.default_rng([seed, 2])
        self._history: list[dict[str, Any]] = []
        self._notes = list(self._plan.notes)
        self._stopped_by, self._settled = "all epochs done", False
        self._began, self._last = time.perf_counter(), 0.0
        self._given = np.zeros((0, 2))  # positions of frames whose patterns do not determine them
        self._shown = 0  # rows of the history that a snapshot was handed out after

    def result(self, model: M) -> ReconstructResult:
        """Run all stages from ``model``; a stop is looked at after each epoch and iteration."""
        best, interrupted, self._given = model, False, model.positions.copy()
        self._held_out = self._chosen_to_hold_out(model)
        for state in self._stages(model):
            best = state
            if self._events.snapshot_due and len(self._history) > self._shown:
                self._show(best)
            if self._events.stop_requested:
                interrupted, self._stopped_by = True, "stop requested"
                break
        if self._options.refine_flux:
            best = self._with_relative_flux(best, model)
        image, probe, background = self._engine.arrays(best)
        if background is not None:
            background = np.broadcast_to(np.fft.fftshift(background), probe.shape[-2:]).copy()
        best.positions = keep_inside(best.positions, image.shape, self._engine.size)
        kept = np.zeros(0, dtype=np.int64)
        if self._options.moves_positions:
            kept = np.flatnonzero(position_errors(image, probe, best.positions, background, self._engine.way) > UNCERTAIN)
            best.positions[kept] = self._given[kept]
        if len(kept):
            self._notes.append(f"the patterns of {len(kept)} frames do not determine their positions, which stay as they were")
        for note in self._notes:
            self._events.emit(Event("message", message=note))
        how = self._options.refine_positions
        plan, sums, judging = self._planned, self._engine.frame_sums(best), self._held_out.judging
        judged = None if self._held_out_r is None else np.stack([self._held_out_r * sums[judging, 1], sums[judging, 1]], axis=1)
        return ReconstructResult(
            object=image,
            probe=orthogonalise_modes(probe),
            positions=best.positions,
            background=background,
            history=self._history,
            held_out=judging,
            held_out_sums=judged,
            stopped_by=self._stopped_by,
            interrupted=interrupted,
            facts={
                "notes": "; ".join(self._notes),
                "device": plan.device,
                "threads": plan.execution["threads"],
                "positions_kept": kept.tolist(),
                **({"position_search": how} if how in SEARCHES else {}),
            },
            frame_sums=sums,
            flux=best.flux,
        )

    def _chosen_to_hold_out(self, model: M) -> HeldOut:
        among = None if self._engine.way is None else shared_frames(model.positions, self._engine.size)
        seed = int(self._planned.execution["seed"] or 0)
        return choose_held_out(self._engine.number, self._plan.held_out, self._plan.stop_on_held_out, seed, among)

    def _with_relative_flux(self, model: M, start: M) -> M:
        """The model with a flux of mean 1 for every frame, and the amplitude ramp that its start has, by the beam."""
        if not self._plan.refit:
            model = self._engine.with_flux(model, self._held_out.judging)
        image, probe, _ = self._engine.arrays(model)
        assert model.flux is not None
        flux = model.flux
        # In the near field light goes round the edges of the window, where a ramp jumps: it would show in the patterns.
        if self._options.refine_probe and self._engine.way is None:
            image, probe, flux = without_ramp(image, probe, flux, model.positions, self._engine.arrays(start)[1])
        # A common factor is the probe's.
        return self._engine.replaced(model, image, probe * np.sqrt(flux.mean()).astype(probe.real.dtype), flux / flux.mean())

    def _show(self, model: M) -> None:
        """Hand out copies of the present state."""
        image, probe, _ = self._engine.arrays(model)
        row, self._shown = self._history[-1], len(self._history)
        snapshot = Snapshot(row["stage"], row["epoch"], np.array(image), np.array(probe), model.positions.copy())
        self._events.show(snapshot)

    def _stages(self, model: M) -> Iterator[M]:
        """Yield the best model so far after every epoch and iteration."""
        best = model
        for now in self._fitted(model):
            best = now
            yield best
        everything = self._training()
        if self._weight is None or self._options.iterations < 1 or len(everything) == len(self._held_out.used):
            return
        if self._plan.refit:
            best = self._judged(best)
        most = LAST_ITERATIONS if self._plan.few_photons or not len(self._held_out.stopping) else REFIT_ITERATIONS
        yield from self._joint("all frames", best, self._weight, most, everything)

    def _fitted(self, model: M) -> Iterator[M]:
        """The same for the stages in which frames held out take no part."""
        used, best = self._held_out.used, model
        asked = self._options.epochs is not None or self._plan.total_variation is not None
        if self._plan.few_photons and not asked and self._too_few(model):
            yield best
            return
        for now in self._placed(model):
            best = now
            yield best
        if self._plan.coarse_epochs:
            for small in self._pie("coarse", self._engine.coarse(model), self._plan.coarse_epochs, used):
                best = self._engine.fine(small, model)
                yield best
        for now in self._pie("pie", best, self._plan.epochs, used):
            best = now
            yield best
        if self._options.iterations < 1:
            return
        search = self._plan.total_variation is None and len(self._held_out.stopping) > 0
        if search and self._plan.few_photons:
            yield from self._roughen(best)
            return
        for number in range(1, self._plan.joint_fits + 1):
            self._settled, stage = False, "joint" if number == 1 else f"joint {number}"
            for now in self._joint(stage, best, self._weight or 0.0, self._options.iterations, used):
                best = now
                yield best
            if self._settled:
                break
        if search:
            yield from self._search_total_variation(best)

    def _placed(self, model: M) -> Iterator[M]:
        """Search for positions that are off by many pixels; ``model`` has them in the end."""
        how = self._options.refine_positions
        if how not in SEARCHES:
            return
        image, probe, _ = self._engine.arrays(model)
        placing, seed = self._engine.placing(model), int(self._planned.execution["seed"] or 0)
        search: Search | AffineSearch
        if how == "affine":
            search = AffineSearch(placing, model.positions.copy(), image.shape, self._engine.size, seed)
        else:
            reach, known = reach_of(self._options, model.positions, probe), not self._options.refine_probe
            search = Search(placing, model.positions.copy(), image.shape, probe, reach, known=known, seed=seed)
        for done in search.iterate():
            self._record(how, done.epoch, done.total, None, done.misfit, placing.state)
            yield placing.state
        model.positions = search.positions
        if how == "affine":
            self._given = model.positions.copy()
        yield model

    def _pie(self, stage: str, model: M, epochs: int, training: IntArray) -> Iterator[M]:
        """Epochs of rPIE; the state is handed on as it is, unless R got much worse, which ends the stage."""
        best, lowest = model, math.inf
        model = model.copy()
        update = self._engine.epochs(model, coarse=stage == "coarse")
        places: list[npt.NDArray[np.float64]] = []
        for epoch in range(1, epochs + 1):
            # The object must show some structure before positions mean anything.
            step = 1.0 if self._options.moves_positions and stage == "pie" and epoch > 3 else 0.0
            misfit = update(batches(training, self._options.batch_size, self._random), step)
            if not model.is_finite() or misfit > 1.3 * lowest + 1e-3:
                self._notes.append(f"{stage}: epoch {epoch} diverged (R {misfit:.3g}); went back to the best state")
                yield best
                return
            if misfit < lowest:
                best, lowest = model.copy(), misfit
            self._record(stage, epoch, epochs, None, misfit, model)
            yield model
            places.append(model.positions.copy())
            if self._options.moves_positions and positions_settled(places):
                return

    def _joint(self, stage: str, model: M, weight: float, most: int, used: IntArray) -> Iterator[M]:
        """The joint fit of the frames ``used``; with frames to stop by, ends before it fits them clearly worse."""
        joint = self._engine.joint(model, used, self._plan.likelihood, weight)
        most, lowest = min(most, self._options.iterations), math.inf
        noise = 1 / math.sqrt(max(self._dose(model), 1e-300))
        settling = Settling(self._engine.arrays(model)[0], joint.illumination(), self._plan.tolerance * noise)
        for iteration, (now, loss) in enumerate(joint.iterate(), 1):
            if not (math.isfinite(loss) and now.is_finite()):
                self._notes.append(f"{stage}: iteration {iteration} is not finite; went back to the best state")
                return
            held = self._record(stage, iteration, most, loss, joint.misfit, now)
            if held is not None and held > HELD_OUT_RISE * lowest:
                self._stopped_by, self._settled = f"{stage}: frames held out fit worse", True
                return
            lowest = lowest if held is None else min(held, lowest)
            yield now
            if iteration >= most:
                self._stopped_by = f"{stage}: all iterations done"
                return
            if settling.due(iteration) and settling.reached(self._engine.arrays(now)[0]):
                self._stopped_by, self._settled = f"{stage}: the object changes by less than the tolerance", True
                return

    def _search_total_variation(self, model: M) -> Iterator[M]:
        """Double the weight of the total variation until the frames held out fit worse."""
        best, lowest, chosen = model, self._stopping_loss(model), 0.0
        for weight in TV_WEIGHTS:
            now = best
            for smoother in self._joint("total variation", best, weight, TV_ITERATIONS, self._held_out.used):
                now = smoother
                yield best
            loss = self._stopping_loss(now)
            if loss >= lowest:
                break
            best, lowest, chosen = now, loss, weight
            yield best
        self._weight = chosen
        self._notes.append(f"total variation weight {chosen:g}, chosen by {len(self._held_out.stopping)} frames held out")
        yield best

    def _too_few(self, model: M) -> bool:
        """Whether there are too few photons to fit anything to, which is said then."""
        dose = self._dose(model)
        if dose >= LEAST_DOSE:
            return False
        self._weight, self._stopped_by = None, "too few photons"
        self._notes.append(f"{dose:.2g} counts for each pixel of the object are too few to fit anything to: the start is kept")
        return True

    def _dose(self, model: M) -> float:
        """Counts for each pixel of the scanned area."""
        engine = self._engine
        counts = engine.mean_counts * engine.size**2 * engine.number
        return object_dose(counts, engine.arrays(model)[1], model.positions)

    def _roughen(self, model: M) -> Iterator[M]:
        """Halve the weight of the total variation, from much, until the frames held out fit worse.

        The smoothest is taken of which they cannot tell for certain that it is worse than the best, be it the start.
        """
        tried: list[tuple[float | None, M, npt.NDArray[np.float64]]] = [(None, model, self._losses(model))]
        now = model
        for weight in FEW_WEIGHTS:
            for rougher in self._joint("total variation", now, weight, FEW_ITERATIONS, self._held_out.used):
                now = rougher
                yield model
            if now is not tried[-1][1]:  # a fit that has ended already takes no step
                tried.append((weight, now, self._losses(now)))
            means = [losses.mean() for _, _, losses in tried]
            if min(means) < min(means[-2:]):
                break
        best = tried[int(np.argmin(means))][2]
        self._weight, chosen, _ = next(one for one in tried if not _certainly_above(one[2], best))
        number = len(self._held_out.stopping)
        if self._weight is None:
            self._stopped_by = "frames held out fit no better than to the start"
            self._notes.append(f"few photons: {number} frames held out do not prefer any fit to the start, which is kept")
        else:
            self._notes.append(f"few photons: total variation weight {self._weight:g}, chosen by {number} frames held out")
        yield chosen

    def _judged(self, model: M) -> M:
        """Take R of the frames held out, before they are fitted too; where positions are refined they find theirs first."""
        judging = self._held_out.judging
        if self._options.moves_positions:
            model = model.copy()
            for _ in range(PLACE_EPOCHS):
                apart = model.copy()  # an object that they have written would hold them where they are
                self._engine.epochs(apart, coarse=False)(batches(judging, self._options.batch_size, self._random), 1.0)
                model.positions[judging] = apart.positions[judging]
        frames = np.split(judging, len(judging))
        self._held_out_r = np.array([self._engine.score(model, frame, self._plan.likelihood)[1] for frame in frames])
        return model

    def _training(self) -> IntArray:
        """All frames that may be fitted in the end."""
        judging = self._held_out.judging if self._plan.refit else self._held_out.judging[:0]
        return np.union1d(np.union1d(self._held_out.used, self._held_out.stopping), judging)

    def _losses(self, model: M) -> npt.NDArray[np.float64]:
        """The loss of each frame to stop by."""
        frames = np.split(self._held_out.stopping, len(self._held_out.stopping))
        return np.array([self._engine.score(model, frame, self._plan.likelihood)[0] for frame in frames])

    def _stopping_loss(self, model: M) -> float:
        return self._engine.score(model, self._held_out.stopping, self._plan.likelihood)[0]

    def _record(self, stage: str, epoch: int, total: int, loss: float | None, misfit: float, model: M) -> float | None:
        """Report an epoch; returns the loss of the frames to stop by."""
        held_misfit = held_loss = None
        whole = stage not in ("coarse", *SEARCHES)  # the coarse model sees another detector, a search looks at all frames
        asked = stage != "all frames" and epoch % JUDGED_EVERY == 0 if self._plan.refit else True
        if whole and asked and len(self._held_out.judging):
            held_misfit = self._engine.score(model, self._held_out.judging, self._plan.likelihood)[1]
        if whole and stage != "all frames" and len(self._held_out.stopping):
            held_loss = self._stopping_loss(model)
        seconds = time.perf_counter() - self._began
        progress = Progress(stage, epoch, total, loss, misfit, held_misfit, held_loss, seconds)
        self._history.append(progress.as_dict())
        values = progress.as_dict() | {"patterns_per_second": self._engine.number / max(seconds - self._last, 1e-9)}
        self._last = seconds
        self._events.emit(Event("epoch", stage, epoch, total, values))
        return held_loss


def _certainly_above(losses: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> bool:
    """Whether ``losses`` of some frames lie above ``others`` of the same by `CERTAIN` standard errors of the difference."""
    difference = losses - others
    error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return bool(difference.mean() > CERTAIN * error)
