"""From object patches to one object, while they come.

Each patch has an unknown phase factor. Within a tile of neighbouring frames the patches are aligned over the graph of their
overlaps and merged with weights |P|²; the merged tiles are then aligned with one another in the same way and added. What is
held in memory at a time: the patches of the tiles that are not complete, the merged tiles, and one object. The text that binds is
"Stitching" in ``specs/forward-model.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.imaging.synchronisation import align_phases, centred, islands
from ptycho_core.imaging.tiles import Illumination, Piece, merge_tile, picture_pieces, products
from ptycho_core.physics.windows import check_windows, split_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["StitchedObject", "Stitcher"]

_DOUBTFUL = 0.05  # trust below which a frame is named
_LARGEST = 1e12  # squares of it can be summed in single precision
_DARK = 1e-12  # of the brightest pixel: what is fainter is not lit, and single precision could not divide by it


@dataclass(frozen=True, eq=False)
class StitchedObject:
    """Patches of a scan, merged.

    Attributes:
        object: (rows, columns), complex64; 1 where no window is lit.
        weight: (rows, columns), float32: the sum of the weights of all windows, 0 where none is lit.
        phases: (frame,), complex64, of modulus one: the factor by which each patch was multiplied.
        trust: (frame,), float32, in (0, 1]: the factor by which each patch's weight was multiplied.
        islands: (frame,), int64: numbers of the parts of the scan that share no light, from 0; phases between them are unknown.
        notes: what the user should know, a sentence each.
    """

    object: NDArray[np.complex64]
    weight: NDArray[np.float32]
    phases: NDArray[np.complex64]
    trust: NDArray[np.float32]
    islands: NDArray[np.int64]
    notes: tuple[str, ...]


class Stitcher:
    """Merges object patches as they come; the result depends neither on their batches nor on their order.

    Args:
        positions: (frame, 2), (row, column) of the windows' corners in the object, pixels; whole pixels count.
        shape: (rows, columns) of the object.
        weight: (N, N), the probe's intensity ``Σ_m |P_m|²``.
        tiles: frame numbers of each tile, as ``ptycho_core.inference.order.inference_order`` gives them. Frames may come in any
            order; memory stays bounded if they come tile by tile.

    Raises:
        DataError: a position is not finite, a window leaves the object, or the weight is negative, not finite or dark.
        ValueError: a frame is in no tile, or in two.
    """

    def __init__(
        self,
        positions: ArrayLike,
        shape: tuple[int, int],
        weight: NDArray[np.floating[Any]],
        tiles: Sequence[NDArray[np.int64]],
    ) -> None:
        self._corners, _ = split_positions(positions)
        self._shape = (int(shape[0]), int(shape[1]))
        self._light, self._scale = _illumination(weight)
        self._size = len(self._light.weight)
        self._twice = np.repeat(self._light.weight, 2, axis=1)  # for real and imaginary parts
        check_windows(self._corners, self._size, self._shape)
        count = len(self._corners)
        if count == 0:
            raise DataError("There is no frame to stitch.")
        every = np.concatenate([np.asarray(tile, dtype=np.int64) for tile in tiles])
        if not np.array_equal(np.sort(every), np.arange(count)):
            raise ValueError(f"Each of the {count} frames must be in one tile.")
        self._tiles = [np.sort(np.asarray(tile, dtype=np.int64)) for tile in tiles]
        self._tile = np.empty(count, dtype=np.int64)  # of a frame
        self._slot = np.empty(count, dtype=np.int64)  # of a frame in its tile
        for number, tile in enumerate(self._tiles):
            self._tile[tile], self._slot[tile] = number, np.arange(len(tile))
        self._come = np.zeros(count, dtype=np.bool_)
        self._missing = [len(tile) for tile in self._tiles]
        self._open: dict[int, NDArray[np.complex64]] = {}
        self._pieces: dict[int, list[Piece]] = {}

    def add(self, frames: NDArray[np.integer[Any]], patches: NDArray[Any]) -> None:
        """Take object patches.

        Args:
            frames: (k,), frame numbers.
            patches: (k, N, N), complex: the object in the frame's window of whole pixels, up to a phase factor.

        Raises:
            DataError: there is no frame of that number, one comes twice, the shape is another, or a patch is not finite; then
                none of these patches is taken.
        """
        numbers = np.asarray(frames, dtype=np.int64)
        with np.errstate(over="ignore"):  # infinity is refused below
            values = np.ascontiguousarray(patches, dtype=np.complex64)
        if numbers.ndim != 1 or values.shape != (len(numbers), self._size, self._size):
            raise DataError(
                f"Patches must have the shape (frame, {self._size}, {self._size}) and one frame number each; "
                f"they are {values.shape}, the numbers {numbers.shape}."
            )
        self._check(numbers, values)
        for frame, patch in zip(numbers.tolist(), values, strict=True):
            self._take(frame, patch)

    def add_tile(self, frames: NDArray[np.integer[Any]], picture: NDArray[Any], corner: tuple[int, int]) -> None:
        """Take a whole tile, whose frames share one picture.

        Args:
            frames: (k,), the frame numbers of one tile, in any order.
            picture: (rows, columns), complex: the object, up to one phase factor.
            corner: (row, column) of the picture in the object.

        Raises:
            DataError: the frames are not those of one tile, one came already, a window leaves the picture, or a value is not
                finite; then nothing of it is taken.
        """
        numbers = np.asarray(frames, dtype=np.int64)
        with np.errstate(over="ignore"):  # infinity is refused below
            values = np.ascontiguousarray(picture, dtype=np.complex64)
        self._check_numbers(numbers)
        tile = int(self._tile[numbers[0]]) if len(numbers) else -1
        if tile < 0 or not np.array_equal(np.sort(numbers), self._tiles[tile]):
            raise DataError(f"{len(numbers)} frames came with one picture, and they are not those of one tile.")
        corners = self._corners[numbers]
        inside = corners - corner
        if values.ndim != 2 or inside.min() < 0 or (inside.max(axis=0) + self._size > values.shape).any():
            raise DataError(
                f"A picture of shape {values.shape} at {corner} does not hold the windows of its {len(numbers)} frames."
            )
        if not np.abs(values.view(np.float32)).max(initial=0) <= _LARGEST:  # NaN compares as false, too
            raise DataError(f"The object around frame {numbers[0]} is not finite, or beyond {_LARGEST:g}; it should be near 1.")
        self._pieces[tile] = picture_pieces(numbers, corners, values, corner, self._light)
        self._come[numbers], self._missing[tile] = True, 0

    def _check_numbers(self, frames: NDArray[np.int64]) -> None:
        count = len(self._come)
        unknown = frames[(frames < 0) | (frames >= count)]
        if len(unknown):
            raise DataError(f"A patch came for frame {unknown[0]}, but the scan has the frames 0 to {count - 1}.")
        again = frames[self._come[frames]]
        if not len(again):
            found, times = np.unique(frames, return_counts=True)
            again = found[times > 1]
        if len(again):
            raise DataError(f"The patch of frame {again[0]} came twice.")

    def _check(self, frames: NDArray[np.int64], patches: NDArray[Any]) -> None:
        self._check_numbers(frames)
        # NaN compares as false, too
        sound = np.abs(patches.view(np.float32)).max(axis=(1, 2), initial=0) <= _LARGEST
        if not sound.all():
            raise DataError(
                f"The patch of frame {frames[~sound][0]} is not finite, or beyond {_LARGEST:g}, where a transmission is near 1: "
                "the network does not cope with its pattern."
            )

    def _take(self, frame: int, patch: NDArray[Any]) -> None:
        tile = int(self._tile[frame])
        if tile not in self._open:
            self._open[tile] = np.empty((len(self._tiles[tile]), self._size, self._size), dtype=np.complex64)
        np.multiply(patch.view(np.float32), self._twice, out=self._open[tile][self._slot[frame]].view(np.float32))
        self._come[frame] = True
        self._missing[tile] -= 1
        if self._missing[tile] == 0:
            members = self._tiles[tile]
            self._pieces[tile] = merge_tile(members, self._corners[members], self._open.pop(tile), self._light)

    def finish(self) -> StitchedObject:
        """The stitched object; afterwards the stitcher is empty.

        Raises:
            DataError: the patch of a frame never came.
            RuntimeError: the object was already taken.
        """
        absent = np.flatnonzero(~self._come)
        if len(absent):
            named = ", ".join(str(frame) for frame in absent[:5]) + (", …" if len(absent) > 5 else "")
            raise DataError(f"{len(absent)} of {len(self._come)} patches are missing: those of the frames {named}.")
        if not self._pieces:
            raise RuntimeError("The object was already taken: finish() can be called once.")
        pieces = [piece for tile in range(len(self._tiles)) for piece in self._pieces.pop(tile)]
        weight, trusted = self._light_of(pieces)
        # Half of the division by the weights now: a pixel of two pieces counts as within a tile. The other half is in _sum.
        np.sqrt(trusted, out=trusted)
        for piece in pieces:
            place = trusted[piece.place]
            np.divide(piece.canvas, place, out=piece.canvas, where=place > 0)
        first, second = _touching(pieces, self._light)
        corners = np.array([piece.corner for piece in pieces], dtype=np.int64)
        phase_alignment = align_phases(len(pieces), products([piece.canvas for piece in pieces], corners, first, second))
        labels = islands(len(pieces), first, second)
        count = len(self._come)
        phases, trust = np.empty(count, dtype=np.complex128), np.empty(count)
        island = np.empty(count, dtype=np.int64)
        for number, piece in enumerate(pieces):
            phases[piece.frames] = phase_alignment[number] * piece.factors
            trust[piece.frames] = piece.trust
            island[piece.frames] = labels[number]
        settled = centred(phases, island)
        phase_alignment = phase_alignment * [settled[piece.frames[0]] / phases[piece.frames[0]] for piece in pieces]
        image = self._sum(pieces, phase_alignment, trusted)
        return StitchedObject(
            image, weight, settled.astype(np.complex64), trust.astype(np.float32), island, _notes(island, trust)
        )

    def _light_of(self, pieces: list[Piece]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(rows, columns): the sum of the weights of all windows, in the probe's units, and of the weights times trust."""
        weight, trusted = np.zeros(self._shape, dtype=np.float32), np.zeros(self._shape, dtype=np.float32)
        size = self._size
        for piece in pieces:
            if piece.light is not None:
                for canvas in (weight, trusted):
                    canvas[piece.place] += piece.light
                continue
            for (row, column), part in zip(piece.corners.tolist(), piece.trust.astype(np.float32), strict=True):
                for canvas, share in ((weight, self._light.weight), (trusted, part * self._light.weight)):
                    window = canvas[row : row + size, column : column + size]
                    window += share
        weight *= self._scale
        return weight, trusted

    def _sum(
        self, pieces: list[Piece], phase_alignment: NDArray[np.complex128], root: NDArray[np.float32]
    ) -> NDArray[np.complex64]:
        """The object from the pieces, which are given up one by one."""
        image = np.zeros(self._shape, dtype=np.complex64)
        for turn in phase_alignment.astype(np.complex64):
            piece = pieces.pop(0)
            window = image[piece.place]
            window += turn * piece.canvas
        illuminated = root > 0
        np.divide(image, root, out=image, where=illuminated)
        image[~illuminated] = 1
        return image


