"""The scan as the rest of ptycho sees it, whatever file it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import numpy as np

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.physics.near_field import Propagation

    ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]

__all__ = [
    "CHUNK",
    "LEAST_SHARE",
    "Geometry",
    "Patterns",
    "Scan",
    "Steps",
    "empty_counts",
    "empty_pattern",
    "hidden_light",
    "mean_counts",
    "pattern_chunks",
    "regime_facts",
    "relative_flux",
    "scaled_probe",
]

LEAST_SHARE: Final = 1e-3
"""Of the counts of a pattern, which are taken for light whatever its background."""

CHUNK: Final = 64
"""Patterns read at once by what goes through a whole scan."""

Steps: TypeAlias = Callable[[int, int], None]
"""Called with how many of how many patterns are done; for a progress bar."""


class Patterns(Protocol):
    """Diffraction patterns of a scan, read when asked for."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frame, row, column)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the stored values, before they become counts."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, frames: NDArray[np.integer[Any]] | slice) -> NDArray[np.float32]:
        """Counts of the named frames; several threads may read at the same time.

        Args:
            frames: frame numbers (k,), in any order, or a slice.

        Returns:
            (k, N, N), float32, detector counts, zero frequency at ``[N//2, N//2]``; bad pixels of the scan's mask are 0.

        Raises:
            DataError: a good pixel is negative, infinite or not a number (the frame is named), or the file is damaged.
            IndexError: there is no frame of that number.
        """


@dataclass(frozen=True)
class Geometry:
    """Photon energy (eV), distance from sample to detector (m) and pitch of the detector's pixels (m).

    With ``electrons`` the energy is that of electrons, kinetic. ``regime`` is ``far`` or ``near``; in the near field
    ``focus_to_sample_m`` is the distance from the focus of a divergent beam to the sample, or None for a parallel beam, and
    ``propagator`` one of `ptycho_core.physics.near_field.PROPAGATORS`. ``detector_pixel_width_m`` is the pitch from column to
    column, where it is another one than ``detector_pixel_size_m``, from row to row; None where pixels are square.
    """

    photon_energy_ev: float
    detector_distance_m: float
    detector_pixel_size_m: float
    electrons: bool = False
    regime: Literal["far", "near"] = "far"
    focus_to_sample_m: float | None = None
    propagator: Literal["angular-spectrum", "fresnel"] = "fresnel"
    detector_pixel_width_m: float | None = None

    @property
    def magnification(self) -> float:
        """How many times the detector sees the sample larger, ``(z1 + z2) / z1``; 1 in a parallel beam and in the far field."""
        if self.regime == "far" or self.focus_to_sample_m is None:
            return 1.0
        return 1 + self.detector_distance_m / self.focus_to_sample_m

    @property
    def propagation(self) -> Propagation | None:
        """The way from the sample to the detector in pixels of the object; None in the far field."""
        from ptycho_core.physics.near_field import Propagation

        if self.regime == "far":
            return None
        pixel, wavelength = self.detector_pixel_size_m / self.magnification, self.wavelength_m
        distance = self.detector_distance_m / self.magnification
        return Propagation(self.propagator, wavelength * distance / pixel**2, wavelength / pixel)

    @property
    def wavelength_m(self) -> float:
        """Wavelength in metres: h c / E, and relativistic for electrons."""
        from ptycho_core.physics.geometry import electron_wavelength, wavelength

        return (electron_wavelength if self.electrons else wavelength)(self.photon_energy_ev)

    def object_pixel_m(self, size: int) -> float:
        """Pixel of the object in metres, from row to row; ``size`` is N, the pixels across a pattern.

        In the far field ``λ z / (N p)``; in the near field that of the detector, over the magnification.
        """
        from ptycho_core.physics.geometry import object_pixel_size

        if self.regime == "near":
            return self.detector_pixel_size_m / self.magnification
        return object_pixel_size(self.wavelength_m, self.detector_distance_m, self.detector_pixel_size_m, size)

    def object_pixels_m(self, size: int) -> tuple[float, float]:
        """The same from row to row and from column to column."""
        from ptycho_core.physics.geometry import object_pixel_size

        rows, width = self.object_pixel_m(size), self.detector_pixel_width_m
        if width is None:
            return rows, rows
        return rows, object_pixel_size(self.wavelength_m, self.detector_distance_m, width, size)


