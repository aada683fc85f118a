"""The forward model: what the detector counts on average, from object, probe modes and positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.physics.near_field import near_field, near_field_adjoint
from ptycho_core.physics.propagation import backpropagate, propagate, shift
from ptycho_core.physics.windows import check_windows, cut_windows, split_positions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ptycho_core.physics.near_field import Propagation

__all__ = ["BATCH", "at_detector", "check_model", "exit_waves", "from_detector", "intensities"]

BATCH: Final = 64
"""Frames that are computed at once; bounds the memory and changes nothing else."""


def check_model(
    object: NDArray[Any],  # noqa: A002
    probe: NDArray[Any],
    positions: ArrayLike,
    background: ArrayLike | None,
    flux: ArrayLike | None = None,
) -> None:
    """Check shapes and places of a model's parts; arguments as for `intensities`.

    Raises:
        DataError: if a shape does not fit, a number is not finite, a background is negative, a flux is not
            positive or a window leaves the object.
    """
    if object.ndim != 2:
        raise DataError(f"The object must have the shape (rows, columns), not {object.shape}.")
    if probe.ndim != 3 or probe.shape[1] != probe.shape[2] or probe.size == 0:
        raise DataError(f"The probe must have the shape (mode, N, N), not {probe.shape}.")
    for name, values in (("object", object), ("probe", probe)):
        if not np.isfinite(values).all():
            raise DataError(f"The {name} holds values that are not finite.")
    size = probe.shape[-1]
    if background is not None:
        counts = np.asarray(background)
        if counts.shape != (size, size):
            raise DataError(f"The background must have the shape of a pattern, {(size, size)}, not {counts.shape}.")
        if not (np.isfinite(counts).all() and (counts >= 0).all()):
            raise DataError("The background must be finite and not negative: it counts photons.")
    corners, _ = split_positions(positions)
    check_windows(corners, size, object.shape)
    if flux is not None:
        factors = np.asarray(flux)
        if factors.shape != (len(corners),):
            raise DataError(f"The flux must have the shape of the frames, {(len(corners),)}, not {factors.shape}.")
        if not (np.isfinite(factors).all() and (factors > 0).all()):
            raise DataError("The flux of each frame must be finite and above zero: it is the dose relative to the others.")


def exit_waves(object: NDArray[Any], probe: NDArray[Any], positions: ArrayLike) -> NDArray[np.complex128]:  # noqa: A002
    """Exit waves (frame, mode, N, N): the probe, shifted by the position's remainder, times the object in its window."""
    corners, remainders = split_positions(positions)
    windows = cut_windows(object, corners, probe.shape[-1])
    waves: NDArray[np.complex128] = shift(probe, remainders[:, None]) * windows[:, None]
    return waves


def at_detector(exits: ArrayLike, remainders: ArrayLike, way: Propagation | None = None) -> NDArray[np.complex128]:
    """Waves at the detector of exit waves (frame, mode, N, N).

    In the near field the detector shows where the wave is: an exit wave, whose window was cut at whole pixels, is moved back by
    the remainder, so that the beam stands still and the object moves. In the far field a shift changes no intensity.

    Args:
        exits: (frame, mode, N, N), or any other leading axes that those of ``remainders`` broadcast to.
        remainders: (frame, 1, 2), (row, column), pixels, of the positions.
        way: None for the far field.

    Returns:
        Complex, of the shape of ``exits``; in the far field zero frequency at ``[N//2, N//2]``.
    """
    return propagate(exits) if way is None else near_field(shift(exits, -np.asarray(remainders)), way)


def from_detector(waves: ArrayLike, remainders: ArrayLike, way: Propagation | None = None) -> NDArray[np.complex128]:
    """The adjoint of `at_detector`."""
    return backpropagate(waves) if way is None else shift(near_field_adjoint(waves, way), remainders)


def intensities(
    object: ArrayLike,  # noqa: A002
    probe: ArrayLike,
    positions: ArrayLike,
    background: ArrayLike | None = None,
    *,
    flux: ArrayLike | None = None,
    way: Propagation | None = None,
    batch: int = BATCH,
) -> NDArray[np.float64]:
    """Modelled mean counts, ``I = f Σ_m |D(shift(P_m) · O[window])|² + background``, with D of `at_detector`.

    Source: Rodenburg & Maiden, Ultramicroscopy 109 (2009) 1256 (one mode); Thibault & Menzel, Nature 494 (2013) 68 (mode sum).
    The formulas with all conventions are in ``specs/forward-model.md``.

    Args:
        object: (rows, columns), complex transmission.
        probe: (mode, N, N), complex; Σ|P|² is the mean number of counts in a pattern of an empty object.
        positions: (frame, 2), float64, (row, column) of each window's ``[0, 0]`` corner in object pixels.
        background: (N, N), counts added to each pattern, or None.
        flux: (frame,), f, the dose of each frame relative to the probe's, above zero, or None for 1.
        way: from the sample to the detector in the near field; None for the far field.
        batch: frames computed at once.

    Returns:
        (frame, N, N), float64, counts; in the far field zero frequency at ``[N//2, N//2]``.

    Raises:
        DataError: if a shape does not fit, a number is not finite, a background is negative, a flux is not positive or a window
            leaves the object.
        ValueError: if ``batch`` is below one.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    transmission = np.asarray(object, dtype=np.complex128)
    modes = np.asarray(probe, dtype=np.complex128)
    places = np.asarray(positions, dtype=np.float64)
    check_model(transmission, modes, places, background, flux)
    result = np.empty((len(places), *modes.shape[1:]))
    for first in range(0, len(places), batch):
        frames = slice(first, first + batch)
        _, remainders = split_positions(places[frames])
        waves = at_detector(exit_waves(transmission, modes, places[frames]), remainders[:, None], way)
        result[frames] = np.sum(waves.real**2 + waves.imag**2, axis=1)
    if flux is not None:
        result *= np.asarray(flux, dtype=np.float64)[:, None, None]
    if background is not None:
        result += np.asarray(background, dtype=np.float64)
    return result
