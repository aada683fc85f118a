"""Attention between the pixels of each window, and the way back; float64 (batch, channel, row, column)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

__all__ = ["attend", "attend_back"]


def attend(x: Real, heads: int, window: int) -> Real:
    """``softmax(q k / √d) v`` for each head and window; the channels of ``x`` are queries, keys and values, heads apart."""
    query, key, value = (_windows(part, heads, window) for part in np.split(x, 3, axis=1))
    return _pictures(_shares(query, key) @ value, x.shape, heads, window)


def attend_back(x: Real, heads: int, window: int, slope: Real) -> Real:
    """The gradient with respect to ``x``, given that with respect to the result of `attend`.

    With shares s of scores t: ``ds = slope v``, ``dt = s (ds − Σ s ds)``; ``dq = dt k / √d``, ``dk = dtᵀ q / √d``,
    ``dv = sᵀ slope``.
    """
    query, key, value = (_windows(part, heads, window) for part in np.split(x, 3, axis=1))
    above, shares = _windows(slope, heads, window), _shares(query, key)
    of_shares = above @ value.swapaxes(-1, -2)
    of_scores = shares * (of_shares - (shares * of_shares).sum(axis=-1, keepdims=True)) / np.sqrt(query.shape[-1])
    parts = (of_scores @ key, of_scores.swapaxes(-1, -2) @ query, shares.swapaxes(-1, -2) @ above)
    return np.concatenate([_pictures(part, x.shape, heads, window) for part in parts], axis=1)


def _shares(query: Real, key: Real) -> Real:
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Real = powers / powers.sum(axis=-1, keepdims=True)
    return found


def _windows(x: Real, heads: int, window: int) -> Real:
    """(batch, head, window's row, window's column, pixel, channel)."""
    number, channels, rows, columns = x.shape
    cut = x.reshape(number, heads, channels // heads, rows // window, window, columns // window, window)
    return cut.transpose(0, 1, 3, 5, 4, 6, 2).reshape(number, heads, rows // window, columns // window, window**2, -1)


def _pictures(cut: Real, shape: tuple[int, ...], heads: int, window: int) -> Real:
    """The inverse of `_windows`; ``shape`` gives batch, rows and columns."""
    number, _, rows, columns = shape
    apart = cut.reshape(number, heads, rows // window, columns // window, window, window, -1)
    return apart.transpose(0, 1, 6, 2, 4, 3, 5).reshape(number, -1, rows, columns)
