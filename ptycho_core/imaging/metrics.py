"""How good a reconstruction is: against its data, and against a reference object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.imaging.area import Area, centre_area
from ptycho_core.imaging.registration import Registration, register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.formats.object_file import Purpose
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.physics.near_field import Propagation
    from ptycho_core.scan.scan import Scan

__all__ = [
    "Metric",
    "RingCorrelation",
    "Score",
    "complex_correlation",
    "data_misfit",
    "flat_misfit",
    "frame_sums",
    "image_quality",
    "measures",
    "noise_sums",
    "nrmse",
    "phases",
    "position_error",
    "ring_correlation",
    "scan_sums",
    "score",
]

_MEASURES = ("nrmse", "correlation", "psnr_amplitude", "ssim_amplitude", "psnr_phase", "ssim_phase")
_SSIM_WINDOW = 11  # pixels that a Gaussian of sigma 1.5, cut at 3.5 sigma, covers
_SSIM_ROWS = 256  # rows compared at a time: SSIM holds a dozen images of what it compares
_RING_ROWS = 64


class Metric(ABC):
    """A number that says how like a reference a result is, which another distribution adds to those of this module.

    It is made without arguments. The entry points in ``ptycho.metrics`` are found by `ptycho_core.settings.components`.

    Attributes:
        name: its key in the score, and the name of its entry point.
        unit: of the number; empty for a ratio.
        better: whether a ``lower`` or a ``higher`` number is the better one.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    better: ClassVar[Literal["lower", "higher"]]

    @abstractmethod
    def of(self, result: NDArray[np.complex128], reference: NDArray[np.complex128]) -> float:
        """The number for a registered result and its reference, complex (row, column), over the area that is compared."""


def data_misfit(
    scan: Scan,
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.floating[Any]],
    *,
    background: NDArray[Any] | None = None,
    flux: NDArray[Any] | None = None,
    saturation: float | None = None,
    frames: NDArray[np.int64] | None = None,
    batch: int = 64,
) -> float:
    """The data misfit R = Σ|√I_model − √I| / Σ√I over the good pixels of the patterns, read batch by batch.

    It is the R factor of crystallography, of the moduli of the patterns. Zero is perfect; Poisson noise alone leaves more.

    Args:
        scan: its ``patterns`` are read, and its ``mask`` says which pixels are good.
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, scaled to counts.
        positions: (frame, 2), (row, column) of the windows' corners in ``object``; one for each pattern of the scan.
        background: (N, N), counts, or None.
        flux: (frame,), the dose of every frame of the scan relative to the probe's, or None for 1.
        saturation: counts that have reached it are lower bounds; None where there are none.
        frames: numbers of the frames to use; all if None.
        batch: number of patterns read at a time.
    """
    chosen: dict[str, Any] = {"background": background, "flux": flux, "saturation": saturation, "frames": frames, "batch": batch}
    differences, amplitudes = scan_sums(scan, object, probe, positions, **chosen).sum(axis=0)
    return float(differences / amplitudes) if amplitudes > 0 else float("nan")


def scan_sums(
    scan: Scan,
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.floating[Any]],
    *,
    background: NDArray[Any] | None = None,
    flux: NDArray[Any] | None = None,
    saturation: float | None = None,
    frames: NDArray[np.int64] | None = None,
    batch: int = 64,
) -> NDArray[np.float64]:
    """`frame_sums` of the frames of a scan, (k, 2), read batch by batch; arguments as of `data_misfit`."""
    chosen = np.arange(len(positions)) if frames is None else np.asarray(frames, dtype=np.int64)
    found = np.zeros((len(chosen), 2))
    for start in range(0, len(chosen), batch):
        numbers = chosen[start : start + batch]
        counts = scan.patterns.read(numbers)
        own = None if flux is None else flux[numbers]
        model = object, probe, positions[numbers], background, own, saturation
        found[start : start + batch] = frame_sums(counts, scan.mask, *model, way=scan.propagation)
    return found