@dataclass(frozen=True, eq=False)
class Scan:
    """Diffraction patterns with the positions of the beam.

    Attributes:
        patterns: (frame, N, N) detector counts, read when asked for.
        positions: (frame, 2), float64, (row, column) of each window's ``[0, 0]`` corner, object pixels, up to a common offset.
        mask: (N, N), bool, True = good pixel.
        probe: (mode, N, N), complex64 or complex128, a starting guess of the beam, or None if the file has none.
        probe_scaled: the file states that ``Σ|probe|²`` is the mean number of counts in a pattern of an empty object.
        geometry: energy, distance and pixel pitch, or None if one of them is unknown.
        object_guess: (rows, columns), complex; ``positions`` index it. None if the file has none.
        scan_index: (frame,), int64, which scan a frame belongs to, or None if the file does not say.
        source: the file, or a word for a scan that is in memory only.
        format: name of the file's format.
        stored_size: N in the file, where the patterns were cropped or padded to another; None where they were not.
        counts_factor: what the stored counts are multiplied by to have the mean that settings or file state.
        signal: what the file stores: ``counts`` or ``amplitude`` (square roots of counts).
        notes: what was decided on reading and why, a sentence each.
        pixel_m: the object's pixel in metres, where it is known though the geometry is not.
        flux: (frame,), float64, above 0, mean 1, the dose of each frame over their mean, from a monitor; or None.
        background: (N, N), float64, counts that every pattern contains and no light through the sample makes; or None.
        bin: how many pixels of the detector along each side were added up to one.
        margin: bad pixels on each side of the patterns, in the near field, where there is no detector.
        saturation: (frame,), float64, counts of each frame from which on a pixel is saturated: it would have counted at least so
            much; None where none is. A training and an inference state it, a reconstruction among its settings.
    """

    patterns: Patterns
    positions: NDArray[np.float64]
    mask: NDArray[np.bool_]
    probe: ComplexArray | None = None
    probe_scaled: bool = False
    geometry: Geometry | None = None
    object_guess: ComplexArray | None = None
    scan_index: NDArray[np.int64] | None = None
    source: Path = Path("memory")
    format: str = "memory"
    stored_size: int | None = None
    counts_factor: float = 1.0
    signal: str = "counts"
    notes: tuple[str, ...] = ()
    pixel_m: float | None = None
    bin: int = 1
    flux: NDArray[np.float64] | None = None
    background: NDArray[np.float64] | None = None
    margin: int = 0
    saturation: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.patterns)

    @property
    def size(self) -> int:
        """N, the pixels across a pattern."""
        return self.patterns.shape[1]

    @property
    def object_pixel_m(self) -> float | None:
        """Pixel of the object in metres, from row to row, or None where nothing states it."""
        pixels = self.object_pixels_m
        return None if pixels is None else pixels[0]

    @property
    def object_pixels_m(self) -> tuple[float, float] | None:
        """Pixel of the object in metres, from row to row and from column to column, or None where nothing states it."""
        if self.geometry is not None:
            return self.geometry.object_pixels_m(self.size)
        return None if self.pixel_m is None else (self.pixel_m, self.pixel_m)

    @property
    def propagation(self) -> Propagation | None:
        """The way from the sample to the detector in the near field; None in the far field."""
        return None if self.geometry is None else self.geometry.propagation


def regime_facts(scan: Scan) -> dict[str, Any]:
    """What a result states of the near field, by name; nothing in the far field."""
    it = scan.geometry
    if it is None or (way := it.propagation) is None:
        return {}
    return {
        "regime": it.regime, "propagator": it.propagator, "detector_distance_m": it.detector_distance_m,
        "detector_pixel_size_m": it.detector_pixel_size_m, "focus_to_sample_m": it.focus_to_sample_m,
        "magnification": it.magnification, "fresnel_number_of_pixel": 1 / way.distance,
    }  # fmt: skip


def relative_flux(values: NDArray[Any]) -> NDArray[np.float64]:
    """Values of a monitor, (frame,), over their mean."""
    found: NDArray[np.float64] = np.asarray(values, dtype=np.float64) / np.mean(values, dtype=np.float64)
    return found


