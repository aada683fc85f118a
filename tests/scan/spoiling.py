"""A sound scan, and the arrays of its file to spoil."""

import numpy as np

from ptycho_core.formats.opening import open_scan
from ptycho_core.scan.plausibility import find_doubts
from ptycho_core.simulate import simulate_scan

N, FRAMES = 32, 64


def sound(**settings):
    """The arrays of a simulated scan in the plain layout."""
    chosen = {"size": N, "frames": FRAMES, "photons": 2e5, "seed": 5, "object": "random-field"} | settings
    made = simulate_scan(**chosen)
    return {
        "intensity": made.intensity.astype(np.float64), "positions_px": made.positions, "probe_guess": made.probe_guess,
        "probe_in_counts": np.array(True),
    }  # fmt: skip


def written(path, arrays):
    """The file of some arrays; counts that are whole are stored as whole numbers, as a detector gives them."""
    counts = arrays["intensity"]
    if counts.dtype == np.float64 and (counts == np.rint(counts)).all() and 0 <= counts.min() <= counts.max() < 2**32:
        arrays = arrays | {"intensity": counts.astype(np.uint32)}
    np.savez(path, **arrays)
    return path


def kinds(path, **settings):
    """Kind and severity of each doubt about the scan in a file."""
    return {(doubt.kind, doubt.severity) for doubt in find_doubts(open_scan(path, settings))}


def said(path, **settings):
    """What is said of the scan in a file."""
    return " ".join(doubt.sentence for doubt in find_doubts(open_scan(path, settings)))
