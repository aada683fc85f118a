"""The same scan in two files: which of their positions belong to the same frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["paired"]

_ALIKE = 0.25
"""Positions of one scan differ, but for a common shift, by less than this part of what they spread."""


def paired(
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]],
    first_frames: NDArray[np.int64] | None = None,
    second_frames: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Pair the positions of two files by the frames that they belong to.

    Frames go together in order where both files have as many, or by number. Both can be meant where one file numbers its frames
    otherwise than the other: then that is taken in which the positions agree better. Files of different length are of one scan
    only if the positions of equal numbers agree, but for a common shift, to a quarter of their spread.

    Args:
        first: (frame, 2), in the order of their frames.
        second: (other frame, 2), the same.
        first_frames: (frame,), ascending numbers of the frames; counted from 0 where None is given.
        second_frames: the same of ``second``.

    Returns:
        Two arrays (pair,) of int64 that index ``first`` and ``second``; None if nothing belongs together.
    """
    numbers = [np.arange(len(one)) if given is None else given for one, given in ((first, first_frames), (second, second_frames))]
    _, here, there = np.intersect1d(numbers[0], numbers[1], return_indices=True)
    if len(first) == len(second):
        order = np.arange(len(first), dtype=np.int64)
        if len(here) < 3 or _distance(first, second) <= _distance(first[here], second[there]):
            return order, order
    elif len(here) < 3 or _distance(first[here], second[there]) > _ALIKE * _spread(second[there]):
        return None
    return here.astype(np.int64), there.astype(np.int64)


def _distance(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Median distance of positions (frame, 2) from each other, a common shift removed."""
    return _spread(np.asarray(first, dtype=np.float64) - second)


def _spread(points: NDArray[np.floating[Any]]) -> float:
    return float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))