def frame_sums(
    counts: NDArray[Any],
    mask: NDArray[np.bool_],
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.floating[Any]],
    background: NDArray[Any] | None = None,
    flux: NDArray[Any] | None = None,
    saturation: float | None = None,
    way: Propagation | None = None,
) -> NDArray[np.float64]:
    """Of each frame ``Σ|√I − √n|`` and ``Σ√n`` over good pixels, of which R is made: (frame, 2).

    Args:
        counts: (frame, N, N), as measured.
        mask: (N, N), bool, True = good pixel.
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, scaled to counts.
        positions: (frame, 2), (row, column) of the windows' corners in ``object``.
        background: (N, N), counts, or None.
        flux: (frame,), their dose relative to the probe's, or None for 1.
        saturation: counts that have reached it are lower bounds, so that no model is too bright there; None for none.
        way: to the detector in the near field; None for the far field.
    """
    from ptycho_core.physics.forward import intensities
    from ptycho_core.physics.losses import bounded_above

    modelled = intensities(object, probe, positions, background, flux=flux, way=way)[:, mask]
    measured = counts[:, mask].astype(np.float64)
    if saturation:
        modelled = bounded_above(modelled, measured, saturation)
    modelled, measured = np.sqrt(modelled), np.sqrt(measured)
    return np.stack([np.abs(modelled - measured).sum(axis=1), measured.sum(axis=1)], axis=1)


def noise_sums(
    mask: NDArray[np.bool_],
    object: NDArray[Any],  # noqa: A002 - the field's word
    probe: NDArray[Any],
    positions: NDArray[np.floating[Any]],
    background: NDArray[Any] | None = None,
    flux: NDArray[Any] | None = None,
    saturation: float | None = None,
    way: Propagation | None = None,
    batch: int = 64,
) -> NDArray[np.float64]:
    """Of each frame ``Σ E|√n − √I|`` over good pixels, (frame,): what photon noise alone leaves; arguments as of `frame_sums`."""
    from ptycho_core.physics.forward import intensities
    from ptycho_core.physics.noise import expected_residual

    found = np.empty(len(positions))
    for start in range(0, len(positions), batch):
        frames = slice(start, start + batch)
        own = None if flux is None else flux[frames]
        modelled = intensities(object, probe, positions[frames], background, flux=own, way=way)
        expected = expected_residual(modelled[:, mask])
        if saturation:  # what is measured at the level has no noise
            expected = np.where(modelled[:, mask] < saturation, expected, 0.0)
        found[frames] = expected.sum(axis=1)
    return found


def flat_misfit(
    counts: NDArray[Any],
    mask: NDArray[np.bool_],
    shape: tuple[int, int],
    probe: NDArray[Any],
    positions: NDArray[np.floating[Any]],
    way: Propagation | None = None,
) -> float:
    """R of a flat object of this shape, at the strength that fits best; arguments as of `frame_sums`."""
    from ptycho_core.physics.forward import intensities

    modelled = np.sqrt(intensities(np.ones(shape, dtype=np.complex64), probe, positions, way=way)[:, mask])
    measured = np.sqrt(counts[:, mask].astype(np.float64))
    power, total = float((modelled**2).sum()), float(measured.sum())
    strength = float((modelled * measured).sum()) / power if power > 0 else 0.0
    return float(np.abs(strength * modelled - measured).sum()) / total if total > 0 else float("nan")


