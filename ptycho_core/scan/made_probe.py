"""The probe of a scan whose file holds none: from what the user states of the beam, and from the mean pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.physics.near_field import near_field_adjoint
from ptycho_core.physics.pupil import Pupil, disk, edge_phase, focus_distance
from ptycho_core.scan.scan import pattern_chunks
from ptycho_core.settings.data import made_probe, probe_defocus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptycho_core.scan.scan import Scan

__all__ = ["check_made", "focus_distance_m", "image_probe", "known_probe", "mean_pattern", "pupil_of", "stated_phase"]


def known_probe(scan: Scan, probe: str, defocus: str | None) -> NDArray[np.complex128] | None:
    """The probe (1, N, N) of no known scale that settings state, as far as no pattern is needed; None where one is.

    Args:
        scan: at its size.
        probe: the setting, which names no file.
        defocus: the setting, or None.

    Raises:
        DataError: a length in metres is stated, and nothing says how wide a pixel is.
        SettingsError: a setting cannot be read, a disc gets a defocus, or what is stated does not fit the window.
    """
    made = made_probe(probe)
    assert made is not None
    check_made(scan, probe, defocus)
    if made.kind == "disk":
        if defocus is not None:
            raise SettingsError("A disc at the sample has no defocus.", remedy="Leave --probe-defocus out.", source="data.probe")
        if made.lengths[0] > scan.size:
            raise SettingsError(f"probe = {probe}: the window has {scan.size} pixels.", source="data.probe")
        return disk(scan.size, made.lengths[0])
    pupil, phase = pupil_of(scan, probe), stated_phase(scan, defocus)
    return None if pupil is None or phase is None else pupil.probe(phase)


def check_made(scan: Scan, probe: str | None, defocus: str | None) -> None:
    """Refuse what states a beam on a detector in the far field, where the scan is in the near field.

    Raises:
        SettingsError: the message names the setting.
    """
    if scan.propagation is None:
        return
    made = None if probe is None else made_probe(probe)
    if made is not None and made.kind in ("aperture", "zone-plate"):
        message = f"probe = {probe} is a beam as a detector in the far field sees it, and {scan.source} is in the near field."
        raise SettingsError(message, remedy="Give --probe auto, disk:PX or a file.", source="data.probe")
    if defocus is not None:
        message = (
            f"probe_defocus = {defocus} is a phase over a detector in the far field, and {scan.source} is in the near field."
        )
        raise SettingsError(message, remedy="Leave it out.", source="data.probe_defocus")


def image_probe(scan: Scan) -> NDArray[np.complex128]:
    """The probe (1, N, N) of a scan in the near field, of no known scale: the root of the mean pattern, propagated back.

    On the mean the sample's structure is nearly even, and the wave of a wide beam has nearly no phase. A bad pixel takes the mean
    of the good ones, and the margin continues the detector's edge.

    Raises:
        DataError: the patterns hold no counts.
    """
    assert scan.propagation is not None
    mean, inside = mean_pattern(scan), slice(scan.margin, scan.size - scan.margin)
    if not mean[scan.mask].any():
        raise DataError(f"The patterns of {scan.source}, shape {scan.patterns.shape}, hold no counts at all.")
    known = np.where(scan.mask, mean, mean[scan.mask].mean())[inside, inside]
    return near_field_adjoint(np.sqrt(np.pad(known, scan.margin, mode="edge"))[np.newaxis], scan.propagation)


def pupil_of(scan: Scan, probe: str | None) -> Pupil | None:
    """The beam on the detector that the setting ``probe`` states; None where only the patterns show it.

    The image of a zone plate is as wide as its outermost zone ``Δr`` lets it be, ``N dx / Δr`` detector pixels: the first order
    leaves it at the angle ``λ / (2 Δr)`` (Attwood & Sakdinawat, X-Rays and Extreme Ultraviolet Radiation, 2nd ed., §10.3).

    Raises:
        DataError, SettingsError: as `known_probe`.
    """
    made = None if probe is None else made_probe(probe)
    if made is None or made.kind not in ("aperture", "zone-plate"):
        return None
    if made.kind == "aperture":
        diameter, stop = (*made.lengths, 0.0)[:2]
    else:
        if scan.object_pixel_m is None:
            raise _no_pixel(scan, f"probe = {probe}")
        _check_square(scan, f"probe = {probe}")
        whole, zone, blocked = (*made.lengths, 0.0)[:3]
        diameter = scan.size * scan.object_pixel_m / zone
        stop = diameter * blocked / whole
    if not 1 <= diameter <= 2 * scan.size or stop >= diameter:
        picture = f"an image {diameter:.3g} pixels wide with a stop of {stop:.3g}, on a detector of {scan.size}"
        raise SettingsError(f"probe = {probe} makes {picture}.", remedy="Look at its lengths and units.", source="data.probe")
    return Pupil.of_aperture(scan.size, diameter, stop)


def stated_phase(scan: Scan, defocus: str | None) -> float | None:
    """The phase in rad at the edge of the detector that the setting ``probe_defocus`` states; None where it states none.

    Raises:
        DataError: it is a length, and geometry is missing.
        SettingsError: it cannot be read.
    """
    if defocus is None:
        return None
    given = probe_defocus(defocus)
    if given.in_radians:
        return given.value
    if scan.geometry is None or scan.object_pixel_m is None:
        raise _no_pixel(scan, f"probe_defocus = {defocus}")
    _check_square(scan, f"probe_defocus = {defocus}")
    return edge_phase(given.value, scan.geometry.wavelength_m, scan.object_pixel_m)


def focus_distance_m(scan: Scan, phase: float) -> float | None:
    """Distance in metres from the focus to the sample for a phase at the detector's edge; None without geometry."""
    if scan.geometry is None or scan.object_pixel_m is None or scan.geometry.detector_pixel_width_m is not None:
        return None
    return focus_distance(phase, scan.geometry.wavelength_m, scan.object_pixel_m)


def mean_pattern(scan: Scan) -> NDArray[np.float64]:
    """Mean counts (N, N) of the patterns, which are read once."""
    total = np.zeros((scan.size, scan.size))
    for _, counts in pattern_chunks(scan):
        total += counts.sum(axis=0, dtype=np.float64)
    return total / len(scan)


def _check_square(scan: Scan, what: str) -> None:
    if scan.geometry is not None and scan.geometry.detector_pixel_width_m is not None:
        raise DataError(
            f"{scan.source}: {what} is a length, and the detector's pixels are not square, as such a probe needs them.",
            remedy="Give a file with the probe.", source="data.probe",
        )  # fmt: skip


def _no_pixel(scan: Scan, what: str) -> DataError:
    return DataError(
        f"{scan.source}: {what} is a length, and photon energy, distance and detector pixel are not all known.",
        remedy="Give --photon-energy-ev, --detector-distance-m and --detector-pixel-size-m, or state it in pixels or rad.",
        source="data.probe",
    )  # fmt: skip
