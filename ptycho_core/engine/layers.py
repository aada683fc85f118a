"""Operations of layers that look at several numbers or channels at once, on planes: real (batch, channel, row, column).

``specs/network.md`` defines them.  Sides of planes may be unknown while a function is compiled: `ArrayOps.size` gives them then.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.engine.arrays import Array, ArrayOps

__all__ = ["gelu", "on_planes"]

EPSILON: Final = 1e-5
"""Added to a variance before its root is taken."""


def gelu(xp: ArrayOps, given: Array) -> Array:
    """``x Φ(x)`` with the hyperbolic tangent of Hendrycks & Gimpel (arXiv:1606.08415), written as a sigmoid."""
    return given * xp.sigmoid(2 * sqrt(2 / pi) * (given + 0.044715 * (given * given * given)))


def on_planes(xp: ArrayOps, layer: Mapping[str, Any], planes: Array, weights: Sequence[Array]) -> Array:
    """What a layer makes of planes, with its tensors."""
    match layer["op"]:
        case "attention":
            return _attended(xp, layer, planes)
        case "gelu":
            return gelu(xp, planes)
        case "group_normalization":
            return _normalized_in_groups(xp, layer, planes, weights)
        case "layer_normalization":
            return _normalized(xp, planes, weights)
        case "resize":
            return _resized(xp, layer, planes)
        case _:
            return _spectral(xp, layer, planes, weights[0])


def _normalized(xp: ArrayOps, planes: Array, weights: Sequence[Array]) -> Array:
    """Over the channels of each pixel (Ba et al., arXiv:1607.06450)."""
    rest = planes - xp.mean(planes, (1,))[:, None]
    scale = xp.rsqrt(xp.mean(rest * rest, (1,)) + EPSILON)[:, None]
    return rest * scale * weights[0][:, None, None] + weights[1][:, None, None]


def _normalized_in_groups(xp: ArrayOps, layer: Mapping[str, Any], planes: Array, weights: Sequence[Array]) -> Array:
    """Over all pixels of some neighboring channels (Wu & He, ECCV 2018)."""
    channels, groups = int(planes.shape[1]), int(layer["groups"])

    def mean(values: Array) -> Array:
        """Of each group, for each of its channels: (batch, channel, 1, 1)."""
        parts = xp.reshape(xp.mean(values, (2, 3)), (-1, groups, channels // groups))
        shared = xp.broadcast(xp.mean(parts, (2,))[:, :, None], parts)
        return xp.reshape(shared, (-1, channels))[:, :, None, None]

    rest = planes - mean(planes)
    return rest * (xp.rsqrt(mean(rest * rest) + EPSILON) * weights[0][:, None, None]) + weights[1][:, None, None]


def _resized(xp: ArrayOps, layer: Mapping[str, Any], planes: Array) -> Array:
    """Half or twice the sides; pixels are squares whose middles lie between those of the other size."""
    bilinear = layer["method"] == "bilinear"
    if layer["scale"] == "half":
        if not bilinear:
            return planes[:, :, ::2, ::2]
        return _halved(_halved(planes, 2), 3)
    rows, columns = _sides(xp, planes)
    channels = int(planes.shape[1])
    pairs = xp.stack(_between(xp, planes, 3) if bilinear else (planes, planes), 4)
    wide = xp.reshape(pairs, (-1, channels, rows, 2 * columns))
    pairs = xp.stack(_between(xp, wide, 2) if bilinear else (wide, wide), 3)
    return xp.reshape(pairs, (-1, channels, 2 * rows, 2 * columns))


def _halved(planes: Array, axis: int) -> Array:
    """Means of two neighbors along an axis."""
    return 0.5 * (planes[_along(axis, slice(0, None, 2))] + planes[_along(axis, slice(1, None, 2))])


def _between(xp: ArrayOps, planes: Array, axis: int) -> tuple[Array, Array]:
    """Each pixel a quarter nearer to the one before and to the one after, if there is one."""
    before = xp.concat([planes[_along(axis, slice(None, 1))], planes[_along(axis, slice(None, -1))]], axis)
    after = xp.concat([planes[_along(axis, slice(1, None))], planes[_along(axis, slice(-1, None))]], axis)
    return 0.75 * planes + 0.25 * before, 0.75 * planes + 0.25 * after


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, part)


def _sides(xp: ArrayOps, planes: Array) -> tuple[Any, Any]:
    """Rows and columns, numbers where they are known."""
    rows, columns = planes.shape[2], planes.shape[3]
    return xp.size(planes[:, :, :, 0]) if rows is None else int(rows), xp.size(planes) if columns is None else int(columns)


def _spectral(xp: ArrayOps, layer: Mapping[str, Any], planes: Array, weight: Array) -> Array:
    """Complex weights on the lowest frequencies alone, the others are dropped (Li et al., ICLR 2021)."""
    modes, weight = int(layer["modes"]), xp.complex(weight[0], weight[1])
    rows, columns = _sides(xp, planes)
    spectrum = xp.fft2(xp.complex(planes, xp.zeros_like(planes)))[:, :, :, :modes]
    upper = xp.einsum("oikl,bikl->bokl", weight[:, :, :modes], spectrum[:, :, :modes])
    lower = xp.einsum("oikl,bikl->bokl", weight[:, :, modes:], spectrum[:, :, -modes:])
    right = (0, columns - modes)
    total = xp.pad(upper, (0, rows - modes), right) + xp.pad(lower, (rows - modes, 0), right)
    return xp.real(xp.ifft2(total))


def _attended(xp: ArrayOps, layer: Mapping[str, Any], planes: Array) -> Array:
    """Attention of several heads between the pixels of each window (Vaswani et al., NeurIPS 2017; Liu et al., ICCV 2021)."""
    heads, side, channels = int(layer["heads"]), int(layer["window"]), int(planes.shape[1]) // 3
    rows, columns = _sides(xp, planes)
    depth = channels // heads
    cut = xp.reshape(planes, (-1, 3, heads, depth, rows // side, side, columns // side, side))
    query, key, value = cut[:, 0] * (1 / sqrt(depth)), cut[:, 1], cut[:, 2]
    scores = xp.einsum("bhdrxcy,bhdrucv->bhrcxyuv", query, key)
    scores = xp.exp(scores - xp.constant(xp.max(scores, (6, 7)))[..., None, None])
    shares = scores / xp.sum(scores, (6, 7))[..., None, None]
    return xp.reshape(xp.einsum("bhrcxyuv,bhdrucv->bhdrxcy", shares, value), (-1, channels, rows, columns))
