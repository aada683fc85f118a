"""Noise models: how far modelled counts are from measured ones, and the derivative by the modelled counts.

One class holds the loss, its derivative and the name of a model.  The derivative is a real factor ``w = dL/dI``, so that
``dL/d conj(F) = w F`` for every mode ``F`` at the detector (Wirtinger derivative, Thibault & Guizar-Sicairos, New J. Phys. 14
(2012) 063004): the gradient of all modes is one product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ptycho_core.reconstruction.constants import SMALLEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Measured

__all__ = ["NOISE_MODELS", "Comparison", "NoiseModel"]


class Comparison(NamedTuple):
    """Modelled counts beside measured ones.

    Attributes:
        loss: real number, summed over good pixels.
        factor: real (frame, N, N), its derivative by the modelled counts; 0 in bad pixels.
        absolute: real number, ``sum |sqrt I - sqrt n|`` over good pixels: the numerator of R.
    """

    loss: Array
    factor: Array
    absolute: Array


class NoiseModel(Protocol):
    """A loss between modelled and measured counts."""

    @property
    def name(self) -> str:
        """How it is asked for."""

    def compare(self, xp: ArrayOps, intensity: Array, measured: Measured) -> Comparison:
        """Loss and derivative for modelled counts, real (frame, N, N)."""


class Amplitude:
    """``sum (sqrt I - sqrt n)^2``, with ``w = 1 - sqrt(n / I)``.

    Counts' variance is stabilised by the root, so this is also the Gaussian approximation of the Poisson likelihood.
    """

    name = "amplitude"

    def compare(self, xp: ArrayOps, intensity: Array, measured: Measured) -> Comparison:
        """See `NoiseModel`."""
        modelled = xp.root_of_sum(intensity, SMALLEST)
        difference = _good(modelled - measured.amplitudes, measured.mask)
        return Comparison(xp.square_sum(difference), difference / modelled, xp.sum(xp.abs(difference)))


class Poisson:
    """Half the Poisson deviance ``sum (I - n + n log(n / I))``, with ``w = 1 - n / I``.

    The terms without ``I`` make a perfect fit zero, so that sums stay exact in float32.
    """

    name = "poisson"

    def compare(self, xp: ArrayOps, intensity: Array, measured: Measured) -> Comparison:
        """See `NoiseModel`."""
        modelled, mask = intensity + SMALLEST, measured.mask
        counts = measured.amplitudes * measured.amplitudes
        ratio = counts / modelled
        factor = _good(1 - ratio, mask)
        loss = modelled * factor
        log = _good(counts * xp.log(xp.at_least(ratio, 1e-30)), mask)
        difference = _good(xp.sqrt(modelled) - measured.amplitudes, mask)
        return Comparison(xp.sum(loss + log), factor, xp.sum(xp.abs(difference)))


def _good(values: Array, mask: Array | None) -> Array:
    return values if mask is None else values * mask


NOISE_MODELS: Final[Mapping[str, NoiseModel]] = {model.name: model for model in (Amplitude(), Poisson())}
"""The noise models there are."""
