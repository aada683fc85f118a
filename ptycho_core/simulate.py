"""Scans with known truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ptycho_core.errors import DataError, SettingsError, did_you_mean
from ptycho_core.simulation.objects import OBJECTS, make_object
from ptycho_core.simulation.positions import SCANS, make_positions
from ptycho_core.simulation.probes import PROBES, make_probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan

__all__ = ["Simulation", "SimulationSettings", "simulate_scan"]

Steps: TypeAlias = Callable[[int, int], None]

_CHUNK = 64
_OBJECT_BYTES = 96  # for a pixel of the object, while its pictures are made
_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class SimulationSettings:
    """What to simulate; the same settings give the same scan.

    Attributes:
        object: ``natural``, ``random-lines``, ``siemens-star``, ``dead-leaves`` or ``random-field``.
        probe: ``aperture`` (round, out of focus) or ``disk``.
        scan: ``raster``, ``spiral`` or ``random``.
        size: N, pixels across a pattern; even.
        frames: number of patterns; None fills ``field``, or is 400 without one.
        field: side of the scanned square, pixels; excludes ``frames``.
        overlap: linear overlap, ``1 - step / width`` by ``ptycho_core.scan.canvas``, from which the step follows.
        step: step in pixels, instead of ``overlap``.
        jitter: positions are moved by an even chance within ``± jitter · step / 2``.
        position_error: standard deviation, pixels, of the difference of stated and true positions, along each axis.
        subpixel: False rounds the true positions to whole pixels.
        probe_width: diameter of the probe, pixels; None is 0.4 N.
        modes: number of incoherent modes of the true probe.
        defocus_fraction: the guess of the probe has this part of the true defocus (of the diameter for a disk), and one mode.
        photons: mean counts in a pattern of an empty object.
        flux_error: relative standard deviation of the dose of frames about their mean.
        saturation: counts at which the detector ends, or 0 for none.
        noise: False leaves out the Poisson noise; counts are then fractions.
        amplitude: range of the object's amplitude.
        phase: range of the object's phase, rad.
        seed: where all chance comes from.
    """

    object: str = "natural"
    probe: str = "aperture"
    scan: str = "raster"
    size: int = 64
    frames: int | None = None
    field: float | None = None
    overlap: float = 0.7
    step: float | None = None
    jitter: float = 0.3
    position_error: float = 0.0
    subpixel: bool = True
    probe_width: float | None = None
    modes: int = 1
    defocus_fraction: float = 0.85
    photons: float = 1e6
    flux_error: float = 0.0
    saturation: float = 0.0
    noise: bool = True
    amplitude: tuple[float, float] = (0.6, 1.0)
    phase: tuple[float, float] = (0.0, 1.0)
    seed: int = 0

    def checked(self) -> SimulationSettings:
        """Themselves.

        Raises:
            SettingsError: a word is unknown, a number out of its range, or two settings exclude each other.
        """
        for name, words in (("object", tuple(OBJECTS)), ("probe", PROBES), ("scan", SCANS)):
            word = getattr(self, name)
            if word not in words:
                raise SettingsError(f"{name} is {word!r}; known are {', '.join(words)}.{did_you_mean(str(word), words)}")
        if self.frames is not None and self.field is not None:
            raise SettingsError("frames and field exclude each other.", remedy="Give one of the two.")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SettingsError(f"{name} is {value:g}; it must be from {low:g} to {high:g}.")
        if self.size % 2:
            raise SettingsError(f"size is {self.size}; it must be even.")
        if self.probe_width is not None and self.probe_width > self.size:
            raise SettingsError(f"probe_width is {self.probe_width:g} pixels, but a window has only size = {self.size}.")
        for name, low, high in (("amplitude", 0.0, 1.0), ("phase", -100.0, 100.0)):
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise SettingsError(f"{name} is {first:g} to {last:g}; it must rise and lie within {low:g} to {high:g}.")
        return self


_RANGES = (
    ("size", 8, 4096),
    ("frames", 1, _MOST_FRAMES),
    ("field", 1, 100_000),
    ("overlap", 0, 0.99),
    ("step", 0.1, 10_000),
    ("jitter", 0, 10),
    ("position_error", 0, 1000),
    ("probe_width", 2, 4096),
    ("modes", 1, 10),
    ("defocus_fraction", 0, 10),
    ("photons", 1, 1e14),
    ("flux_error", 0, 1),
    ("saturation", 0, 2**32 - 1),
    ("seed", 0, 2**63 - 1),
)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated scan and its truth.

    Attributes:
        intensity: (frame, N, N), counts with zero frequency at ``[N//2, N//2]``: uint16, or uint32 where counts go beyond it;
            float32 without noise.
        positions: (frame, 2), float64, (row, column), corners of the windows in ``object_true``, as the scan states them.
        positions_true: (frame, 2), float64, where the beam was.
        probe_guess: (1, N, N), complex64, in counts.
        probe_true: (mode, N, N), complex64, in counts.
        object_true: (rows, columns), complex64.
        flux_true: (frame,), float64, the dose of each frame relative to their mean.
        settings: what was asked for.
    """

    intensity: NDArray[Any]
    positions: NDArray[np.float64]
    positions_true: NDArray[np.float64]
    probe_guess: NDArray[np.complex64]
    probe_true: NDArray[np.complex64]
    object_true: NDArray[np.complex64]
    flux_true: NDArray[np.float64]
    settings: SimulationSettings

    def scan(self) -> Scan:
        """The scan as if it had been opened from a file; it knows nothing of the truth."""
        from ptycho_core.scan.patterns import ArrayPatterns
        from ptycho_core.scan.scan import Scan

        patterns = self.intensity
        return Scan(
            patterns=ArrayPatterns(lambda: patterns, patterns.shape, patterns.dtype, where="The simulated scan"),
            positions=self.positions,
            mask=np.ones(patterns.shape[1:], dtype=np.bool_),
            probe=self.probe_guess,
            probe_scaled=True,
            source=Path("simulation"),
            format="simulation",
        )

    def write(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it in the plain npz layout, truth included, whole or not at all.

        Raises:
            OutputError: the file exists and may not be replaced, or its place cannot be written.
        """
        from ptycho_core.formats.plain_npz import write_plain_npz

        place = Path(path)
        arrays = {
            "intensity": self.intensity,
            "signal": np.array("counts"),
            "positions_px": self.positions,
            "probe_guess": self.probe_guess,
            "probe_in_counts": np.array(True),
            "probe_true": self.probe_true,
            "object_true": self.object_true,
            "positions_true_px": self.positions_true,
            "flux_true": self.flux_true,
            "simulation": np.array(json.dumps(asdict(self.settings))),
        }
        write_plain_npz(place, arrays, overwrite=overwrite)
        return place


def simulate_scan(
    settings: SimulationSettings | None = None,
    *,
    progress: Steps | None = None,
    **overrides: Any,  # noqa: ANN401 - checked
) -> Simulation:
    """Simulate a scan by the forward model of ``ptycho_core.physics``.

    Args:
        settings: what to simulate; None for the defaults.
        progress: called with how many of how many patterns are done.
        **overrides: single settings, by the names of ``SimulationSettings``.

    Returns:
        The scan and its truth; deterministic for given settings.

    Raises:
        SettingsError: a setting is unknown or cannot be.
    """
    known = SimulationSettings.__dataclass_fields__
    for name in overrides:
        if name not in known:
            raise SettingsError(f"There is no simulation setting '{name}'.{did_you_mean(name, known)}")
    chosen = replace(settings or SimulationSettings(), **overrides).checked()
    # One stream for each part, so that another object or dose leaves the positions as they are.
    for_object, for_positions, for_error, for_noise, for_flux = np.random.default_rng(chosen.seed).spawn(5)
    width = chosen.probe_width or 0.4 * chosen.size
    probe = make_probe(chosen.probe, chosen.size, width, chosen.photons, chosen.modes).astype(np.complex64)
    guess = make_probe(chosen.probe, chosen.size, width, chosen.photons, 1, chosen.defocus_fraction).astype(np.complex64)
    positions, shape = _positions(chosen, width, for_positions)
    image = make_object(chosen.object, shape, chosen.amplitude, chosen.phase, for_object).astype(np.complex64)
    flux = _flux(chosen.flux_error, len(positions), for_flux)
    stated = positions + for_error.normal(0, chosen.position_error, positions.shape)
    return Simulation(
        intensity=_counts(chosen, image, probe, positions, flux, for_noise, progress),
        positions=stated,
        positions_true=positions,
        probe_guess=guess,
        probe_true=probe,
        object_true=image,
        flux_true=flux,
        settings=chosen,
    )


def _positions(
    chosen: SimulationSettings, width: float, random: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """True positions in the object, and the object's shape; stated positions with their errors stay inside, too."""
    from ptycho_core.scan.canvas import check_canvas, object_canvas, probe_width

    # Of a probe without a dose, so that rounding makes no difference between doses.
    step = chosen.step or (1 - chosen.overlap) * probe_width(make_probe(chosen.probe, chosen.size, width, 1.0, chosen.modes))
    if chosen.field is not None and (chosen.field / step) ** 2 > _MOST_FRAMES:
        raise SettingsError(f"A field of {chosen.field:g} pixels in steps of {step:.3g} takes too many frames.")
    frames = 400 if chosen.frames is None and chosen.field is None else chosen.frames
    places = make_positions(chosen.scan, step, frames, chosen.field, chosen.jitter, random)
    places = places if chosen.subpixel else np.round(places)
    try:
        origin, shape = object_canvas(places, chosen.size, margin=int(np.ceil(5 * chosen.position_error)))
        check_canvas(shape, places, _OBJECT_BYTES)
    except DataError as error:  # the settings are to blame, not a file
        message = f"The scan is too large. {error.message}"
        raise SettingsError(message, remedy="Take fewer frames, or a smaller step or field.") from error
    return places - origin, shape


def _flux(error: float, frames: int, random: np.random.Generator) -> NDArray[np.float64]:
    """The dose of frames, (frame,), mean 1; log-normal, so that none is dark."""
    from ptycho_core.scan.scan import relative_flux

    return relative_flux(np.exp(random.normal(0, np.sqrt(np.log1p(error**2)), frames)))


def _counts(
    chosen: SimulationSettings,
    image: NDArray[np.complex64],
    probe: NDArray[np.complex64],
    positions: NDArray[np.float64],
    flux: NDArray[np.float64],
    random: np.random.Generator,
    progress: Steps | None,
) -> NDArray[Any]:
    from ptycho_core.physics.forward import intensities
    from ptycho_core.physics.noise import poisson

    dtype: type[np.unsignedinteger[Any] | np.float32] = np.uint32 if chosen.noise else np.float32
    result = np.empty((len(positions), chosen.size, chosen.size), dtype=dtype)
    for start in range(0, len(positions), _CHUNK):
        frames = slice(start, start + _CHUNK)
        mean = intensities(image, probe, positions[frames], flux=flux[frames])
        if not chosen.noise:
            result[frames] = mean
        else:
            counts = poisson(mean, random)
            if counts.max() > np.iinfo(np.uint32).max:
                raise DataError(f"A pixel would count {counts.max()}, beyond 32 bits.", remedy="Take fewer photons.")
            result[frames] = counts
        if chosen.saturation:
            np.minimum(result[frames], chosen.saturation, out=result[frames], casting="unsafe")
        if progress is not None:
            progress(min(start + _CHUNK, len(positions)), len(positions))
    return result.astype(np.uint16) if chosen.noise and result.max() <= np.iinfo(np.uint16).max else result
