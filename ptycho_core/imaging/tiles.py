"""One tile of a scan: the patches of neighbouring frames, brought to a common phase and merged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.imaging.synchronisation import Pairs, align_phases, islands

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["Illumination", "Piece", "merge_tile", "picture_pieces", "products"]

_LIT = 0.05  # of the brightest row or column: fainter ones do not help to find phases
_SHARED = 0.02  # of the overlap of a window with itself: windows that share less light are no neighbours
_SWEEPS = 2
_TOLERATED = 4.0  # times the median misfit of a tile, at which a patch counts half
_EXACT = 1e-5  # relative misfit below which patches are equally good: rounding


@dataclass(frozen=True, eq=False)
class Illumination:
    """The light in a window, (N, N), float32, brightest pixel 1, and what follows from it."""

    weight: NDArray[np.float32]

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """The rectangle from the first to the last row and column that get a fair part of the light: enough to find phases."""
        spans = []
        for axis in (1, 0):
            profile = self.weight.sum(axis=axis)
            illuminated = np.flatnonzero(profile > _LIT * profile.max())
            spans.append(slice(int(illuminated[0]), int(illuminated[-1]) + 1))
        return spans[0], spans[1]

    @cached_property
    def _near(self) -> NDArray[np.bool_]:
        """By the autocorrelation of the weight; no offset is at [N, N], and on the border windows do not overlap."""
        size = len(self.weight)
        power = np.abs(np.fft.rfft2(self.weight.astype(np.float64), (2 * size, 2 * size))) ** 2
        shared = np.fft.fftshift(np.fft.irfft2(power, (2 * size, 2 * size)))
        near = np.pad(shared > _SHARED * shared[size, size], (0, 1))
        near[[0, -1], :] = near[:, [0, -1]] = False
        return np.asarray(near)

    def neighbours(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether windows that lie so many rows and columns apart share enough light for a phase between them."""
        size = len(self.weight)
        return self._near[np.clip(rows, -size, size) + size, np.clip(columns, -size, size) + size]


@dataclass(eq=False)
class Piece:
    """Patches of one tile that hang together, merged up to the division by their weights.

    Attributes:
        frames: (k,), int64, ascending.
        corners: (k, 2), int64, of the windows in the object.
        factors: (k,), complex128, of modulus one, by which the patches were multiplied.
        trust: (k,), float64, in (0, 1], by which their weights were multiplied.
        corner: (row, column) of the canvas in the object.
        canvas: (rows, columns), complex64: ``Σ trust · |P|² · factor · patch``.
        light: (rows, columns), float32, the sum of the weights where all count alike; else None.
    """

    frames: NDArray[np.int64]
    corners: NDArray[np.int64]
    factors: NDArray[np.complex128]
    trust: NDArray[np.float64]
    corner: tuple[int, int]
    canvas: NDArray[np.complex64]
    light: NDArray[np.float32] | None = None

    @property
    def place(self) -> tuple[slice, slice]:
        """Index of the canvas in the object."""
        (row, column), (rows, columns) = self.corner, self.canvas.shape
        return slice(row, row + rows), slice(column, column + columns)


def merge_tile(
    frames: NDArray[np.int64], corners: NDArray[np.int64], weighted: NDArray[np.complex64], light: Illumination
) -> list[Piece]:
    """Align the patches of a tile and merge them: one piece for each part of it that shares no light with the rest.

    Args:
        frames: (k,), int64, ascending.
        corners: (k, 2), int64, of their windows in the object.
        weighted: (k, N, N), complex64: weight · patch.
        light: of every window.
    """
    first, second = _neighbours(corners, light)
    rows, columns = light.box
    illuminated = np.ascontiguousarray(weighted[:, rows, columns])
    weight = light.weight[rows, columns]
    inverse = (1 / np.where(weight > 0, weight, 1)).ravel()
    energy = np.asarray((np.abs(illuminated) ** 2).reshape(len(illuminated), -1) @ inverse, dtype=np.float32)
    factors = _aligned(illuminated, corners - corners.min(axis=0), weight, first, second)
    labels = islands(len(frames), first, second)
    pieces = []
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        inside = corners[members] - corners[members].min(axis=0)
        part = illuminated if len(members) == len(illuminated) else illuminated[members]
        better, trust = _refined(part, inside, weight, energy[members], factors[members])
        canvas = np.zeros(inside.max(axis=0) + len(light.weight), dtype=np.complex64)
        _add(canvas, (weighted[member] for member in members), inside, (better * trust).astype(np.complex64))
        corner = corners[members].min(axis=0)
        pieces.append(Piece(frames[members], corners[members], better, trust, (int(corner[0]), int(corner[1])), canvas))
    return pieces


