"""The flux: the dose of each frame relative to the others, where the beam fluctuates.

It multiplies the light of a frame, ``I = f Σ|FFT2_ortho(ψ)|² + background``, as the intensity factors of Odstrcil, Menzel &
Guizar-Sicairos, Opt. Express 26 (2018) 3108 do.  What is fitted is ``log f``, so that no step makes it negative: in small batches
by Gauss-Newton steps of the amplitudes, in the joint fit with all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.engine.saturation import bounded_above

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.engine.state import Measured

__all__ = ["best_factor", "best_steps", "flux_steps", "moved"]

LARGEST_STEP: Final = 0.5
"""Of ``log f`` in one step."""

ROUNDS: Final = 4
"""Steps to the flux that fits a frame best."""


def flux_steps(xp: ArrayOps, light: Array, modelled: Array, residual: Array, mask: Array | None) -> Array:
    """Changes of ``log f``, real (frame,), that best explain the residual amplitudes, frame by frame.

    Args:
        xp: the operations.
        light: real (frame, N, N), modelled counts without background.
        modelled: real (frame, N, N), roots of the modelled counts, above 0.
        residual: real (frame, N, N), measured minus modelled amplitudes, zero at bad pixels.
        mask: real (N, N), 1 for good pixels, or None.
    """
    slope = light / modelled  # twice that of the amplitudes by log f
    if mask is not None:
        slope = slope * mask
    return 2 * xp.sum(slope * residual, (1, 2)) / (xp.sum(slope * slope, (1, 2)) + xp.tiny)


def best_steps(xp: ArrayOps, light: Array, background: Array | None, measured: Measured, floor: float) -> Array:
    """The change of ``log f``, real (frame,), after which a frame fits best; arguments as of `flux_steps`."""
    mask, total = measured.mask, xp.zeros_like(xp.sum(light, (1, 2)))
    for _ in range(ROUNDS):
        now = light * xp.exp(total)[:, None, None]
        modelled = bounded_above(xp, now if background is None else now + background, measured, floor)
        modelled = xp.root_of_sum(modelled, floor)
        residual = measured.amplitudes - modelled
        step = flux_steps(xp, now, modelled, residual if mask is None else residual * mask, mask)
        total = total + xp.at_most(xp.at_least(step, -LARGEST_STEP), LARGEST_STEP)
    return total


def best_factor(xp: ArrayOps, light: Array, background: Array | None, measured: Measured) -> Array:
    """The dose of a trial over that of its model, by linear least squares of the amplitudes, none of them saturated.

    Args:
        xp: the operations.
        light: real (frame, trial, N, N), modelled counts without background.
        background: real (N, N) or (1, 1), or None.
        measured: amplitudes (frame, 1, N, N).

    Returns:
        Real (frame, trial, 1, 1).
    """
    amplitudes, weight = measured.amplitudes, measured.mask
    if background is not None:
        amplitudes = xp.sqrt(xp.at_least(amplitudes * amplitudes - background, 0.0))
    root = xp.sqrt(light)
    light = light if weight is None else light * weight
    product = root * (amplitudes if weight is None else amplitudes * weight)
    factor = xp.sum(product, (2, 3)) / (xp.sum(light, (2, 3)) + xp.tiny)
    return (factor * factor)[:, :, None, None]


def moved(flux: NDArray[np.float64], steps: NDArray[Any]) -> NDArray[np.float64]:
    """Flux (frame,) after steps of its logarithm, bounded; a frame without a solution stays as it is."""
    found: NDArray[np.float64] = flux * np.exp(np.nan_to_num(steps.astype(np.float64)).clip(-LARGEST_STEP, LARGEST_STEP))
    return found
