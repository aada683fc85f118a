"""The forward model of the near field next to one that shares no formula with it: waves summed up over the sample."""

from importlib import import_module

import numpy as np
import pytest
from summed_waves import fresnel, rayleigh_sommerfeld

from ptycho_core.contract import EvaluateJob, ExecutionPlan
from ptycho_core.physics import evaluate as reference
from ptycho_core.scan.scan import Geometry

N = 64
POSITIONS = np.array([[3.0, 5.0], [2.3, 4.6], [6.75, 1.2]])
PLANCK_TIMES_LIGHT = 1.239841984e-6
"""In electron volts and metres."""

# Energy, distance to the detector and its pitch. In the first the wavelength is close to a pixel, far from paraxial; the object
# pixel of the others is 50 nm.
GEOMETRIES = {
    "extreme ultraviolet": Geometry(92.0, 0.9e-6, 18e-9, regime="near", propagator="angular-spectrum"),
    "parallel": Geometry(10e3, 6e-4, 50e-9, regime="near"),
    "magnified 10 times": Geometry(10e3, 6e-3, 500e-9, regime="near", focus_to_sample_m=6e-3 / 9),
    "magnified 300 times": Geometry(10e3, 0.18, 15e-6, regime="near", focus_to_sample_m=0.18 / 299),
}
LIMITS = {"float64": 1e-9, "float32": 1e-6}
"""Relative l2. Measured at most 2e-10, 3e-7; 1 % of the distance is 3e-3, the other propagator in the first 5e-4 and beyond the
paraxial case 5e-9, a window that is not moved back by the remainder of its position 3e-2."""


def sample(row, column):
    """Transmission at a place in pixels of the object."""
    return (0.8 + 0.15 * np.sin(row / 3) * np.cos(column / 4)) * np.exp(0.7j * np.sin(row / 5 + column / 3.5))


def beam(row, column):
    """Two modes at a place in pixels from the middle of the window; neither has a symmetry."""
    first = 30 * np.exp(-(row**2 + 1.3 * column**2) / 50 + 0.01j * (row**2 - 2 * column**2) + 0.1j * column)
    return np.stack([first, 0.1 * (column + 0.5 * row) * first])


def grid(axis):
    return np.meshgrid(axis, axis, indexing="ij")


def summed(geometry):
    """What pixels of the detector count, from functions of the place: each eighth pixel where the sum is a long one.

    Frame, row, column. The step of the sum is half a pixel of the object.
    """
    wavelength, distance = PLANCK_TIMES_LIGHT / geometry.photon_energy_ev, geometry.detector_distance_m
    pitch, focus = geometry.detector_pixel_size_m, geometry.focus_to_sample_m or np.inf
    pixel = pitch * focus / (focus + distance) if np.isfinite(focus) else pitch
    fine, places = np.arange(-N / 2, N / 2, 0.5), np.arange(N) - N / 2
    row, column = grid(fine + N / 2)
    patches = np.array([sample(row + down, column + right) for down, right in POSITIONS])
    waves = beam(*grid(fine)) * patches[:, None] / pixel  # per metre: a pixel counts what falls on its area
    if geometry.propagator == "fresnel":
        fields = fresnel(waves, fine * pixel, places * pitch, wavelength, distance, focus)
    else:
        fields = rayleigh_sommerfeld(waves, fine * pixel, places[::8] * pitch, wavelength, distance)
    return (np.abs(fields) ** 2).sum(axis=1) * pitch**2


def as_pixels(geometry):
    """The same as arrays."""
    thing, probe = sample(*grid(np.arange(N + 8))), beam(*grid(np.arange(N) - N / 2))
    return EvaluateJob(
        thing, probe, POSITIONS, np.ones((3, N, N)), gradients=False, propagation=tuple(geometry.propagation)
    )  # fmt: skip


def difference(found, wanted):
    every = found.shape[-1] // wanted.shape[-1]
    return np.linalg.norm(found[:, ::every, ::every] - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_patterns_are_what_summed_waves_give(backend, name):
    wanted, job = summed(GEOMETRIES[name]), as_pixels(GEOMETRIES[name])
    evaluate = import_module(f"ptycho_backend_{backend}.plugin").ptycho_evaluate
    assert difference(reference(job).intensities, wanted) < LIMITS["float64"]
    for precision, limit in LIMITS.items():
        execution = {"precision": precision, "threads": 1, "deterministic": "on"}
        found = evaluate(job, ExecutionPlan("cpu", execution, {}, {})).intensities
        assert difference(found, wanted) < limit, precision
