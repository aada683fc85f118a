"""What of some contents a format has no place for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from ptycho_core.formats.contents import Contents
    from ptycho_core.formats.interface import ScanFormat

__all__ = ["PARTS", "lost"]

PARTS: Final = {
    "patterns": "patterns", "mask": "the mask", "bad values": "what stood in bad pixels", "probe": "the probe",
    "probe scale": "whether the probe is scaled to counts", "object": "the object",
    "scan index": "which scan a frame belongs to", "numbers": "the numbers of frames", "background": "a background",
    "flux": "the dose of each frame",
    "history": "the course of a fit", "record": "settings and facts of a fit", "energy": "the photon energy",
    "distance": "the distance and the detector's pixel", "pixel": "the object's pixel where nothing else gives it",
    "regime": "that the patterns are of the near field",
}  # fmt: skip
"""What contents may have next to positions, by the words of `ScanFormat.keeps`, in words for users."""


def lost(contents: Contents, form: ScanFormat) -> list[str]:
    """What a file of a format does not hold of what there is, a sentence each."""
    there, kept = _parts(contents), form.keeps - ({"mask"} if contents.patterns is None else set())
    return [f"{there[part]}." for part in PARTS if there[part] and part not in kept]


def _parts(it: Contents) -> dict[str, str]:
    """What there is, by the words of `ScanFormat.keeps`; empty where there is nothing of it."""
    bad = 0 if it.mask is None else int((~it.mask).sum())
    modes = 0 if it.probe is None else len(it.probe)
    scans = 0 if it.scan_index is None else len(np.unique(it.scan_index))
    whole = None not in (it.photon_energy_ev, it.detector_distance_m, it.detector_pixel_size_m)
    return {
        "patterns": "" if it.patterns is None else f"The {len(it.patterns)} patterns",
        "mask": f"The mask of {bad} bad pixels" if bad else "",
        "bad values": f"What stood in {bad} bad pixels: they hold 0" if bad and it.patterns is not None else "",
        "probe": f"The probe of {modes} mode{'s' * (modes > 1)}" if modes else "",
        "probe scale": "That the probe is scaled to counts" if modes and it.probe_in_counts else "",
        "object": "" if it.object is None else f"The object of {it.object.shape[0]} x {it.object.shape[1]} pixels",
        "scan index": f"Which of {scans} scans a frame belongs to" if scans > 1 else "",
        "numbers": "" if it.frames is None else "The numbers that frames have in the file of the scan",
        "background": "" if it.background is None else "The background",
        "flux": "" if it.flux is None else "The dose of each frame",
        "history": "The course of the fit" if it.history else "",
        "record": "Settings, facts and frames held out of the fit" if it.record else "",
        "energy": "" if it.photon_energy_ev is None else "The photon energy",
        "distance": "" if it.detector_distance_m is None else "The distance to the detector, and its pixel",
        "regime": "That the patterns are of the near field, and how far the focus is" if it.regime else "",
        "pixel": "" if it.object_pixel_m is None or whole else "The object's pixel in metres",
    }
