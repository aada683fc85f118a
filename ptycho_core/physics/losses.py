"""Loss terms, and their derivatives with respect to the modelled intensity or the object. NumPy, double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError, SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "DATA_TERMS",
    "INTENSITY_FLOOR",
    "TERMS",
    "VARIATION_ROUNDING",
    "bounded_above",
    "check_counts",
    "check_weights",
    "data_derivative",
    "data_terms",
    "total_variation",
    "total_variation_gradient",
]

DATA_TERMS: Final = ("nll", "amplitude", "mae")
TERMS: Final = (*DATA_TERMS, "tv")

INTENSITY_FLOOR: Final = 1e-6
"""Counts added to each modelled intensity inside a loss term, so that a dark pixel gives neither log 0 nor a division by zero."""

VARIATION_ROUNDING: Final = 1e-3
"""Object differences well below this, in units of transmission, count quadratically in the total variation."""


_BELOW: Final = 1e-4
"""Part of the level of saturation by which counts that have reached it may lie below."""


def bounded_above(
    modelled: NDArray[np.float64], counts: NDArray[np.float64], level: float | NDArray[np.float64], floor: float = 0.0
) -> NDArray[np.float64]:
    """Modelled counts that with ``floor`` added are no more than a pixel counts which has reached the ``level``.

    Both are real (frame, N, N); the level is one, or (frame, 1, 1).
    """
    least = counts - floor
    return np.where((counts >= level * (1 - _BELOW)) & (modelled > least), least, modelled)


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse unknown loss terms and weights that are not finite numbers.

    Raises:
        SettingsError: naming the term.
    """
    for name, weight in weights.items():
        if name not in TERMS:
            known = ", ".join(TERMS)
            raise SettingsError(f"Unknown loss term '{name}'; known are {known}.", remedy=did_you_mean(name, TERMS).strip())
        if not np.isfinite(weight):
            raise SettingsError(f"The weight of loss term '{name}' must be a finite number, not {weight!r}.")


def check_counts(counts: NDArray[Any], mask: NDArray[np.bool_] | None, frames: int, size: int) -> None:
    """Refuse counts and masks that do not fit ``frames`` patterns of ``size`` x ``size`` pixels, or cannot be counts.

    Raises:
        DataError: if a shape does not fit, there is no pattern or no good pixel, or a good pixel is negative or not finite.
    """
    if counts.shape != (frames, size, size):
        raise DataError(f"The counts must have the shape {(frames, size, size)} of the modelled patterns, not {counts.shape}.")
    if frames == 0:
        raise DataError("There is no pattern to compare.")
    if mask is not None and mask.dtype != np.bool_:
        raise DataError(f"The mask must be boolean, True for good pixels, not {mask.dtype}.")
    if mask is not None and mask.shape != (size, size):
        raise DataError(f"The mask must have the shape of a pattern, {(size, size)}, not {mask.shape}.")
    if mask is not None and not mask.any():
        raise DataError("The mask leaves no good pixel.")
    good = counts if mask is None else counts[:, mask]
    if not np.isfinite(good).all() or (good < 0).any():
        raise DataError("The counts of good pixels must be finite and not negative.")


def data_terms(
    modelled: NDArray[np.float64], counts: NDArray[np.float64], mask: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """The three terms that compare modelled intensities with counts, each a mean over good pixels and patterns.

    With ``J = I + INTENSITY_FLOOR``: ``nll`` is ``J - n log J`` (Thibault & Guizar-Sicairos, New J. Phys. 14 (2012) 063004,
    without the term log n! that the model does not change), ``amplitude`` ``(√J - √n)²``, ``mae`` ``|√J - √n|``.

    Args:
        modelled: (frame, N, N), I, counts.
        counts: (frame, N, N), n, counts, not negative where good.
        mask: (N, N), bool, True = good pixel, or None for all good.
    """
    I, n = (modelled, counts) if mask is None else (modelled[:, mask], counts[:, mask])  # noqa: E741
    J = I + INTENSITY_FLOOR
    difference = np.sqrt(J) - np.sqrt(n)
    return {
        "nll": float(np.mean(J - n * np.log(J))),
        "amplitude": float(np.mean(difference**2)),
        "mae": float(np.mean(np.abs(difference))),
    }


def data_derivative(
    modelled: NDArray[np.float64],
    counts: NDArray[np.float64],
    mask: NDArray[np.bool_] | None,
    weights: Mapping[str, float],
) -> NDArray[np.float64]:
    """Derivative of the weighted sum of `data_terms` with respect to each modelled intensity.

    Terms that ``weights`` does not name, and ``tv``, do not count. The derivative of ``|x|`` at zero is zero.

    Returns:
        (frame, N, N), float64; zero where the mask is False.
    """
    J = modelled + INTENSITY_FLOOR
    # A bad pixel may hold anything, and NaN times zero is not zero.
    n = counts if mask is None else np.where(mask, counts, 0.0)
    root_J, root_n = np.sqrt(J), np.sqrt(n)
    total = (
        weights.get("nll", 0.0) * (1 - n / J)
        + weights.get("amplitude", 0.0) * (1 - root_n / root_J)
        + weights.get("mae", 0.0) * np.sign(root_J - root_n) / (2 * root_J)
    )
    if mask is None:
        return np.asarray(total / modelled.size)
    return np.where(mask, total, 0.0) / (len(modelled) * np.count_nonzero(mask))


def _differences(object: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:  # noqa: A002
    """Forward differences along rows and columns, zero where the next pixel is outside, and their rounded length."""
    down, right = np.zeros_like(object), np.zeros_like(object)
    down[:-1] = object[1:] - object[:-1]
    right[:, :-1] = object[:, 1:] - object[:, :-1]
    squares = down.real**2 + down.imag**2 + right.real**2 + right.imag**2
    return down, right, np.sqrt(squares + VARIATION_ROUNDING**2)


def total_variation(object: NDArray[np.complex128]) -> float:  # noqa: A002
    """Isotropic total variation of the complex object (rows, columns), a mean over all its pixels.

    ``√(|O[r+1,c] - O[r,c]|² + |O[r,c+1] - O[r,c]|² + ε²) - ε`` with ``ε = VARIATION_ROUNDING``; a difference across the border is
    zero. Source: Rudin, Osher & Fatemi, Physica D 60 (1992) 259.
    """
    return float(np.mean(_differences(object)[2] - VARIATION_ROUNDING))


def total_variation_gradient(object: NDArray[np.complex128]) -> NDArray[np.complex128]:  # noqa: A002
    """Gradient of `total_variation`, d/d Re + i d/d Im: complex (rows, columns)."""
    down, right, length = _differences(object)
    down, right = down / length, right / length
    gradient = -down - right
    gradient[1:] += down[:-1]
    gradient[:, 1:] += right[:, :-1]
    return np.asarray(gradient / object.size)