def _illumination(weight: NDArray[np.floating[Any]]) -> tuple[Illumination, np.float32]:
    values = np.asarray(weight, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise DataError(f"The weight of a patch must have the shape (N, N), not {values.shape}.")
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise DataError("The weight of a patch, the probe's intensity, is negative, not finite, or zero everywhere.")
    brightest = values.max()
    values = values / brightest
    values[values < _DARK] = 0
    return Illumination(values.astype(np.float32)), np.float32(brightest)


def _touching(pieces: list[Piece], light: Illumination) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of pieces in which a window of one shares light with a window of the other."""
    low = np.array([piece.corner for piece in pieces])
    high = low + [piece.canvas.shape for piece in pieces]
    pairs: list[tuple[int, int]] = []
    for i, piece in enumerate(pieces):
        size = len(light.weight)
        near = i + 1 + np.flatnonzero(((low[i + 1 :] < high[i]) & (high[i + 1 :] > low[i])).all(axis=1))
        for j in near.tolist():
            # Only windows that reach into the other piece's rectangle can.
            ours, theirs = (
                corners[((corners < high[other]) & (corners + size > low[other])).all(axis=1)]
                for corners, other in ((piece.corners, j), (pieces[j].corners, i))
            )
            if light.neighbours(*(np.subtract.outer(a, b) for a, b in zip(ours.T, theirs.T, strict=True))).any():
                pairs.append((i, j))
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _notes(island: NDArray[np.int64], trust: NDArray[np.float64]) -> tuple[str, ...]:
    notes = []
    count = int(island.max()) + 1
    if count > 1:
        notes.append(
            f"The scan falls into {count} parts that share no light; the phases between them are those of the network's answers."
        )
    doubtful = np.flatnonzero(trust < _DOUBTFUL)
    if len(doubtful):
        named = ", ".join(str(frame) for frame in doubtful[:5]) + (", …" if len(doubtful) > 5 else "")
        notes.append(f"{len(doubtful)} of {len(trust)} patches contradict their neighbours and count for little: frames {named}.")
    return tuple(notes)
