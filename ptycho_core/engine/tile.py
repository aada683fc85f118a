"""The estimate of version 2: the object of a tile of neighboring frames on one canvas, by a few conjugate-gradient steps.

``specs/network.md`` defines it.  Overlap does what a network cannot: one pattern alone hardly determines its patch, a hundred
neighbors on one canvas do.  Smooth phase, which the patterns show least and plain steps find last, is preconditioned: its part
of the direction is enlarged.  As the waves at the detector are linear in the object, the line search costs no further transform.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ptycho_core.engine.canvas import CanvasEstimate
from ptycho_core.engine.estimate import Estimate, counts_of_empty, unit_phase
from ptycho_core.engine.saturation import where_free

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps, Corners
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.engine.state import Measured

__all__ = ["Tile"]

ADDED: Final = {"amplitude": 0.1, "poisson": 0.03}
"""Counts added to modelled intensities: of amplitudes as of version 1, of Poisson the smallest that still bounds the residual."""

DARK: Final = 1e-3
"""Least amplitude of the object whose phase is taken."""

PORTION_PIXELS: Final = 1 << 17
"""Detector pixels treated at once on a CPU, whose second-level cache holds their waves.  A GPU takes 64 times as many."""

LEAST_SHARE: Final = 0.01
"""Least share of the counts that the object is taken to have let through, whatever the background."""

STEP: Final = 8
"""The sides of a canvas are multiples of it, for the sake of its transforms."""


class _Portion(NamedTuple):
    """Some frames of a tile.

    Attributes:
        probes: complex (frame, mode, N, N), at the positions' remainders, over the `ForwardModel.unit`.
        conjugate: of these; kept, as some frameworks would make it anew in each step.
        ramps: complex (frame, 1, N, N), what shifted them in Fourier space.
        measured: (frame, N, N).
        corners: of the windows on the canvas.
    """

    probes: Array
    conjugate: Array
    ramps: Array
    measured: Measured
    corners: Corners


class _Seen(NamedTuple):
    """What is known of the patterns of a portion.

    Attributes:
        waves: complex (frame, mode, N, N), at the detector.
        inverse_roots: real (frame, N, N), one over the root of the modelled intensities, 0 where they are not compared: at bad
            pixels, and beyond what saturated ones count.
    """

    waves: Array
    inverse_roots: Array


class Tile:
    """A tile, and the object that is fitted to its patterns.

    Args:
        xp: the operations.
        probe: complex (mode, N, N), in counts.
        positions: (frame, 2), float64, (row, column) of the windows' corners, pixels, any common offset.
        measured: of the frames, (frame, N, N), 0 at bad pixels.
        asked: ``estimate`` of the network's description.
        background: real (N, N), counts added to each pattern, in the order of the FFT, or None.
        forward: what takes object and probe to the detector.

    Attributes:
        object: complex (rows, columns), on the tile's canvas, whose ``[0, 0]`` is the first whole row and column of the windows.
    """

    def __init__(
        self,
        xp: ArrayOps,
        probe: Array,
        positions: NDArray[np.float64],
        measured: Measured,
        asked: Mapping[str, Any],
        background: Array | None = None,
        *,
        forward: ForwardModel,
    ) -> None:
        self._xp, self._asked, self._size = xp, asked, int(probe.shape[-1])
        self._forward, self._unit = forward, forward.unit(self._size)
        added = ADDED[asked["likelihood"]]
        self._added = xp.scalar(added) if background is None else background + added
        whole = np.floor(positions)
        corners = (whole - whole.min(axis=0)).astype(np.int64)
        rows, columns = (int(-(-(int(last) + self._size) // STEP) * STEP) for last in corners.max(axis=0))
        canvas = xp.zeros((rows, columns))
        waves: list[Array] = []  # of an empty object
        self._portions, scaled = [], xp.times_real(probe, xp.scalar(1 / self._unit))
        for own in _portions(len(positions), self._size**2 * int(probe.shape[0]), on_cpu=xp.is_cpu):
            rest, places = xp.from_numpy((positions - whole)[own]), xp.corners(corners[own], canvas, self._size)
            empty, probes, conjugate, ramps = xp.compiled(_probes)(scaled, rest, forward=forward)
            waves.append(empty)
            self._portions.append(_Portion(probes, conjugate, ramps, measured.of(own), places))
        illuminated, add = xp.zeros_like(canvas), xp.compiled(_lit)
        for one in self._portions:
            illuminated = add(illuminated, one)
        self._lit = illuminated * self._unit**2
        self._brightest = xp.max(xp.sum(xp.abs2(probe), 0))
        self._inverse = 1 / (self._lit + float(asked["alpha"]) * xp.max(self._lit) + xp.tiny)
        self._smooth = xp.from_numpy(_smooth_filter((rows, columns), float(asked["smooth"]), float(asked["cutoff"])))
        mask, power = measured.mask, float(counts_of_empty(xp, probe, measured.mask, forward))
        seen = (one.measured.amplitudes for one in self._portions)
        counts = sum(float(xp.sum64(amplitudes * amplitudes)) for amplitudes in seen) / len(positions)
        if background is not None:
            counts = max(counts - float(xp.sum64(background if mask is None else background * mask)), LEAST_SHARE * counts)
        level = (counts / power if power > 0 else 0.0) ** 0.5
        self.object, self._waves = xp.complex(canvas + level, canvas), [level * one for one in waves]

    def fit(self) -> None:
        """Take the steps that are asked for, once; it ends early where no frame has light."""
        xp, poisson = self._xp, self._asked["likelihood"] == "poisson"
        project, advance = xp.compiled(_projected), xp.compiled(_preconditioned)
        direction: Array | None = None
        gradient: Array | None = None
        slope = 0.0
        for _ in range(int(self._asked["steps"])):
            before = gradient
            gradient, seen = self._gradient(poisson=poisson)
            steepest = advance(self.object, gradient, self._inverse, self._smooth)
            new = self._inner(gradient, steepest)
            if direction is None or before is None:
                direction = steepest
            else:
                turned = max(0.0, (new - self._inner(before, steepest)) / max(slope, xp.tiny))
                direction = steepest + turned * direction
                if not self._inner(gradient, direction) > 0:
                    direction = steepest
            slope = new
            pairs = zip(self._portions, seen, strict=True)
            along = [project(direction, one, known, forward=self._forward) for one, known in pairs]
            curvature = sum(float(one) for _, one in along)
            if not curvature > 0:
                return
            length = self._inner(gradient, direction) / curvature
            self.object = self.object + length * direction
            self._waves = [xp.add_scaled(one, change, length) for one, (change, _) in zip(self._waves, along, strict=True)]

    def picture(self) -> Array:
        """The object, its phase turned so that its mean under the light is real: complex (rows, columns)."""
        return self.object * self._turn()

    def estimate(self) -> Estimate:
        """What a network is given: each frame's patch, and the step that would follow if the light alone preconditioned it."""
        canvas = self.canvas()
        return Estimate(self._cut(canvas.picture)[:, None], self._cut(canvas.step)[:, None])

    def canvas(self) -> CanvasEstimate:
        """The same on the tile's canvas, for a network that sees all of it."""
        turn = self._turn()
        gradient, _ = self._gradient(poisson=self._asked["likelihood"] == "poisson")
        step = self._xp.times_real(gradient, self._inverse) * turn
        return CanvasEstimate(self.object * turn, step, self._lit, self._brightest)

    def _gradient(self, *, poisson: bool) -> tuple[Array, list[_Seen]]:
        """The direction of steepest descent, complex (rows, columns), and what is known of each portion's patterns."""
        xp, seen = self._xp, []
        slope, total = xp.compiled(_slope), xp.zeros_like(self.object)
        for one, given in zip(self._portions, self._waves, strict=True):
            total, roots = slope(total, given, one, self._added, poisson=poisson, forward=self._forward)
            seen.append(_Seen(given, roots))
        return total * float(self._unit**2), seen

    def _inner(self, first: Array, second: Array) -> float:
        return float(self._xp.compiled(_inner)(first, second))

    def _turn(self) -> Array:
        mean = self._xp.sum(self._xp.sum(self._xp.times_real(self.object, self._lit), 1), 0)
        return self._xp.conj(unit_phase(self._xp, mean))

    def _cut(self, canvas: Array) -> Array:
        cut = [self._xp.gather(canvas, one.corners, self._size) for one in self._portions]
        return self._xp.concat(cut)


