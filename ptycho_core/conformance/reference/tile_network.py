"""A network on the canvas of a tile: features, loss of labels, and the way back (*Canvas* in ``specs/network.md``)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.reference.fourier import phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.conformance.reference.canvas import Canvas

    Complex = NDArray[np.complex128]
    Real = NDArray[np.float64]

__all__ = ["TileCanvas"]

_DISTANCE = 1e-6
"""Rounding of the distance from labels."""


@dataclass(frozen=True, eq=False)
class TileCanvas:
    """A tile as a network that sees its canvas is given it.

    Attributes:
        picture: complex (rows, columns), the estimate.
        step: complex (rows, columns), the step that would follow.
        light: (rows, columns), the sum of the intensities of all probes.
        brightest: of the intensity of one probe.
        label: complex (rows, columns), or None.
        windows: of the frames; of no use on a turned canvas.
    """

    picture: Complex
    step: Complex
    light: Real
    brightest: float
    label: Complex | None
    windows: Canvas

    def features(self) -> Real:
        """What the network sees: (1, 6, rows, columns)."""
        often = self.light / self.brightest
        seen, many = often / (often + 0.1), np.minimum(often / 20, 2.0)
        return np.stack(
            [self.picture.real - 1, self.picture.imag, 4 * self.step.real, 4 * self.step.imag, seen, many]
        )[None]  # fmt: skip

    def turned(self, turn: int) -> TileCanvas:
        """So many quarter turns (modulo 4), and from 4 on a mirror after them: ``a'[i, j] = a[j, C − 1 − i]`` each."""

        def one(values: Any) -> Any:  # noqa: ANN401 - a canvas of any kind
            for _ in range(turn % 4):
                values = values.T[::-1]
            return values[:, ::-1] if turn > 3 else values

        label = None if self.label is None else one(self.label)
        return replace(self, picture=one(self.picture), step=one(self.step), light=one(self.light), label=label)

    def joined(self, patches: Complex) -> Complex:
        """The canvas of patches (frame, N, N) that agree where they overlap; 0 where there is none."""
        canvas, size = np.zeros_like(self.picture), self.windows.size
        for patch, (row, column) in zip(patches, self.windows.corners, strict=True):
            canvas[row : row + size, column : column + size] = patch
        return canvas

    def held_phase(self, picture: Complex) -> Complex:
        """Best phase of a picture, as one factor: (1,)."""
        assert self.label is not None
        factor: Complex = phase((self._weight() * self.label * picture.conj()).sum())[None]
        return factor

    def apart(self, picture: Complex, factor: Complex) -> tuple[Complex, Real, Real]:
        """``O e^{iφ} − T``, its rounded modulus, and the share of each pixel in the mean."""
        assert self.label is not None
        far = picture * factor[0] - self.label
        return far, np.sqrt(np.abs(far) ** 2 + _DISTANCE**2), self._weight() / self._weight().sum()

    def slope(self, picture: Complex, factor: Complex) -> Complex:
        """Gradient of the mean distance with respect to the picture, d/d Re + i d/d Im."""
        far, length, share = self.apart(picture, factor)
        found: Complex = share * factor[0].conj() * far / length
        return found

    def distance(self, picture: Complex, factor: Complex) -> float:
        """The mean distance."""
        _, length, share = self.apart(picture, factor)
        return float((share * (length - _DISTANCE)).sum())

    def _weight(self) -> Real:
        found: Real = self.light / (self.light + self.light.max() / 2)
        return found
