"""Losses that compare patterns: how far modelled counts are from measured ones, and the derivative by the modelled counts.

One class is one loss, wherever patterns are compared: the likelihood of a reconstruction and a term of a training.  It holds
the loss at each pixel, its derivative, its names and its settings.  The derivative is a real factor ``w = dL/dI``, so that
``dL/d conj(F) = w F`` for every mode ``F`` at the detector (Wirtinger derivative, Thibault & Guizar-Sicairos, New J. Phys. 14
(2012) 063004): the gradient of all modes is one product.

A field of the class that is made with ``setting(...)`` is a setting of the loss.  Other distributions add losses by the entry
points in ``ptycho.losses``; `ptycho_core.settings.components` finds them and names the rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from ptycho_core.reconstruction.constants import COUNTS_FLOOR
from ptycho_core.settings.declare import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.contract import Value
    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Measured

__all__ = [
    "BUILT_IN",
    "OF_OBJECTS",
    "Amplitude",
    "Comparison",
    "Loss",
    "Mae",
    "Nll",
    "built_in",
    "good",
    "weights_of",
]


class Comparison(NamedTuple):
    """Modelled counts next to measured ones.

    Attributes:
        loss: real number, summed over good pixels.
        factor: real (frame, N, N), its derivative by the modelled counts; 0 in bad pixels.
        absolute: real number, ``sum |sqrt I - sqrt n|`` over good pixels: the numerator of R.
    """

    loss: Array
    factor: Array
    absolute: Array


@dataclass(frozen=True)
class Loss(ABC):
    """A loss between modelled and measured counts; a frozen dataclass, because compiled functions are kept for each.

    Attributes:
        name: of the term in a training: its weight is the setting ``NAME_weight``.
        likelihood: its word in ``--likelihood`` of a reconstruction; None where it serves none.
    """

    name: ClassVar[str]
    likelihood: ClassVar[str | None]

    @abstractmethod
    def values(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """The loss at each pixel, real (frame, N, N).

        Args:
            xp: operations on the arrays.
            modelled: real (frame, N, N), counts, above 0: the caller has added a floor.
            amplitudes: real (frame, N, N), roots of the measured counts.
        """

    @abstractmethod
    def derivative(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """Derivative of `values` by the modelled counts, real (frame, N, N)."""

    def compare(self, xp: ArrayOps, intensity: Array, measured: Measured) -> Comparison:
        """Loss and derivative over good pixels, for modelled counts without a floor, real (frame, N, N)."""
        modelled, amplitudes, mask = intensity + COUNTS_FLOOR, measured.amplitudes, measured.mask
        loss = good(self.values(xp, modelled, amplitudes), mask)
        factor = good(self.derivative(xp, modelled, amplitudes), mask)
        difference = good(xp.sqrt(modelled) - amplitudes, mask)
        return Comparison(xp.sum(loss), factor, xp.sum(xp.abs(difference)))


@dataclass(frozen=True)
class Nll(Loss):
    """Poisson likelihood of the counts, ``J - n log J``, with ``w = 1 - n / J``.

    `compare` takes half the deviance ``J - n + n log(n / J)``, which has the same derivative: the terms without ``J`` make a
    perfect fit zero, so that sums stay exact in float32.
    """

    name = "nll"
    likelihood = "poisson"

    weight: float = setting(
        0.0, minimum=0, verbs=("train",), help="weight of the Poisson likelihood of the counts. Use it where counts are few."
    )

    def values(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """See `Loss`."""
        return modelled - amplitudes * amplitudes * xp.log(modelled)

    def derivative(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:  # noqa: ARG002 - see `Loss`
        """See `Loss`."""
        return 1 - amplitudes * amplitudes / modelled

    def compare(self, xp: ArrayOps, intensity: Array, measured: Measured) -> Comparison:
        """See `Loss`."""
        modelled, mask = intensity + COUNTS_FLOOR, measured.mask
        counts = measured.amplitudes * measured.amplitudes
        ratio = counts / modelled
        factor = good(1 - ratio, mask)
        loss = modelled * factor
        log = good(counts * xp.log(xp.at_least(ratio, 1e-30)), mask)
        difference = good(xp.sqrt(modelled) - measured.amplitudes, mask)
        return Comparison(xp.sum(loss + log), factor, xp.sum(xp.abs(difference)))


@dataclass(frozen=True)
class Amplitude(Loss):
    """``(sqrt J - sqrt n)^2``, with ``w = 1 - sqrt(n / J)``.

    Counts' variance is stabilised by the root, so this is also the Gaussian approximation of the Poisson likelihood.
    """

    name = "amplitude"
    likelihood = "amplitude"

    weight: float | None = setting(
        None, minimum=0, verbs=("train",),
        help="weight of the squared misfit of amplitudes; auto is 1, and 0 in a supervised model. The robust choice.",
    )  # fmt: skip

    def values(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """See `Loss`."""
        difference = xp.sqrt(modelled) - amplitudes
        return difference * difference

    def derivative(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """See `Loss`."""
        return 1 - amplitudes / xp.sqrt(modelled)

    def compare(self, xp: ArrayOps, intensity: Array, measured: Measured) -> Comparison:
        """See `Loss`."""
        modelled = xp.root_of_sum(intensity, COUNTS_FLOOR)
        difference = good(modelled - measured.amplitudes, measured.mask)
        return Comparison(xp.square_sum(difference), difference / modelled, xp.sum(xp.abs(difference)))


@dataclass(frozen=True)
class Mae(Loss):
    """``|sqrt J - sqrt n|``, with ``w = sign(sqrt J - sqrt n) / (2 sqrt J)``: a term of a training alone."""

    name = "mae"
    likelihood = None

    weight: float = setting(
        0.0, minimum=0, verbs=("train",),
        help="weight of the absolute misfit of amplitudes. Use it where single pixels are wrong.",
    )  # fmt: skip

    def values(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """See `Loss`."""
        return xp.abs(xp.sqrt(modelled) - amplitudes)

    def derivative(self, xp: ArrayOps, modelled: Array, amplitudes: Array) -> Array:
        """See `Loss`."""
        root = xp.sqrt(modelled)
        return xp.sign(root - amplitudes) / (2 * root)


def good(values: Array, mask: Array | None) -> Array:
    """Values of good pixels, 0 elsewhere."""
    return values if mask is None else values * mask


BUILT_IN: Final[tuple[type[Loss], ...]] = (Nll, Amplitude, Mae)
"""The losses that ptycho itself brings, in the order in which terms are summed."""

OF_OBJECTS: Final = ("tv", "realspace")
"""Terms of a training that compare objects instead of patterns, summed after the others."""


def built_in() -> dict[str, Loss]:
    """Ptycho's own losses by name, with their default settings."""
    return {kind.name: kind() for kind in BUILT_IN}


def weights_of(training: Mapping[str, Value], losses: Mapping[str, Loss]) -> dict[str, float]:
    """The weight of each term of a training by name, from the *training* settings of a job."""
    return {name: float(str(training[f"{name}_weight"])) for name in (*losses, *OF_OBJECTS)}