def pattern_chunks(scan: Scan, progress: Steps | None = None) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """All patterns in order, at most ``CHUNK`` at once: (frames, counts (k, N, N) float32).

    Raises:
        DataError: as ``Patterns.read``.
    """
    for start in range(0, len(scan), CHUNK):
        frames = slice(start, min(start + CHUNK, len(scan)))
        yield frames, scan.patterns.read(frames)
        if progress is not None:
            progress(frames.stop, len(scan))


def mean_counts(scan: Scan, progress: Steps | None = None) -> float:
    """Mean over the frames of the counts in good pixels of a pattern.

    Raises:
        DataError: as ``Patterns.read``.
    """
    return sum(float(counts.sum(dtype=np.float64)) for _, counts in pattern_chunks(scan, progress)) / len(scan)


def empty_pattern(probe: ComplexArray, way: Propagation | None) -> NDArray[np.float64]:
    """The pattern (N, N) of a probe (mode, N, N) without an object, all modes together; ``way`` is `Scan.propagation`.

    In the far field zero frequency lies at ``[N//2, N//2]``.
    """
    from ptycho_core.physics.near_field import near_field

    if way is None:
        field = np.fft.fftshift(np.fft.fft2(probe.astype(np.complex128, copy=False), norm="ortho"), axes=(1, 2))
    else:
        field = near_field(probe, way)
    found: NDArray[np.float64] = (np.abs(field) ** 2).sum(axis=0)
    return found


def hidden_light(probe: ComplexArray, mask: NDArray[np.bool_], way: Propagation | None) -> float:
    """Part of the light of a probe (mode, N, N) in the far field that falls on bad pixels of a mask (N, N); 0 without light.

    0 in the near field too, where bad pixels hide a part of the picture, and none of its frequencies. ``way`` is
    `Scan.propagation`.
    """
    if way is not None:
        return 0.0
    light = empty_pattern(probe, None)
    return 1 - float(light[mask].sum() / light.sum()) if light.any() else 0.0


def empty_counts(scan: Scan, probe: ComplexArray) -> float:
    """The counts in good pixels of a pattern of an empty object; ``probe`` is (mode, N, N) in counts."""
    return float(empty_pattern(probe, scan.propagation)[scan.mask].sum())


def scaled_probe(scan: Scan, probe: ComplexArray | None = None, progress: Steps | None = None) -> tuple[ComplexArray, float]:
    """A probe in units of counts, and the factor that made it so.

    The scan's own probe is returned as it is, factor 1, if its file states it in counts. Any other is multiplied by the factor
    for which an empty object gives as many counts in good pixels, ``Σ_good Σ_m |FFT2_ortho(P_m)|²``, as the patterns have on
    average.

    Args:
        scan: its patterns are read once, in chunks, if the scale has to be found.
        probe: (mode, N, N) or (N, N), complex, of unknown scale; None takes the scan's own.
        progress: called with how many patterns were read.

    Returns:
        (mode, N, N), complex128, and the real positive factor.

    Raises:
        DataError: there is no probe, it is of another size or dark, or the patterns hold no counts.
    """
    if probe is None and scan.probe is None:
        raise DataError(
            f"{scan.source} has no probe, and none was given.", remedy="Give one with --probe FILE.", source=str(scan.source)
        )
    modes = np.asarray(scan.probe if probe is None else probe, dtype=np.complex128)
    modes = modes[np.newaxis] if modes.ndim == 2 else modes
    if modes.ndim != 3 or modes.shape[1:] != scan.mask.shape:
        raise DataError(f"The probe has shape {modes.shape}; the patterns of {scan.source} are {scan.mask.shape}.")
    if probe is None and scan.probe_scaled:
        return modes, 1.0
    power = empty_counts(scan, modes)
    counts = mean_counts(scan, progress)
    if scan.background is not None and counts > 0:
        counts = max(counts - float(scan.background.sum()), LEAST_SHARE * counts)
    if not power > 0 or not np.isfinite(power):
        raise DataError(f"The probe for {scan.source} sends no light, or no finite amount, to the good pixels.")
    if not counts > 0:
        raise DataError(f"The patterns of {scan.source}, shape {scan.patterns.shape}, hold no counts at all.")
    factor = float(np.sqrt(counts / power))
    return modes * factor, factor
