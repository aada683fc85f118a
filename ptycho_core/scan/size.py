"""Another number of pixels across a pattern: the detector cropped or padded, and all that belongs to it with it.

In the far field the window keeps its extent ``λ z / p``, so that with N' in place of N pixels those of the object are N / N'
times as wide. In the near field the pixels of the object stay, and the window becomes smaller or larger with the detector.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.scan.blocks import averaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.formats.product import StoredObject
    from ptycho_core.scan.scan import Patterns, Scan

    ComplexArray = NDArray[np.complexfloating[Any, Any]]

__all__ = ["followed_object", "followed_probe", "with_size"]

_SAME: Final = 1.001
"""How many times wider a pixel may be than another and count as one of the same width."""

_Array = TypeVar("_Array", bound="NDArray[Any]")


def with_size(scan: Scan, size: int) -> Scan:
    """The scan with patterns of ``size`` pixels: cropped around the pixel ``[N//2, N//2]``, or padded with bad pixels.

    Positions, probe and object follow: the forward model of what they were, cropped, is that of what they become, in the far
    field as far as probe and object hold no more than the remaining frequencies, in the near field as far as waves stay inside
    the window. No pattern is read.

    Raises:
        DataError: no good pixel is left, or nothing of the probe.
    """
    before = scan.size
    if size == before:
        return scan
    mask = _centred(scan.mask, size)
    if not mask.any():
        raise DataError(f"{scan.source}: none of the {size} x {size} pixels around the centre is good.", source="data.size")
    near = scan.propagation is not None
    probe = None if scan.probe is None else followed_probe(scan.probe, before, size, near=near)
    if probe is not None and not np.abs(probe).any():
        raise DataError(f"{scan.source}: the probe sends no light to the {size} x {size} pixels around the centre.")
    guess, notes = scan.object_guess, list[str]()
    how = "cropped to its centre" if size < before else "padded with bad pixels"
    if guess is not None and not near:
        guess = _resampled(guess, size / before)
    elif guess is not None and size > before:
        guess = None
        notes.append("Object: the guess in the file is left aside, since the padded windows reach beyond it.")
    return replace(
        scan,
        patterns=_Resized(scan.patterns, size),
        positions=_positions(scan.positions, before, size, near=near),
        mask=mask,
        background=None if scan.background is None else _centred(scan.background, size),
        probe=probe,
        object_guess=guess,
        stored_size=before if scan.stored_size is None else scan.stored_size,
        margin=max(scan.margin + size // 2 - before // 2, 0) if near else 0,
        pixel_m=None if scan.pixel_m is None else scan.pixel_m * before / size,
        notes=(*scan.notes, f"Size: {size} x {size} pixels; the detector of {before} x {before} is {how}.", *notes),
    )


def followed_probe(probe: ComplexArray, before: int, size: int, *, near: bool = False) -> ComplexArray:
    """A probe (mode, M, M) for a scan of ``before`` pixels that now has ``size``; one that is not of ``before`` stays as it is.

    In the far field its pattern is cropped, or padded with zeros; what is kept has the counts it had. In the near field it is
    itself, and outside it continues as it is at its edge, for the beam does not end where the detector does.
    """
    if before == size or probe.shape[-1] != before:
        return probe
    if near:
        return np.ascontiguousarray(_centred(probe, size, "edge"))
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))
    kept = np.fft.ifft2(np.fft.ifftshift(_centred(far, size), axes=(-2, -1)), norm="ortho")
    return np.fft.fftshift(kept, axes=(-2, -1)).astype(probe.dtype)


def followed_object(scan: Scan, stored: StoredObject, where: object, *, own: bool) -> StoredObject:
    """A stored object, with what is next to it, in the pixels of a scan whose size was changed.

    Args:
        scan: as it is used.
        stored: its pixels are those of the probe next to it, and without one those of the scan's file.
        where: its file, for messages.
        own: whether this is the scan's own file.

    Raises:
        DataError: nothing says how wide its pixels are, or they are neither those of the scan's file nor those that it now has.
    """
    if scan.propagation is not None:
        return _followed_in_near_field(scan, stored, where, own=own)
    if scan.stored_size is None:
        return stored
    before = scan.stored_size if stored.probe is None and own else None if stored.probe is None else stored.probe.shape[-1]
    if before == scan.size:
        return stored
    if before != scan.stored_size:
        found = "has no probe next to it" if before is None else f"belongs to patterns of {before} pixels"
        resized = f"{scan.source} is used with {scan.size} pixels in place of {scan.stored_size}"
        raise DataError(
            f"{where}: {resized}, and the object {found}, so that it cannot follow.",
            remedy=f"Give an object with its probe of {scan.stored_size} or {scan.size} pixels, or leave --size out.",
        )
    scale, pixel = scan.size / before, stored.pixel_size_m
    return replace(
        stored,
        object=_resampled(stored.object, scale),
        probe=None if stored.probe is None else followed_probe(stored.probe, before, scan.size),
        positions=None if stored.positions is None else _positions(stored.positions, before, scan.size),
        origin=None if stored.origin is None else np.asarray(stored.origin) * scale,
        pixel_size_m=None if pixel is None else (pixel[0] / scale, pixel[1] / scale),
    )


def _followed_in_near_field(scan: Scan, stored: StoredObject, where: object, *, own: bool) -> StoredObject:
    """A stored object whose pixels stay, next to windows of the scan's size; that of the scan's own file is binned with it."""
    wide = scan.object_pixel_m
    if own and scan.bin > 1:
        stored = _binned(stored, scan.bin)
    elif stored.pixel_size_m is not None and wide and not 1 / _SAME < stored.pixel_size_m[0] / wide < _SAME:
        raise DataError(
            f"{where}: the object's pixels are {stored.pixel_size_m[0]:.6g} m wide, those of {scan.source} {wide:.6g} m.",
            remedy="Give an object with pixels of the same width; --bin and --focus-to-sample-m change them.",
        )
    before = scan.size if stored.probe is None else stored.probe.shape[-1]
    if stored.probe is None and own:
        before = (scan.stored_size or scan.size) // scan.bin
    probe = None if stored.probe is None else followed_probe(stored.probe, before, scan.size, near=True)
    positions = None if stored.positions is None else _positions(stored.positions, before, scan.size, near=True)
    return replace(stored, probe=probe, positions=positions)


def _binned(stored: StoredObject, number: int) -> StoredObject:
    return replace(
        stored,
        object=averaged(stored.object, number),
        probe=None if stored.probe is None else averaged(stored.probe, number) * number,
        positions=None if stored.positions is None else np.asarray(stored.positions) / number,
        origin=None if stored.origin is None else np.asarray(stored.origin) / number,
    )


class _Resized:
    """Patterns cropped or padded; see ``ptycho_core.scan.scan.Patterns``."""

    def __init__(self, stored: Patterns, size: int) -> None:
        self._stored, self._size = stored, size
        self.shape, self.dtype = (len(stored), size, size), stored.dtype

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        return np.ascontiguousarray(_centred(self._stored.read(frames), self._size))

    @property
    def stored_as(self) -> str:
        return str(getattr(self._stored, "stored_as", ""))

    def as_stored(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[Any]:
        return np.ascontiguousarray(_centred(self._stored.as_stored(frames), self._size))  # type: ignore[attr-defined]


def _centred(values: _Array, size: int, outside: Literal["constant", "edge"] = "constant") -> Any:  # noqa: ANN401 - as given
    """The last two axes cropped to ``size``, or padded with zeros or their edges; pixel ``[M // 2]`` becomes ``[size // 2]``."""
    before = values.shape[-1]
    first = before // 2 - size // 2
    if size < before:
        return values[..., first : first + size, first : first + size]
    around = [(0, 0)] * (values.ndim - 2) + [(-first, size - before + first)] * 2
    return np.pad(values, around, mode=outside)


def _positions(corners: NDArray[np.floating[Any]], before: int, size: int, *, near: bool = False) -> NDArray[np.float64]:
    """Corners (frame, 2) of windows whose centres stay: ``(c + M // 2) N / M − N // 2``, in the near field without ``N / M``."""
    scale = 1.0 if near else size / before
    return (np.asarray(corners, dtype=np.float64) + before // 2) * scale - size // 2


def _resampled(values: ComplexArray, scale: float) -> ComplexArray:
    """An object on pixels ``1 / scale`` times as wide: pixel j is what it was at ``j / scale``.

    Along each axis it is the cosine series (DCT-II) of the object, mirrored at its edges, without the frequencies that the new
    pixels cannot show. One pixel more than before is covered, as a position between two pixels needs it.
    """
    rows, columns = (_cosines(number, scale) for number in values.shape)
    return (rows @ values @ columns.T).astype(values.dtype)


def _cosines(number: int, scale: float) -> NDArray[np.float64]:
    """The matrix that evaluates the cosine series of ``number`` values at ``j / scale``."""
    kept = np.arange(math.ceil(min(1.0, scale) * number))
    places = np.arange(math.ceil((number + 1) * scale)) / scale
    forward = np.cos(np.pi / number * np.outer(kept, np.arange(number) + 0.5)) * (2 - (kept == 0))[:, None] / number
    found: NDArray[np.float64] = np.cos(np.pi / number * np.outer(places + 0.5, kept)) @ forward
    return found
