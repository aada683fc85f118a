"""The amplitude ramp, which no pattern shows where probe and flux are both fitted.

``O(r) e^{a·r}``, ``P(r) e^{−a·r}`` and ``f_j e^{−2a·r_j}`` give the same patterns for every real ``a``, as an imaginary one does
(the phase ramp).  So ``a`` is chosen: the modulus of the fitted probe is to be as like that of the start as a ramp can make it,
apart from a shift, which is another such freedom; and the flux is to vary along the scan no more than its scatter from frame to
frame lets it by chance.  The second decides alone where the dose is constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Leveled", "without_ramp"]

BY_CHANCE: Final = 2.5
"""Standard errors of the slope of ``log f`` along an axis, which a ramp may leave."""

ROUNDS: Final = 3
"""Of the linear solution."""


class Leveled(NamedTuple):
    """Object (rows, columns), probe (mode, N, N) and flux (frame,), with another ramp."""

    object: NDArray[Any]
    probe: NDArray[Any]
    flux: NDArray[np.float64]


def without_ramp(
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    flux: NDArray[np.float64],
    positions: NDArray[np.float64],
    start: NDArray[Any],
) -> Leveled:
    """A fit whose amplitude ramp is chosen by the probe ``start`` (mode, N, N) and the scatter of the flux.

    The patterns of the fit stay as they are.

    Args:
        object: (rows, columns), complex.
        probe: (mode, N, N), complex.
        flux: (frame,), above 0.
        positions: (frame, 2), (row, column) of the windows' corners in ``object``.
        start: the probe that the fit began with.
    """
    whole = np.floor(positions)
    middle = whole.mean(axis=0)
    ramp = np.zeros(2)
    for axis, (low, high) in enumerate(_bounds(np.log(flux), positions - positions.mean(axis=0))):
        ramp[axis] = np.clip(_ramp_of(probe, start)[axis], low, high)
    rows, columns = (ramp[axis] * (np.arange(object.shape[axis]) - middle[axis] - probe.shape[-1] // 2) for axis in (0, 1))
    window = _places(probe.shape[-1])
    # The probe moves by the remainders, so that a window at `position` has its ramp about the position.
    factor = np.exp(-ramp[0] * window[:, None] - ramp[1] * window[None, :])
    level = np.exp(-2 * (positions - middle) @ ramp)
    changed = object * np.exp(rows[:, None] + columns[None, :])
    return Leveled(changed.astype(object.dtype), (probe * factor).astype(probe.dtype), flux * level)


def _places(size: int) -> NDArray[np.float64]:
    """Rows or columns of a probe about its middle."""
    found: NDArray[np.float64] = np.arange(size, dtype=np.float64) - size // 2
    return found


def _bounds(logs: NDArray[np.float64], places: NDArray[np.float64]) -> list[tuple[float, float]]:
    """For each axis the ramps between which the slope of ``log f`` (frame,) at ``places`` (frame, 2) is one by chance."""
    design = np.concatenate([np.ones((len(logs), 1)), places], axis=1)
    slopes, *_ = np.linalg.lstsq(design, logs, rcond=None)
    scatter = float(np.sqrt(((logs - design @ slopes) ** 2).sum() / max(len(logs) - 3, 1)))
    spread = np.sqrt((places**2).sum(axis=0))
    found = []
    for axis in (0, 1):
        if not spread[axis] > 0:
            found.append((0.0, 0.0))
            continue
        free = BY_CHANCE * scatter / spread[axis]
        found.append(((slopes[axis + 1] - free) / 2, (slopes[axis + 1] + free) / 2))
    return found


def _ramp_of(probe: NDArray[Any], start: NDArray[Any]) -> NDArray[np.float64]:
    """The ramp a, (row, column), after which ``|probe| e^{−a·r}`` is most like a multiple of ``|start|``, shifted a little."""
    fitted, model = (np.sqrt((np.abs(modes.astype(np.complex128)) ** 2).sum(axis=0)) for modes in (probe, start))
    window, slopes = _places(len(fitted)), np.gradient(model)
    # The first row and column of an even number have no partner on the other side, and would ask for a ramp of their own.
    inner = (slice(1 - len(fitted) % 2, None),) * 2
    total = np.zeros(2)
    for _ in range(ROUNDS):
        now = fitted * np.exp(-total[0] * window[:, None] - total[1] * window[None, :])
        basis = [model, *slopes, window[:, None] * now, window[None, :] * now]
        found, *_ = np.linalg.lstsq(np.stack([one[inner].ravel() for one in basis], axis=1), now[inner].ravel(), rcond=None)
        total += found[3:]
    return total
