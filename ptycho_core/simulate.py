"""Scans with known truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ptycho_core.errors import DataError, SettingsError, did_you_mean
from ptycho_core.physics.near_field import PROPAGATORS
from ptycho_core.simulation.beam import Beam, make_beam
from ptycho_core.simulation.objects import OBJECTS, make_object
from ptycho_core.simulation.positions import SCANS, make_positions
from ptycho_core.simulation.probes import PROBES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Geometry, Scan

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
        probe: ``aperture`` (round, out of focus), ``disk``, or ``diffuser`` (a wide structured beam, in the near field); None is
            the first in the far field and the last in the near field.
        scan: ``raster``, ``spiral`` or ``random``.
        size: N, pixels across a pattern; even.
        frames: number of patterns; None fills ``field``, or is 400 without one.
        field: side of the scanned square, pixels; excludes ``frames``.
        overlap: linear overlap, ``1 - step / width`` by ``ptycho_core.scan.canvas``, from which the step follows.
        step: step in pixels, instead of ``overlap``.
        jitter: positions are moved by an even chance within ``± jitter · step / 2``.
        position_error: standard deviation, pixels, of the difference of stated and true positions, along each axis.
        subpixel: False rounds the true positions to whole pixels.
        probe_width: diameter of the probe, pixels; None is 0.4 N. A diffuser fills the window.
        modes: number of incoherent modes of the true probe.
        defocus_fraction: the guess of the probe has this part of the true defocus (of the diameter for a disk), and one mode.
            For a diffuser it is the true beam, propagated by the missing part of the way to the detector.
        photons: mean counts in a pattern of an empty object.
        flux_error: relative standard deviation of the dose of frames about their mean.
        saturation: counts at which the detector ends, or 0 for none.
        noise: False leaves out the Poisson noise; counts are then fractions.
        amplitude: range of the object's amplitude.
        phase: range of the object's phase, rad.
        seed: where all chance comes from.
        regime: ``far`` or ``near``. In the near field the patterns are computed on a wider window and cut, so that they hold what
            the beam brings in from outside the detector.
        photon_energy_ev, detector_distance_m, detector_pixel_size_m: of the near field; None is 17 keV, 0.1 m, 0.65 µm.
        focus_to_sample_m: from the focus of a divergent beam to the sample, in the near field; None is a parallel beam.
        propagator: of the near field, ``angular-spectrum`` or ``fresnel``; None is the first for a parallel beam, the second
            for a divergent one.
    """

    object: str = "natural"
    probe: str | None = None
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
    regime: str = "far"
    photon_energy_ev: float | None = None
    detector_distance_m: float | None = None
    detector_pixel_size_m: float | None = None
    focus_to_sample_m: float | None = None
    propagator: str | None = None

    def checked(self) -> SimulationSettings:
        """Themselves, with what the regime leaves to it.

        Raises:
            SettingsError: a word is unknown, a number out of its range, or two settings exclude each other.
        """
        if self.regime not in ("far", "near"):
            raise SettingsError(f"regime is {self.regime!r}; known are far, near.{did_you_mean(self.regime, ('far', 'near'))}")
        whole = self._in_near_field() if self.regime == "near" else self._in_far_field()
        whole.check()
        return whole

    @property
    def geometry(self) -> Geometry | None:
        """That of checked settings in the near field; None in the far field, which is simulated in pixels."""
        from ptycho_core.scan.scan import Geometry

        if self.regime == "far":
            return None
        known: Any = {name: getattr(self, name) for name in _OF_NEAR_FIELD}
        return Geometry(regime="near", **known)

    def _in_far_field(self) -> SimulationSettings:
        for name in _OF_NEAR_FIELD:
            if getattr(self, name) is not None:
                raise SettingsError(f"{name} acts in the near field.", remedy="Give regime near too, or leave it out.")
        if self.probe == "diffuser":
            raise SettingsError("A diffuser fills the window, which the far field cannot show.", remedy="Give regime near too.")
        return self if self.probe else replace(self, probe="aperture")

    def _in_near_field(self) -> SimulationSettings:
        defaults = dict(_NEAR_FIELD, probe="diffuser")
        defaults["propagator"] = "angular-spectrum" if self.focus_to_sample_m is None else "fresnel"
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def check(self) -> None:
        """Refuse what cannot be simulated; see `checked`."""
        words_of = [("object", tuple(OBJECTS)), ("probe", PROBES), ("scan", SCANS)]
        for name, words in [*words_of, ("propagator", PROPAGATORS)] if self.propagator else words_of:
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
        if (geometry := self.geometry) is None or geometry.propagation is None:
            return
        if (distance := geometry.propagation.distance) > self.size:
            raise SettingsError(
                f"size is {self.size}, and with λz/p² = {distance:.3g} no window of fewer pixels samples the near field.",
                remedy="Take a larger size or detector_pixel_size_m, or a smaller distance.",
            )


_NEAR_FIELD: dict[str, Any] = {"photon_energy_ev": 17e3, "detector_distance_m": 0.1, "detector_pixel_size_m": 0.65e-6}
"""A microscope behind a synchrotron's parallel beam: a pixel's Fresnel number is 0.06."""

_OF_NEAR_FIELD = (*_NEAR_FIELD, "focus_to_sample_m", "propagator")


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
    ("photon_energy_ev", 1, 1e9),
    ("detector_distance_m", 1e-9, 1e6),
    ("detector_pixel_size_m", 1e-12, 1),
    ("focus_to_sample_m", 1e-9, 1e6),
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
            geometry=self.settings.geometry,
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
        if self.settings.regime == "near":
            stated = ("regime", *_OF_NEAR_FIELD)
            arrays |= {name: np.array(value) for name in stated if (value := getattr(self.settings, name)) is not None}
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
    for_object, for_positions, for_error, for_noise, for_flux, for_probe = np.random.default_rng(chosen.seed).spawn(6)
    beam = make_beam(chosen, for_probe)
    positions, shape = _positions(chosen, beam, for_positions)
    image = make_object(chosen.object, shape, chosen.amplitude, chosen.phase, for_object).astype(np.complex64)
    flux = _flux(chosen.flux_error, len(positions), for_flux)
    stated = positions + for_error.normal(0, chosen.position_error, positions.shape)
    return Simulation(
        intensity=_counts(chosen, image, beam, positions, flux, for_noise, progress),
        positions=stated,
        positions_true=positions,
        probe_guess=beam.guess,
        probe_true=beam.probe,
        object_true=image,
        flux_true=flux,
        settings=chosen,
    )


def _positions(
    chosen: SimulationSettings, beam: Beam, random: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """True positions in the object, and the object's shape; stated positions with their errors stay inside, too."""
    from ptycho_core.scan.canvas import check_canvas, object_canvas

    step = chosen.step or (1 - chosen.overlap) * beam.width
    if chosen.field is not None and (chosen.field / step) ** 2 > _MOST_FRAMES:
        raise SettingsError(f"A field of {chosen.field:g} pixels in steps of {step:.3g} takes too many frames.")
    frames = 400 if chosen.frames is None and chosen.field is None else chosen.frames
    places = make_positions(chosen.scan, step, frames, chosen.field, chosen.jitter, random)
    places = places if chosen.subpixel else np.round(places)
    try:
        origin, shape = object_canvas(places, chosen.size, margin=int(np.ceil(5 * chosen.position_error)) + beam.margin)
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
    beam: Beam,
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
        mean = beam.seen(intensities(image, beam.whole, positions[frames] - beam.margin, flux=flux[frames], way=beam.way))
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
