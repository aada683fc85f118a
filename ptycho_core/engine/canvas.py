"""A network on the canvas of a tile: what it is given, what it makes of the object, and how far that is from a known one.

``specs/network.md`` defines it.  The canvas of a hundred neighbors has many times fewer pixels than their windows, and a network
on it knows no direction: a turned or mirrored canvas is as good an example as the canvas itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ptycho_core.engine.estimate import STEP_GAIN, unit_phase
from ptycho_core.engine.patches import object_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["LIT_SHARE", "CanvasBatch", "CanvasEstimate", "apart", "canvas_deviation", "canvas_distance", "corrected"]

_ROUNDING: Final = 1e-6
"""Below this a distance of two complex numbers counts as its square, so that its gradient at zero is zero."""

_COVER: Final = 0.1
_FRAMES: Final = 20.0
_MOST: Final = 2.0
LIT_SHARE: Final = 0.5
"""Of the greatest light of a canvas: where so much falls, a pixel counts half of what it can."""


class CanvasEstimate(NamedTuple):
    """What is known of a tile before the network.

    Attributes:
        picture: complex (rows, columns), the object, its phase turned so that its mean under the light is real.
        step: complex (rows, columns), the step that would follow, over the light alone, turned alike.
        light: real (rows, columns), the sum of the intensities of the probes of all frames.
        brightest: real number, the greatest intensity of one probe.
    """

    picture: Array
    step: Array
    light: Array
    brightest: Array

    def features(self, xp: ArrayOps) -> Array:
        """The network's input: real (1, 6, rows, columns).

        Estimate less one and its step, enlarged, each real and imaginary; then two of the light L in units of the brightest pixel
        of one probe: ``L / (L + 0.1)``, which says whether a pixel is seen, and ``L / 20``, at most 2, which says how often.
        """
        light = self.light / self.brightest
        given = [
            xp.real(self.picture) - 1, xp.imag(self.picture), xp.real(self.step) * STEP_GAIN, xp.imag(self.step) * STEP_GAIN,
            light / (light + _COVER), xp.at_most(light / _FRAMES, _MOST),
        ]  # fmt: skip
        return xp.stack(given)[None]


class CanvasBatch(NamedTuple):
    """A batch of frames that share a canvas.

    Attributes:
        estimate: of its object.
        label: complex (rows, columns), the object that is known, or None.
    """

    estimate: CanvasEstimate
    label: Array | None


def corrected(
    xp: ArrayOps,
    network: Callable[[Sequence[Array], Array], Array],
    weights: Sequence[Array],
    estimate: CanvasEstimate,
    output: Mapping[str, Any],
) -> Array:
    """The object of a tile, complex (rows, columns), as a network with these weights corrects it."""
    channels = network(weights, estimate.features(xp))
    return object_patches(xp, channels, estimate.picture[None, None], output)[0, 0]


def canvas_distance(xp: ArrayOps, picture: Array, label: Array, light: Array) -> Array:
    """Mean of ``|O e^{iφ} − label|`` with the weight ``L / (L + max L / 2)``; in double precision.

    φ is the best phase of the whole canvas, taken as a constant. Where little light falls, little is asked.
    """
    weight = light / (light + LIT_SHARE * xp.max(light))
    turn = unit_phase(xp, xp.sum(xp.sum(xp.times_real(label * xp.conj(xp.constant(picture)), weight), 1), 0))
    return xp.sum64(apart(xp, picture * turn, label) * weight) / xp.sum64(weight)


def apart(xp: ArrayOps, first: Array, second: Array) -> Array:
    """The distances of complex numbers, slightly rounded at zero."""
    return xp.sqrt(xp.abs2(first - second) + _ROUNDING**2) - _ROUNDING


def canvas_deviation(xp: ArrayOps, picture: Array, light: Array) -> Array:
    """Deviation of the object under the light, over its mean modulus there: near 0 where it is flat."""
    share = light / xp.sum(light)
    mean = xp.sum(xp.times_real(picture, share))
    spread = xp.sqrt(xp.sum(xp.abs2(picture - mean) * share))
    return spread / xp.at_least(xp.sum(xp.sqrt(xp.abs2(picture)) * share), xp.tiny)
