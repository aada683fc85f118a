"""The object of a tile of neighboring frames (*Estimate of a tile* in ``specs/network.md``), in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.canvas import Canvas
from ptycho_core.conformance.reference.fourier import at_detector, from_detector, phase, shifted
from ptycho_core.conformance.reference.tile_network import TileCanvas
from ptycho_core.physics.losses import bounded_above

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.physics.near_field import Propagation

    Complex = NDArray[np.complex128]
    Real = NDArray[np.float64]

__all__ = ["TileFit"]

_DARK = 1e-3
_ADDED = {"amplitude": 0.1, "poisson": 0.03}
_MULTIPLE = 8
_LEAST_SHARE = 0.01


class TileFit:
    """The frames of a tile, and the steps that fit one object to them.

    Args:
        probe: complex (mode, N, N), √counts.
        positions: (frame, 2), (row, column) of the windows' corners, pixels.
        roots: (frame, N, N), roots of the counts, zero frequency at ``[0, 0]``, zero at bad pixels.
        good: bool (N, N), True = good pixel.
        asked: ``estimate`` of the description.
        background: (N, N), counts of each pattern that do not come through the object, zero frequency at ``[0, 0]``, or None.
        way: to the detector in the near field; None for the far field.
        levels: (frame, 1, 1), counts from which on pixels are saturated, or None.

    Attributes:
        thing: complex (rows, columns), the object as it is now.
    """

    def __init__(
        self,
        probe: Complex,
        positions: Real,
        roots: Real,
        good: NDArray[np.bool_],
        asked: Mapping[str, Any],
        background: Real | None = None,
        way: Propagation | None = None,
        levels: Real | None = None,
    ) -> None:
        corners = np.floor(positions).astype(np.int64)
        self._windows, self._roots, self._good, self._asked = Canvas(corners, probe.shape[-1]), roots, good, asked
        rows, columns = (-(-side // _MULTIPLE) * _MULTIPLE for side in self._windows.shape)
        self._windows.shape = (rows, columns)
        self._brightest = float((np.abs(probe) ** 2).sum(axis=0).max())
        self._rest, self._way, self._levels = positions - corners, way, levels
        self._probes = np.stack([shifted(probe, rest) for rest in self._rest])
        self._light = self._windows.add((np.abs(self._probes) ** 2).sum(axis=1))
        below = self._light + float(asked["alpha"]) * self._light.max()
        self._inverse: Real = 1 / np.maximum(below, np.finfo(float).tiny)
        empty = (np.abs(at_detector(probe[None], np.zeros((1, 2)), way)[0]) ** 2).sum(axis=0)[good].sum()
        behind = np.zeros(good.shape) if background is None else background
        seen = (roots**2).sum() / len(roots)
        start = np.sqrt(max(seen - behind[good].sum(), _LEAST_SHARE * seen) / empty) if empty > 0 else 0.0
        self.object_: Complex = np.full(self._windows.shape, start, dtype=np.complex128)
        self._added = behind + _ADDED[str(asked["likelihood"])]

    def fit(self) -> None:
        """Take all steps."""
        direction, before, power = np.zeros_like(self.object_), np.zeros_like(self.object_), 0.0
        for _ in range(int(self._asked["steps"])):
            waves = self._waves(self.object_)
            down = self._descent(waves)
            scaled = self._scaled(down)
            turned = (_inner(down, scaled) - _inner(before, scaled)) / power if power > 0 else 0.0
            direction = scaled + max(turned, 0.0) * direction
            if _inner(down, direction) <= 0:
                direction = scaled
            intensity = self._intensity(waves)
            bend = (waves.conj() * self._waves(direction)).real.sum(axis=1) ** 2 / intensity
            curvature = (bend * (self._compared(intensity) == intensity))[:, self._good].sum()
            if not curvature > 0:
                break
            self.object_ = self.object_ + _inner(down, direction) / curvature * direction
            before, power = down, _inner(down, scaled)

    def picture(self) -> Complex:
        """The object, turned: complex (rows, columns)."""
        return self.object_ * phase((self._light * self.object_).sum()).conj()

    def patches(self) -> tuple[Complex, Complex]:
        """The object in the windows, and the step that would follow over the light alone, turned: complex (frame, N, N) each."""
        canvas = self.canvas()
        return self._windows.cut(canvas.picture), self._windows.cut(canvas.step)

    def canvas(self, label: Complex | None = None) -> TileCanvas:
        """The same on the canvas, with a label (rows, columns) of all that the windows hold, or None."""
        turn = phase((self._light * self.object_).sum()).conj()
        step = self._inverse * self._descent(self._waves(self.object_))
        if label is not None:  # where the canvas is larger no light falls
            label = np.pad(label, [(0, mine - its) for mine, its in zip(self.object_.shape, label.shape, strict=True)])
        return TileCanvas(self.object_ * turn, step * turn, self._light, self._brightest, label, self._windows)

    def _waves(self, object_: Complex) -> Complex:
        return at_detector(self._probes * self._windows.cut(object_)[:, None], self._rest, self._way)

    def _intensity(self, waves: Complex) -> Real:
        found: Real = (np.abs(waves) ** 2).sum(axis=1) + self._added
        return found

    def _compared(self, intensity: Real) -> Real:
        """Intensities that are no more than a saturated pixel counts."""
        return intensity if self._levels is None else bounded_above(intensity, self._roots**2, self._levels)

    def _descent(self, waves: Complex) -> Complex:
        """``Σ_j Σ_m conj(P_jm) D†[r_j Ψ_jm]``."""
        ratio = self._roots**2 / self._compared(self._intensity(waves))
        residual = (ratio - 1) / 2 if self._asked["likelihood"] == "poisson" else np.sqrt(ratio) - 1
        residual = np.where(self._good, residual, 0)
        change = from_detector(residual[:, None] * waves, self._rest, self._way)
        found: Complex = self._windows.add((self._probes.conj() * change).sum(axis=1))
        return found

    def _scaled(self, down: Complex) -> Complex:
        """The descent over the light, with its smooth phase enlarged."""
        root = np.sqrt(self._inverse)
        unit = self.object_ / np.maximum(np.abs(self.object_), _DARK)
        rows, columns = (np.fft.fftfreq(side) ** 2 for side in self.object_.shape)
        gain = float(self._asked["smooth"]) * np.exp(-np.add.outer(rows, columns) / float(self._asked["cutoff"]) ** 2)
        smooth = np.fft.ifft2(gain * np.fft.fft2((unit.conj() * root * down).imag)).real
        found: Complex = self._inverse * down + 1j * unit * root * smooth
        return found


def _inner(one: Complex, other: Complex) -> float:
    return float((one.conj() * other).real.sum())