def picture_pieces(
    frames: NDArray[np.int64],
    corners: NDArray[np.int64],
    picture: NDArray[np.complex64],
    corner: tuple[int, int],
    light: Illumination,
) -> list[Piece]:
    """The pieces of a tile whose frames share one picture, which is to be weighted by the light of all of them.

    Args:
        frames: (k,), int64.
        corners: (k, 2), int64, of their windows in the object.
        picture: (rows, columns), complex64, on which all windows lie.
        corner: (row, column) of the picture in the object.
        light: of every window.
    """
    labels, size = islands(len(frames), *_neighbours(corners, light)), len(light.weight)
    pieces = []
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        low = corners[members].min(axis=0)
        inside = corners[members] - low
        illuminated = np.zeros(inside.max(axis=0) + size, dtype=np.float32)
        _add(illuminated, [light.weight] * len(members), inside, np.ones(len(members), dtype=np.float32))
        row, column = (low - corner).tolist()
        part = picture[row : row + illuminated.shape[0], column : column + illuminated.shape[1]] * illuminated
        ones = np.ones(len(members))
        own = (int(low[0]), int(low[1]))
        pieces.append(Piece(frames[members], corners[members], ones.astype(np.complex128), ones, own, part, illuminated))
    return pieces


def _aligned(
    illuminated: NDArray[np.complex64],
    corners: NDArray[np.int64],
    weight: NDArray[np.float32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> NDArray[np.complex128]:
    """Factors from the products of pairs.

    Each pixel counts as ``W_i W_j / Σ_k W_k``: the sum over all pairs is then that of squares around the merged object, most
    likely where the noise is as 1 / W. Without the sum of the weights, a chain of frames drifts a third more.
    """
    rows, columns = weight.shape
    light = np.zeros(corners.max(axis=0) + weight.shape, dtype=np.float32)
    _add(light, [weight] * len(illuminated), corners, np.ones(len(illuminated), dtype=np.float32))
    root = 1 / np.sqrt(np.where(light > 0, light, 1))
    scaled = np.empty_like(illuminated)
    for one, shared, (row, column) in zip(scaled, illuminated, corners.tolist(), strict=True):
        np.multiply(shared, root[row : row + rows, column : column + columns], out=one)
    return align_phases(len(illuminated), products(scaled, corners, first, second, np.abs(scaled)))


def _neighbours(corners: NDArray[np.int64], light: Illumination) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of frames: each with the nearest that shares light in each of eight directions (Yao's graph).

    The nearest frames alone might all lie on one line of a scan; sectors of less than 60 degrees connect all that can be
    (Yao, *SIAM J. Comput.* 11 (1982) 721-736). Of two opposite directions one is enough.
    """
    down, right = (np.subtract.outer(-places, -places) for places in corners.T)
    number = np.arange(len(corners))
    later = (down > 0) | ((down == 0) & ((right > 0) | ((right == 0) & (number > number[:, None]))))
    first, second = np.nonzero(later & light.neighbours(down, right))
    down, right = down[first, second], right[first, second]
    direction = 4 * first + 2 * (right > 0) + (np.abs(right) > down)
    order = np.lexsort((second, down**2 + right**2, direction))
    nearest = order[np.unique(direction[order], return_index=True)[1]]
    return first[nearest], second[nearest]


def products(
    images: Sequence[NDArray[np.complex64]] | NDArray[np.complex64],
    corners: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    moduli: NDArray[np.float32] | None = None,
) -> Pairs:
    """The products of images over the overlaps of pairs.

    Args:
        images: each (rows, columns), complex64.
        corners: (image, 2), int64, (row, column).
        first: (pair,), int64.
        second: (pair,), int64.
        moduli: of the images, if there is memory for all of them at once.
    """
    shapes = np.array([image.shape for image in images], dtype=np.int64)
    low = np.maximum(corners[first], corners[second])
    high = np.maximum(np.minimum(corners[first] + shapes[first], corners[second] + shapes[second]), low)
    spans = [(low - corners[one], high - corners[one]) for one in (first, second)]
    numbers = np.column_stack([first, second, *(corner for span in spans for corner in span)]).tolist()
    product, most = [], []
    for i, j, row_i, column_i, end_i, stop_i, row_j, column_j, end_j, stop_j in numbers:
        one, other = images[i][row_i:end_i, column_i:stop_i], images[j][row_j:end_j, column_j:stop_j]
        product.append(np.vdot(one, other))
        if moduli is None:
            most.append(np.vdot(np.abs(one), np.abs(other)))
        else:
            most.append(np.vdot(moduli[i, row_i:end_i, column_i:stop_i], moduli[j, row_j:end_j, column_j:stop_j]))
    return Pairs(first, second, np.array(product, dtype=np.complex128), np.array(most, dtype=np.float64))


def _refined(
    illuminated: NDArray[np.complex64],
    corners: NDArray[np.int64],
    weight: NDArray[np.float32],
    energy: NDArray[np.float32],
    factors: NDArray[np.complex128],
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Factors and trust after comparing each patch with the merged ones, in turn.

    All overlaps count, not only those of the neighbours. With the misfit ``v = Σ w |z x − M|² / Σ w |M|²`` of a patch x, trust is
    ``1 / (1 + v / 4 median(v))`` (Cauchy's weight; Holland and Welsch, *Commun. Stat. A* 6 (1977) 813-827).
    """
    trust = np.ones(len(illuminated))
    rows, columns = weight.shape
    shape = corners.max(axis=0) + weight.shape
    places = [(row, row + rows, column, column + columns) for row, column in corners.tolist()]
    for _ in range(_SWEEPS):
        merged, light = np.zeros(shape, dtype=np.complex64), np.zeros(shape, dtype=np.float32)
        _add(merged, illuminated, corners, (factors * trust).astype(np.complex64))
        _add(light, [weight] * len(illuminated), corners, trust.astype(np.float32))
        np.divide(merged, light, out=merged, where=light > 0)
        power = merged.real**2 + merged.imag**2
        found = [
            (np.vdot(one, merged[row:end, column:stop]), np.vdot(weight, power[row:end, column:stop]))
            for one, (row, end, column, stop) in zip(illuminated, places, strict=True)
        ]
        product = np.array([value for value, _ in found], dtype=np.complex128)
        expected = np.array([value for _, value in found], dtype=np.float64)
        size = np.abs(product)
        factors = np.where(size > 0, product / np.where(size > 0, size, 1), factors)
        misfit = np.maximum(energy - 2 * size + expected, 0) / np.where(expected > 0, expected, 1)
        trust = 1 / (1 + misfit / (_TOLERATED * max(float(np.median(misfit)), _EXACT)))
    return factors, trust


def _add(canvas: NDArray[Any], images: Iterable[NDArray[Any]], corners: NDArray[np.int64], factors: NDArray[Any]) -> None:
    """Add images (rows, columns), times their factors, to a canvas at their corners."""
    for image, (row, column), factor in zip(images, corners.tolist(), factors, strict=True):
        window = canvas[row : row + image.shape[0], column : column + image.shape[1]]
        window += image * factor