def nrmse(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """Relative l2 error ‖image − reference‖ / ‖reference‖ of two complex images.

    With the best complex factor and shift removed before, it is the error metric of Fienup, Appl. Opt. 36, 8352 (1997).
    """
    return float(np.linalg.norm(image - reference) / np.linalg.norm(reference))


def complex_correlation(image: NDArray[Any], reference: NDArray[Any]) -> float:
    """|⟨image, reference⟩| / (‖image‖ ‖reference‖): 1 for images equal up to a complex factor (Cauchy-Schwarz)."""
    return float(abs(np.vdot(image, reference)) / (np.linalg.norm(image) * np.linalg.norm(reference)))


def image_quality(image: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """PSNR in decibels and SSIM of two real images, with the data range (maximum − minimum) of the reference.

    PSNR = 10 log₁₀(range² / mean squared error); None if the reference is constant or the images are equal. SSIM as in Wang et
    al., IEEE Trans. Image Process. 13, 600 (2004): Gaussian window of sigma 1.5, K = 0.01 and 0.03, population covariance; None
    if the reference is constant or smaller than the window of 11 pixels.
    """
    span = float(np.ptp(reference))
    if span == 0:
        return None, None
    difference = image - reference
    error = float(np.vdot(difference, difference)) / difference.size
    psnr = None if error == 0 else 10 * float(np.log10(span**2 / error))
    return psnr, None if min(reference.shape) < _SSIM_WINDOW else _ssim(image, reference, span)


def _ssim(image: NDArray[np.float64], reference: NDArray[np.float64], span: float) -> float:
    """Mean over the pixels whose window lies in the image, which rows taken together do not change."""
    from skimage.metrics import structural_similarity

    compare: Any = structural_similarity
    total, inner = 0.0, len(reference) - _SSIM_WINDOW + 1
    for start in range(0, inner, _SSIM_ROWS):
        rows = min(_SSIM_ROWS, inner - start)
        part = slice(start, start + rows + _SSIM_WINDOW - 1)
        total += rows * float(
            compare(reference[part], image[part], data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        )
    return total / inner


def phases(image: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phases of two registered images in radians, comparable beyond one turn.

    The reference's phase is unwrapped (Herráez et al., Appl. Opt. 41, 7437, 2002) and its median removed; the image's is that
    plus the wrapped phase of ``image · reference*``, so that two different unwrappings are never compared.
    """
    base = _unwrapped(np.angle(reference * np.exp(-1j * np.angle(reference.sum()))))
    base -= np.median(base)
    return base + np.angle(image * np.conj(reference)), base


def _unwrapped(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """A phase without jumps of a turn.

    Where no loop of four pixels has a jump left over, every path gives one result (Itoh, Appl. Opt. 21, 2470, 1982), and sums
    along the columns are cheap.
    """
    down, right = (np.rint(np.diff(phase, axis=axis) / (2 * np.pi)).astype(np.int8) for axis in (0, 1))
    if not (down.any() or right.any()):
        return phase
    if (down[:, :-1] + right[1:] == down[:, 1:] + right[:-1]).all():
        wraps = np.zeros(phase.shape, dtype=np.int32)
        wraps[0, 1:] = right[0].cumsum(dtype=np.int32)
        wraps[1:] = wraps[0] + down.cumsum(axis=0, dtype=np.int32)
        return np.asarray(phase - 2 * np.pi * wraps, dtype=np.float64)
    from skimage.restoration import unwrap_phase

    unwrap: Any = unwrap_phase
    return np.asarray(unwrap(phase, rng=0), dtype=np.float64)


@dataclass(frozen=True)
class RingCorrelation:
    """A Fourier ring correlation curve.

    Attributes:
        frequency: (ring,), mean spatial frequency of each ring as a fraction of Nyquist (half a cycle a pixel).
        correlation: (ring,), between -1 and 1.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]

    def crossing(self, threshold: float) -> float | None:
        """Fraction of Nyquist where the curve first falls below ``threshold`` (linear between rings); None if it never does."""
        below = np.flatnonzero(self.correlation < threshold)
        if not len(below):
            return None
        ring = int(below[0])
        if ring == 0:
            return float(self.frequency[0])
        (f0, f1), (c0, c1) = self.frequency[ring - 1 : ring + 1], self.correlation[ring - 1 : ring + 1]
        return float(f0 + (f1 - f0) * (c0 - threshold) / (c0 - c1))


def ring_correlation(image: NDArray[Any], reference: NDArray[Any]) -> RingCorrelation:
    """Fourier ring correlation of two registered complex images.

    FRC(r) = Re Σ F₁F₂* / √(Σ|F₁|² Σ|F₂|²) over each ring r of spatial frequency (Saxton and Baumeister, J. Microsc. 127, 127,
    1982; van Heel, Ultramicroscopy 21, 95, 1987), after removal of the mean and multiplication with a Hann window. Rings are as
    wide as one frequency step of the shorter side; the ring at zero frequency is left out.
    """
    first, second = _windowed_spectrum(image), _windowed_spectrum(reference)
    rows, columns = reference.shape
    along = np.fft.fftfreq(columns)
    sums = np.zeros((5, min(rows, columns) // 2 + 2))
    for start in range(0, rows, _RING_ROWS):
        part = slice(start, start + _RING_ROWS)
        radius = np.hypot(np.fft.fftfreq(rows)[part, None], along)
        ring = np.rint(radius * min(rows, columns)).astype(np.intp)
        ring[radius > 0.5] = 0  # the ring at zero frequency is left out below
        ours, theirs = first[part], second[part]
        terms = (np.abs(ours) ** 2, np.abs(theirs) ** 2, (ours * np.conj(theirs)).real, radius, np.ones_like(radius))
        for total, term in zip(sums, terms, strict=True):
            total += np.bincount(ring.ravel(), weights=term.ravel(), minlength=len(total))
    mine, other, cross, radii, count = sums[:, 1:][:, sums[4, 1:] > 0]
    power = mine * other
    return RingCorrelation(radii / count / 0.5, cross / np.sqrt(np.where(power > 0, power, np.inf)))


def _windowed_spectrum(image: NDArray[Any]) -> NDArray[np.complex128]:
    """Fourier transform of an image without its mean, times a Hann window; the mean is weighted with the window."""
    from scipy.fft import fft2

    rows, columns = (np.hanning(size + 2)[1:-1] for size in image.shape)
    work = np.asarray(image - (rows @ image @ columns) / (rows.sum() * columns.sum()), dtype=np.complex128)
    work *= rows[:, None]
    work *= columns
    return np.asarray(fft2(work, overwrite_x=True, workers=1))


def position_error(positions: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> float:
    """Root mean square distance (2-D, pixels) of positions (frame, 2) from the true ones, mean difference removed."""
    difference = np.asarray(positions, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    difference -= difference.mean(axis=0)
    return float(np.sqrt((difference**2).sum(axis=1).mean()))


@dataclass(frozen=True)
class Score:
    """A result compared with a reference over the area spanned by the window centres, after registration.

    PSNR is in decibels; ``pixel_size_m`` is the mean of the object pixel's sides; ``reference`` is the reference over the area;
    ``others`` are the metrics of other distributions by name, and ``notes`` say which of these are left out.
    """

    registration: Registration
    nrmse: float
    correlation: float
    psnr_amplitude: float | None
    ssim_amplitude: float | None
    psnr_phase: float | None
    ssim_phase: float | None
    frc: RingCorrelation
    position_error_px: float | None = None
    pixel_size_m: float | None = None
    reference: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    others: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Every number, ready for JSON; ``half_period_m`` (the pixel over the crossing) only with a pixel size."""
        found: dict[str, Any] = {name: getattr(self, name) for name in (*_MEASURES, "position_error_px")} | dict(self.others)
        for name, threshold in (("half", 1 / 2), ("seventh", 1 / 7)):
            crossing = found[f"frc_{name}"] = self.frc.crossing(threshold)
            if self.pixel_size_m is not None:
                found[f"frc_{name}_half_period_m"] = None if crossing is None else self.pixel_size_m / crossing
        found["registration"] = self.registration.as_dict()
        found["frc"] = {"frequency": self.frc.frequency.tolist(), "correlation": self.frc.correlation.tolist()}
        return found


def score(
    result: Reconstruction | StoredObject | NDArray[Any] | str | Path,
    reference: Reconstruction | StoredObject | NDArray[Any] | str | Path,
    *,
    twin: bool = False,
    max_shift: float | None = None,
) -> Score:
    """Compare a reconstructed object with a reference.

    Where both have the positions of the same frames (``paired``), these say how the two grids lie to one another; else their
    origins do, if both state one; else the middles of both are put on one another.

    Args:
        result: a reconstruction, an array (rows, columns), or a file or folder that `read_object` reads.
        reference: the same; of a file with a truth that is taken, and the true positions.
        twin: also try the result rotated by 180 degrees and conjugated.
        max_shift: largest shift sought around that guess, in pixels, on each axis; without it 8, or more where that is too few
            (`register`).

    Raises:
        DataError: a file cannot be used, the two do not overlap, or their pixels are not equally wide, as far as is known.
    """
    ours, theirs = _stored(result, "result"), _stored(reference, "reference")
    _check_pixels((ours, _name(result, "the result")), (theirs, _name(reference, "the reference")))
    places = _places(ours, theirs)
    offset, turned = _offset(ours, theirs, places), None
    if places is not None and twin:
        corner = np.array(ours.object.shape) - (_window(ours) or _window(theirs) or 0)
        turned = np.median(places[1] - (corner - places[0]), axis=0)
    found = register(
        ours.object,
        theirs.object,
        area=_area(ours, theirs, offset),
        offset=None if offset is None else (float(offset[0]), float(offset[1])),
        twin_offset=None if turned is None else (float(turned[0]), float(turned[1])),
        max_shift=max_shift,
        twin=twin,
    )
    fixed = np.asarray(theirs.object, dtype=np.complex128)[found.area.slices]
    amplitude = image_quality(np.abs(found.aligned), np.abs(fixed))
    phase = image_quality(*phases(found.aligned, fixed))
    error = None
    if places is not None:  # a rotated scan runs the other way
        error = position_error(-places[0] if found.twin else places[0], places[1])
    size = ours.pixel_size_m or theirs.pixel_size_m
    others, notes = _others(found.aligned, fixed)
    return Score(
        registration=found,
        nrmse=nrmse(found.aligned, fixed),
        correlation=complex_correlation(found.aligned, fixed),
        psnr_amplitude=amplitude[0],
        ssim_amplitude=amplitude[1],
        psnr_phase=phase[0],
        ssim_phase=phase[1],
        frc=ring_correlation(found.aligned, fixed),
        position_error_px=error,
        pixel_size_m=None if size is None else sum(size) / 2,
        reference=fixed,
        others=others,
        notes=notes,
    )


def measures() -> frozenset[str]:
    """The keys of a score that no metric of another distribution may have."""
    keys = {"misfit", "held_out_misfit", "registration", "frc_half", "frc_seventh"}
    return frozenset(keys | {f"frc_{name}_half_period_m" for name in ("half", "seventh")} | {one.name for one in fields(Score)})


def _others(
    aligned: NDArray[np.complex128], reference: NDArray[np.complex128]
) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """The metrics of other distributions; those that cannot be had are said why, and disturb no other."""
    from ptycho_core.failures import in_one_line
    from ptycho_core.settings.components import components

    found: dict[str, float | None] = {}
    notes = []
    for one in components("metric"):
        if one.found is None:
            notes.append(one.sentence)
            continue
        try:
            value = float(one.found().of(aligned.copy(), reference.copy()))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - another distribution's code can raise anything
            notes.append(f"{one.said} failed: {in_one_line(error, one.found.__module__.partition('.')[0])}.")
        else:
            found[one.name] = value if np.isfinite(value) else None
    return found, tuple(notes)


def _stored(one: Reconstruction | StoredObject | NDArray[Any] | str | Path, purpose: Purpose) -> StoredObject:
    from ptycho_core.formats.product import Reconstruction, StoredObject, read_object

    if isinstance(one, StoredObject):
        return one
    if isinstance(one, Reconstruction):
        return StoredObject(one.object, one.probe, one.positions, one.origin, one.pixel_size_m, one.stored_size)
    return StoredObject(one) if isinstance(one, np.ndarray) else read_object(one, purpose)


def _name(one: object, otherwise: str) -> str:
    return str(one) if isinstance(one, str | Path) else otherwise


def _check_pixels(*both: tuple[StoredObject, str]) -> None:
    """Refuse to compare across another number of pixels (``size``): an object's pixels are as wide as N makes them."""
    if all(one.stored_size is None for one, _ in both) or len({_window(one) for one, _ in both}) == 1:
        return
    widths = []
    for one, name in both:
        size = _window(one)
        known = "an object without a probe, which does not say for patterns of how many pixels it is"
        known = known if size is None else f"of patterns of {size} pixels"
        widths.append(
            f"{name} is {known}" + ("" if one.stored_size is None else f" in place of the {one.stored_size} of their file")
        )
    remedy = "Make both with the same --size, or both without it; an object in an npz says its size by a probe next to it."
    raise DataError(f"{' and '.join(widths)}: pixels of other widths are not compared.", remedy=remedy)


def _window(one: StoredObject) -> int | None:
    return None if one.probe is None else int(one.probe.shape[-1])


def _places(ours: StoredObject, theirs: StoredObject) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The positions of the frames that both have, each (frame, 2), or None; of windows as wide as ours.

    In the near field windows of another width have the same pixels, and their middles lie at the same place of the sample.
    """
    from ptycho_core.scan.pairing import paired

    if ours.positions is None or theirs.positions is None:
        return None
    pairs = paired(ours.positions, theirs.positions, ours.frames, theirs.frames)
    if pairs is None:
        return None
    mine, other = _window(ours), _window(theirs)
    wider = 0 if mine is None or other is None else other // 2 - mine // 2
    return np.asarray(ours.positions, np.float64)[pairs[0]], np.asarray(theirs.positions, np.float64)[pairs[1]] + wider


def _offset(
    ours: StoredObject, theirs: StoredObject, places: tuple[NDArray[np.float64], NDArray[np.float64]] | None
) -> NDArray[np.float64] | None:
    """Pixel of the reference onto which the result's first pixel falls, as far as it is known."""
    if places is not None:
        return np.asarray(np.median(places[1] - places[0], axis=0), dtype=np.float64)
    if ours.origin is not None and theirs.origin is not None:
        return np.asarray(ours.origin - theirs.origin, dtype=np.float64)
    return None


def _area(ours: StoredObject, theirs: StoredObject, offset: NDArray[np.float64] | None) -> Area | None:
    window = _window(theirs) or _window(ours)
    if window is None:
        return None
    if theirs.positions is not None:
        return centre_area(theirs.positions, window)
    if ours.positions is None:
        return None
    if offset is None:
        offset = (np.array(theirs.object.shape) - ours.object.shape) / 2
    return centre_area(ours.positions + np.rint(offset), window)
