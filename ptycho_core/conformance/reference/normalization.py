"""Normalization over groups of channels or those of each pixel, and the way back; float64 (batch, channel, row, column)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

__all__ = ["normalize", "normalize_back"]

_ADDED = 1e-5
"""Added to a variance."""


def normalize(x: Real, weight: Real, bias: Real, groups: int | None) -> Real:
    """``w (x − mean) / √(variance + 10⁻⁵) + b``; with ``groups`` None over the channels of each pixel."""
    found: Real = weight[:, None, None] * _unit(x, groups)[0] + bias[:, None, None]
    return found


def normalize_back(x: Real, weight: Real, groups: int | None, slope: Real) -> tuple[Real, Real, Real]:
    """Gradients with respect to ``x``, ``weight`` and ``bias``, given that with respect to the result of `normalize`.

    With ``y = (x − m) r``, ``r = 1 / √(variance + 10⁻⁵)`` and ``g = w slope`` it is ``r (g − mean g − y mean(g y))``, as m and r
    move with each x: ``dm = mean dx``, ``dr = −r² mean(y dx)``.
    """
    y, root = _unit(x, groups)
    g = _apart(weight[:, None, None] * slope, groups)
    flat = _apart(y, groups)
    below = root * (g - g.mean(axis=-1, keepdims=True) - flat * (g * flat).mean(axis=-1, keepdims=True))
    return _together(below, x.shape, groups), (slope * y).sum(axis=(0, 2, 3)), slope.sum(axis=(0, 2, 3))


def _unit(x: Real, groups: int | None) -> tuple[Real, Real]:
    """``y`` and, apart, ``r``."""
    flat = _apart(x, groups)
    rest = flat - flat.mean(axis=-1, keepdims=True)
    root = 1 / np.sqrt((rest**2).mean(axis=-1, keepdims=True) + _ADDED)
    return _together(rest * root, x.shape, groups), root


def _apart(x: Real, groups: int | None) -> Real:
    """What has a common mean along the last axis."""
    return x.transpose(0, 2, 3, 1) if groups is None else x.reshape(len(x), groups, -1)


def _together(flat: Real, shape: tuple[int, ...], groups: int | None) -> Real:
    return flat.transpose(0, 3, 1, 2) if groups is None else flat.reshape(shape)