def _portions(frames: int, pixels: int, *, on_cpu: bool) -> list[slice]:
    """Which frames are treated at once, of so many ``pixels`` each; of nearly equal length."""
    most = max(1, PORTION_PIXELS * (1 if on_cpu else 64) // pixels)
    ends = np.linspace(0, frames, -(-frames // most) + 1).round().astype(int).tolist()
    return [slice(first, last) for first, last in itertools.pairwise(ends)]


def _smooth_filter(shape: tuple[int, int], gain: float, cutoff: float) -> NDArray[np.float64]:
    """``gain exp(−q²/cutoff²)`` for the frequencies q of a canvas, cycles a pixel: (rows, columns)."""
    rows, columns = (np.fft.fftfreq(length) for length in shape)
    found: NDArray[np.float64] = gain * np.exp(-(rows[:, None] ** 2 + columns**2) / cutoff**2)
    return found


def _probes(xp: ArrayOps, probe: Array, remainders: Array, *, forward: ForwardModel) -> tuple[Array, Array, Array, Array]:
    """The waves of the probe at remainders (frame, 2), the probe there, its conjugate, and the ramps."""
    ramps = xp.shift_ramps(remainders, xp.size(probe))
    spectra = xp.fft2(probe)[None] * ramps
    found = xp.ifft2(spectra)
    # Conjugates are copied, as a framework may conjugate only when it reads.
    return forward.of_spectrum(xp, spectra, ramps), found, xp.copy(xp.conj(found)), ramps


def _lit(xp: ArrayOps, total: Array, portion: _Portion) -> Array:
    """The canvas with the light of some frames added, over the unit's square."""
    return xp.scatter_add(total, xp.mode_sum(xp.abs2(portion.probes)), portion.corners)


def _waves(xp: ArrayOps, canvas: Array, portion: _Portion, forward: ForwardModel) -> Array:
    """The waves of a canvas at the detector: complex (frame, mode, N, N)."""
    patches = xp.gather(canvas, portion.corners, xp.size(portion.probes))
    return forward.transform(xp, xp.multiply(patches[:, None], portion.probes), portion.ramps)


def _slope(
    xp: ArrayOps,
    total: Array,
    waves: Array,
    portion: _Portion,
    added: Array,
    *,
    poisson: bool,
    forward: ForwardModel,
) -> tuple[Array, Array]:
    """``total`` with ``Σ conj(P) D†[r Ψ]`` of some frames added, over the unit's square; and ``1/√I`` of the modelled counts."""
    measured, intensity = portion.measured, xp.mode_sum(xp.abs2(waves)) + added
    roots = xp.rsqrt(intensity)
    ratio = measured.amplitudes * roots
    factor = 0.5 * (ratio * ratio - 1) if poisson else ratio - 1
    if measured.ceiling is not None:
        factor, roots = (where_free(xp, one, intensity, measured, 0.0) for one in (factor, roots))
    if measured.mask is not None:
        factor, roots = factor * measured.mask, roots * measured.mask
    change = forward.transform_adjoint(xp, xp.times_real(waves, factor[:, None]), portion.ramps)
    back = xp.mode_sum(xp.multiply(change, portion.conjugate))
    return xp.scatter_add(total, back, portion.corners), roots


def _projected(xp: ArrayOps, direction: Array, portion: _Portion, seen: _Seen, *, forward: ForwardModel) -> tuple[Array, Array]:
    """The waves of a direction, and the curvature of the misfit along it, in double precision."""
    change = _waves(xp, direction, portion, forward)
    bend = xp.mode_sum(xp.real_product(seen.waves, change)) * seen.inverse_roots
    # Frame by frame first: a sum over everything at once would depend on the number of threads.
    return change, xp.sum64(xp.sum(bend * bend, (1, 2)))


def _preconditioned(xp: ArrayOps, canvas: Array, gradient: Array, inverse: Array, smooth: Array) -> Array:
    """The gradient over the illumination, its smooth phase enlarged."""
    root = xp.sqrt(inverse)
    unit = xp.over_real(canvas, xp.at_least(xp.abs(canvas), DARK))
    phase = xp.imag(xp.conj(unit) * xp.times_real(gradient, root))
    spectrum = xp.fft2(xp.complex(phase, xp.zeros_like(phase)))
    wide = xp.real(xp.ifft2(xp.times_real(spectrum, smooth))) * root
    return xp.times_real(gradient, inverse) + unit * xp.complex(xp.zeros_like(wide), wide)


def _inner(xp: ArrayOps, first: Array, second: Array) -> Array:
    """``Re Σ conj(first) second`` in double precision, row by row first, as above."""
    return xp.sum64(xp.sum(xp.real_product(first, second), 1))
