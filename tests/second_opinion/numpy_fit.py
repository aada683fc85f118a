"""A whole reconstruction in plain NumPy, from the formulas: what the core's stages and the engines of backends are held to.

It is in double precision and shares `ptycho_core.physics` and the minimiser with them, nothing else. At the detector the zero
frequency is at ``[N // 2, N // 2]``. The order of the work is that of ``docs/decisions/0040``.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ptycho_core.physics.propagation import backpropagate, propagate, shift, shift_derivatives
from ptycho_core.physics.windows import add_windows, cut_windows
from ptycho_core.reconstruction.lbfgs import minimise

__all__ = ["NumpyFit", "State", "half", "position_steps", "resampled", "total_variation"]

DARK = 1e-6
"""Counts added to a modelled intensity."""


@dataclass
class State:
    """Object (rows, columns), probe (mode, N, N), positions (frame, 2), background (N, N) or (1, 1) or None."""

    object: np.ndarray
    probe: np.ndarray
    positions: np.ndarray
    background: np.ndarray | None = None


class NumpyFit:
    """A reconstruction; after `run` there are its ``state``, ``history``, ``notes`` and ``stopped_by``."""

    def __init__(self, counts, mask, state, options, seed=0):
        self.roots, self.mask, self.state = np.sqrt(np.where(mask, counts, 0).astype(float)), mask, state
        self.options, self.history, self.notes, self.stopped_by = options, [], [], "all epochs done"
        number, size = len(counts), counts.shape[-1]
        mean = (self.roots**2).sum() / number / mask.sum()
        few, self.fewest = mean < 10, mean < 0.5 and options.iterations > 0
        self.likelihood = options.likelihood
        if self.likelihood == "auto":
            self.likelihood = "poisson" if few else "amplitude"
        if options.background != "none":
            state.background = np.full((size, size) if options.background == "pixel" else (1, 1), 0.01 * mean)
        self.draw = np.random.default_rng([seed, 2])
        draws, every = np.random.default_rng([seed, 1]), np.arange(number)
        self.lends = options.held_out is None and number >= 40 and options.iterations > 0
        self.judging = spread(every, 0.05 if self.lends else options.held_out or 0.0, draws)
        rest = np.setdiff1d(every, self.judging)
        asked = few and number >= 40 and options.iterations > 0
        self.stopping = spread(rest, 0.05, draws) if asked else every[:0]
        self.used = np.setdiff1d(rest, self.stopping)
        self.searches = few and options.total_variation is None
        wanted = options.start is None and not self.fewest if options.coarse_start is None else options.coarse_start
        self.coarse = wanted and size >= 64 and size % 4 == 0

    def run(self):
        """All stages."""
        options = self.options
        if self.fewest and options.epochs is None and options.total_variation is None and self._dose(self.state) < 1:
            self.stopped_by = "too few photons"
            return self
        usual = 0 if self.fewest else 50 if options.moves_positions else 5
        epochs = usual if options.epochs is None else options.epochs
        if self.coarse:
            self._coarse_epochs(min(epochs, 5))
        self.state = self._epochs("pie", self.state, self.roots, self.mask, epochs)
        if options.iterations:
            weight, searches = options.total_variation or 0.0, self.searches and len(self.stopping)
            if searches and self.fewest:
                weight = self._roughen()
            else:
                self.state = self._joint("joint", self.state, weight, options.iterations, self.used)
                weight = self._search() if searches else weight
            whole = np.sort(np.concatenate([self.used, self.stopping, self.judging[: len(self.judging) if self.lends else 0]]))
            if len(whole) > len(self.used) and weight is not None:
                if self.lends:
                    self._judge()
                most = 3 if self.fewest or not len(self.stopping) else 10
                self.state = self._joint("all frames", self.state, weight, most, whole)
        return self

    def _dose(self, state):
        """Counts for each pixel of an area as wide as the positions and the evenly lit disc that the probe is like."""
        power = (np.abs(state.probe) ** 2).sum(axis=0)
        width = 2 * power.sum() / np.sqrt(np.pi * (power**2).sum())
        rows, columns = np.ptp(state.positions, axis=0) + width
        mean = (self.roots**2).sum() / self.mask.sum()
        return mean * self.mask.size / (rows * columns)

    def _judge(self):
        """R of each frame held out, once it has found its place."""
        if self.options.moves_positions:
            for _ in range(20):
                state, kicks = self.state, Kicks(self.state)
                order = self.draw.permutation(self.judging)
                for start in range(0, len(order), self.options.batch_size):
                    frames = np.sort(order[start : start + self.options.batch_size])
                    state, _ = self._batch(state, self.roots, self.mask, frames, moves=True)
                    state = kicks.after_batch(state, probe=self.options.refine_probe)
                positions = self.state.positions.copy()
                positions[self.judging] = state.positions[self.judging]
                self.state = replace(self.state, positions=positions)  # object and probe stay as they were
        self.judged = np.array([self.score(self.state, np.array([frame]))[1] for frame in self.judging])

    def _roughen(self):
        """Weights from much to none, each fit from the one before; the smoothest that is not certainly worse than the best."""
        rows = [(None, self.state, self._each(self.state))]
        for weight in (32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0):
            found = self._joint("total variation", rows[-1][1], weight, 10, self.used)
            if found is not rows[-1][1]:
                rows.append((weight, found, self._each(found)))
            means = [each.mean() for _, _, each in rows]
            if len(means) > 2 and min(means[:-2]) < min(means[-2:]):
                break
        best = rows[int(np.argmin(means))][2]
        for weight, state, each in rows:
            difference = each - best
            if difference.mean() <= 1.5 * difference.std(ddof=1) / math.sqrt(len(difference)):
                self.state = state
                self.notes.append("few photons")
                return weight
        raise AssertionError("the best is not above itself")

    def _each(self, state):
        return np.array([self.score(state, np.array([frame]))[0] for frame in self.stopping])

    def _coarse_epochs(self, epochs):
        fine, size = self.state, self.roots.shape[-1]
        quarter = slice(size // 4, size // 4 + size // 2)
        found = self._epochs("coarse", half(fine), self.roots[:, quarter, quarter], self.mask[quarter, quarter], epochs)
        rows, columns = (2 * (length // 2) for length in fine.object.shape)
        thing = fine.object.copy()
        thing[:rows, :columns] = resampled(found.object[: rows // 2, : columns // 2], rows, columns)
        # The far field of half as many pixels along each side is that of a field of half the height.
        self.state = replace(fine, object=thing, probe=resampled(found.probe, size, size) / 2)

    def _epochs(self, stage, state, roots, mask, epochs):
        state, kicks = replace(state, positions=state.positions.copy()), Kicks(state)
        best, lowest, places = state, math.inf, []
        for epoch in range(1, epochs + 1):
            order, difference = self.draw.permutation(self.used), 0.0
            moves = stage == "pie" and self.options.moves_positions and epoch > 3
            for start in range(0, len(order), self.options.batch_size):
                frames = np.sort(order[start : start + self.options.batch_size])
                state, absolute = self._batch(state, roots, mask, frames, moves=moves)
                state = kicks.after_batch(state, probe=self.options.refine_probe)
                difference += absolute
            misfit = difference / roots[self.used].sum()
            if misfit > 1.3 * lowest + 1e-3:
                self.notes.append(f"{stage}: epoch {epoch} diverged")
                return best
            if misfit < lowest:
                best, lowest = state, misfit
            self._record(stage, epoch, None, misfit, state)
            places.append(state.positions)
            if self.options.moves_positions and epoch >= 20:
                change = places[-1] - places[-6]
                if np.sqrt(((change - change.mean(axis=0)) ** 2).mean()) < 0.06:
                    break
        return state

    def _batch(self, state, roots, mask, frames, *, moves):
        """The state after one batch, and ``Σ |√n − √I|`` before."""
        corners = np.floor(state.positions[frames]).astype(int)
        seen = View(state, frames, corners)
        modelled = np.sqrt(seen.intensity + DARK)
        residual = np.where(mask, roots[frames] - modelled, 0)
        change = backpropagate((residual / modelled)[:, None] * seen.waves)
        light, step = np.zeros(state.object.shape), np.zeros_like(state.object)
        power = (np.abs(seen.probes) ** 2).sum(axis=1)
        add_windows(light, power, corners)
        add_windows(step, (seen.probes.conj() * change).sum(axis=1), corners)
        alpha, probe, positions = self.options.object_alpha, state.probe, state.positions
        if self.options.refine_probe:
            through = (np.abs(seen.patches) ** 2).sum(axis=0)
            back = shift(seen.patches.conj()[:, None] * change, -seen.remainders[:, None]).sum(axis=0)
            probe = probe + back / (0.5 * through + 0.5 * through.max())
        if moves:
            highest = np.array(state.object.shape) - roots.shape[-1]
            positions = positions.copy()
            steps = position_steps(seen, modelled, residual)
            positions[frames] = np.clip(positions[frames] + np.clip(steps, -0.5, 0.5), 0, highest)
        thing = state.object + step / ((1 - alpha) * light + alpha * power.max())
        return State(thing, probe, positions, state.background), np.abs(residual).sum()

    def _joint(self, stage, state, weight, most, used):
        """The last state that the joint fit reaches."""
        problem, lowest, most = Problem(self, state, weight, used), math.inf, min(most, self.options.iterations)
        passed, limit = [state.object], self.options.tolerance / np.sqrt(self._dose(state))
        for iteration, step in enumerate(minimise(problem.evaluate, problem.start, lambda a, b: float(a @ b)), 1):
            if step.stuck:
                return state
            now = problem.state(step.point)
            held = self._record(stage, iteration, step.loss / len(used), problem.misfit, now)
            if held is not None and held > 1.005 * lowest:
                self.stopped_by = f"{stage}: frames held out fit worse"
                return state
            lowest, state = math.inf if held is None else min(held, lowest), now
            passed.append(now.object)
            if iteration == most:
                self.stopped_by = f"{stage}: all iterations done"
                return state
            if iteration % 5 == 0 and iteration >= 10 and moved(passed[-11], passed[-1], problem.light) < limit:
                self.stopped_by = f"{stage}: the object changes by less than the tolerance"
                return state
        raise AssertionError("the minimiser has ended without a word")

    def _search(self):
        """Weights of the total variation, doubled until the frames to stop by fit worse; the state is then that of the best."""
        lowest, chosen = self.score(self.state, self.stopping)[0], 0.0
        for weight in (0.5, 1.0, 2.0, 4.0):
            found = self._joint("total variation", self.state, weight, 8, self.used)
            loss = self.score(found, self.stopping)[0]
            if loss >= lowest:
                break
            self.state, lowest, chosen = found, loss, weight
        self.notes.append(f"total variation weight {chosen:g}")
        return chosen

    def score(self, state, frames):
        """(loss a frame, R) of some frames."""
        seen = View(state, frames, np.floor(state.positions[frames]).astype(int))
        loss, _, absolute = self.compared(seen.intensity, frames)
        return loss / len(frames), absolute / self.roots[frames].sum()

    def compared(self, intensity, frames):
        """Summed loss of good pixels, its derivative with respect to the intensity (0 in bad ones), ``Σ |√I − √n|``."""
        roots, modelled = self.roots[frames], intensity + DARK
        absolute = np.abs(np.sqrt(modelled) - roots)[:, self.mask].sum()
        if self.likelihood == "amplitude":
            loss, slope = (np.sqrt(modelled) - roots) ** 2, 1 - roots / np.sqrt(modelled)
        else:
            counts = roots**2
            deviance = np.log(np.where(counts > 0, counts, 1) / modelled, where=counts > 0, out=np.zeros_like(counts))
            loss, slope = modelled - counts + counts * deviance, 1 - counts / modelled
        return loss[:, self.mask].sum(), np.where(self.mask, slope, 0), absolute

    def _record(self, stage, epoch, loss, misfit, state):
        held = stopping = None
        looks = stage != "all frames" and epoch % 5 == 0 if self.lends else True
        if stage != "coarse" and looks and len(self.judging):
            held = self.score(state, self.judging)[1]
        if stage not in ("coarse", "all frames") and len(self.stopping):
            stopping = self.score(state, self.stopping)[0]
        row = {"stage": stage, "epoch": epoch, "loss": loss, "misfit": misfit, "held_out": held, "stopping_loss": stopping}
        self.history.append(row)
        return stopping


class View:
    """Some frames of a state: shifted probes, patches, waves and intensity at the detector, for whole-pixel ``corners``."""

    def __init__(self, state, frames, corners):
        self.remainders, self._probe = state.positions[frames] - corners, state.probe
        self.probes = shift(state.probe, self.remainders[:, None])
        self.patches = cut_windows(state.object, corners, state.probe.shape[-1])
        self.waves = propagate(self.probes * self.patches[:, None])
        self.intensity = (np.abs(self.waves) ** 2).sum(axis=1) + (0 if state.background is None else state.background)

    @cached_property
    def slopes(self):
        """Derivatives of the shifted probes by row and column: (2, frame, mode, N, N)."""
        return np.stack(shift_derivatives(self._probe, self.remainders[:, None]))


class Kicks:
    """Every 20 batches: velocity = velocity / 2 + change since the last kick; half the velocity is added."""

    def __init__(self, state):
        self._count, self._last, self._velocity = 0, (state.object, state.probe), (0, 0)

    def after_batch(self, state, *, probe):
        self._count += 1
        if self._count % 20:
            return state
        now = state.object, state.probe
        self._velocity = tuple(0.5 * old + new - last for old, new, last in zip(self._velocity, now, self._last, strict=True))
        self._last = tuple(new + 0.5 * fast for new, fast in zip(now, self._velocity, strict=True))
        return replace(state, object=self._last[0], probe=self._last[1] if probe else state.probe)


class Problem:
    """The joint fit as one real vector, each unknown divided by its scale; the background is the square of its unknown."""

    def __init__(self, fit, state, weight, used):
        self._fit, self._from, self._used = fit, state, used
        self._corners, self.misfit = np.floor(state.positions[used]).astype(int), math.nan
        size, options = state.probe.shape[-1], fit.options
        self.light = light = np.zeros(state.object.shape)
        power = (np.abs(state.probe) ** 2).sum(axis=0)
        add_windows(light, np.broadcast_to(power, (len(used), size, size)), self._corners)
        seen = (np.abs(cut_windows(state.object, self._corners, size)) ** 2).sum(axis=0)
        counts = max(np.quantile(light[light > 0], 0.7), 1)
        self._weight, self._rounding = weight * np.sqrt(counts), 0.5 / np.sqrt(counts)
        self._scales = {"object": 1 / np.sqrt(light + 0.05 * light.max())}
        if options.refine_probe:
            self._scales["probe"] = np.broadcast_to(1 / np.sqrt(seen + 0.05 * seen.max()), state.probe.shape)
        if options.moves_positions:
            far = (np.abs(np.fft.fft2(state.probe, norm="ortho")) ** 2).sum(axis=0)
            turns = 2 * np.pi * np.fft.fftfreq(size)
            curvature = np.array([(far.sum(axis=1) * turns**2).sum(), (far.sum(axis=0) * turns**2).sum()])
            scale = 1 / np.sqrt(0.5 * curvature * seen.mean() / len(used))
            self._scales["positions"] = np.broadcast_to(scale, state.positions.shape)
        if state.background is not None:
            share = size**2 / state.background.size
            self._scales["background"] = np.full(state.background.shape, 1 / np.sqrt(len(used) * share))

    @property
    def start(self):
        state = self._from
        values = {"object": state.object, "probe": state.probe, "positions": state.positions - np.floor(state.positions)}
        if state.background is not None:
            values["background"] = np.sqrt(state.background)
        return self._flat({name: values[name] / scale for name, scale in self._scales.items()})

    def _flat(self, parts):
        return np.concatenate([np.ascontiguousarray(parts[name]).reshape(-1).view(float) for name in self._scales])

    def _values(self, point):
        values, start = {}, 0
        for name, scale in self._scales.items():
            pair = 2 if name in ("object", "probe") else 1
            part = point[start : start + pair * scale.size]
            values[name] = part.view(complex if pair == 2 else float).reshape(scale.shape) * scale
            start += pair * scale.size
        return values

    def state(self, point):
        values = self._values(point)
        if "background" in values:
            values["background"] = values["background"] ** 2
        if "positions" in values:
            values["positions"] = np.floor(self._from.positions) + values["positions"]
        return replace(self._from, **values)

    def evaluate(self, point):
        """Loss summed over the frames, and its gradient ``∂/∂Re + i ∂/∂Im``."""
        fit, state, used = self._fit, self.state(point), self._used
        seen = View(state, used, self._corners)
        loss, slope, absolute = fit.compared(seen.intensity, used)
        self.misfit = absolute / fit.roots[used].sum()
        back = backpropagate(2 * slope[:, None] * seen.waves)
        gradients = {"object": np.zeros_like(state.object)}
        add_windows(gradients["object"], (seen.probes.conj() * back).sum(axis=1), self._corners)
        if self._weight:
            length, by_object = total_variation(state.object, self._rounding)
            loss, gradients["object"] = loss + self._weight * length, gradients["object"] + self._weight * by_object
        through = seen.patches.conj()[:, None] * back
        if "probe" in self._scales:
            gradients["probe"] = shift(through, -seen.remainders[:, None]).sum(axis=0)
        if "positions" in self._scales:
            gradients["positions"] = np.zeros(state.positions.shape)
            gradients["positions"][used] = (through.conj() * seen.slopes).real.sum(axis=(2, 3, 4)).T
        if state.background is not None:
            by_counts = slope.sum(axis=0) if state.background.size > 1 else slope.sum()
            gradients["background"] = 2 * np.sqrt(state.background) * by_counts
        return loss, self._flat({name: gradients[name] * scale for name, scale in self._scales.items()})


def spread(frames, share, draws):
    """A share of the frames, one of each run of neighbours."""
    number = round(share * len(frames))
    return np.array([draws.choice(run) for run in np.array_split(frames, number)] if number else [], dtype=int)


def moved(before, now, light):
    """The share by which an object has changed where there is light, but for scale, phase, ramp of phase and place."""
    row, column = np.meshgrid(*(np.arange(length) for length in now.shape), indexing="ij")
    free = [now, 1j * now, 1j * row * now, 1j * column * now, np.gradient(now, axis=0), np.gradient(now, axis=1)]
    columns = [(np.sqrt(light) * one)[1:-1, 1:-1].ravel() for one in (*free, now - before)]
    drifts, change = np.array(columns[:-1]).view(float).T, columns[-1].view(float)
    left = change - drifts @ np.linalg.lstsq(drifts, change)[0]
    return np.sqrt((left**2).sum() / (np.abs(columns[0]) ** 2).sum())


def position_steps(seen, modelled, residual):
    """Least squares steps (frame, 2) of the linearised amplitudes, damped by 5 % of the mean over the frames."""
    changes = propagate(seen.slopes * seen.patches[:, None])
    slopes = (changes * seen.waves.conj()).real.sum(axis=2) / modelled
    normal = np.einsum("aijk,bijk->iab", slopes, slopes)
    damping = 0.05 * np.trace(normal, axis1=1, axis2=2).mean()
    wanted = np.einsum("aijk,ijk->ia", slopes, residual)
    return np.linalg.solve(normal + damping * np.eye(2), wanted[..., None])[..., 0]


def total_variation(thing, rounding):
    """``Σ (√(|down|² + |right|² + ε²) − ε)`` and its gradient ``∂/∂Re + i ∂/∂Im``; no difference reaches beyond the border."""
    down, right = np.zeros_like(thing), np.zeros_like(thing)
    down[:-1], right[:, :-1] = np.diff(thing, axis=0), np.diff(thing, axis=1)
    length = np.sqrt(np.abs(down) ** 2 + np.abs(right) ** 2 + rounding**2)
    down, right = down / length, right / length
    return (length - rounding).sum(), np.roll(down, 1, axis=0) - down + np.roll(right, 1, axis=1) - right


def resampled(field, rows, columns):
    """The Fourier series of a field (..., n, m) at ``rows`` x ``columns`` places, without what these cannot show."""

    def matrix(before, after):
        few = min(before, after)
        turns = np.arange(few) - few // 2
        forward = np.exp(-2j * np.pi * np.outer(turns, np.arange(before)) / before) / before
        return np.exp(2j * np.pi * np.outer(np.arange(after), turns) / after) @ forward

    return matrix(field.shape[-2], rows) @ field @ matrix(field.shape[-1], columns).T


def half(state):
    """The state at half the resolution: the last row and column of the object are there twice; counts stay, background none."""
    rows, columns = (2 * (length // 2) for length in state.object.shape)
    small = np.pad(resampled(state.object[:rows, :columns], rows // 2, columns // 2), (0, 1), mode="edge")
    size = state.probe.shape[-1] // 2
    return State(small, 2 * resampled(state.probe, size, size), state.positions / 2)
