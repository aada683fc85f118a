"""What a search for positions repairs, on simulated scans whose stated positions are off.

    python benchmarks/positions.py [--backend torch] [--all] [--list] [ROW ...]

Each line is a whole job with one thread: CPU seconds with reading and scoring, position errors rms along an axis of the frames
that are not lost, as they are and after the best affine map, frames lost (more than 2 px off after that map), R over that of
photon noise, and the verdict; the bar next to it. One seed of each row, with `--all` as many as the row asks for.
"""

import argparse
import os
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from ptycho_core.backends.registry import find_named
from ptycho_core.cli.main import main as ptycho
from ptycho_core.reconstruction.affine_search import affine_map
from ptycho_core.reconstruction.run import run_payload
from ptycho_core.settings.payload import create_reconstruction_payload

LOST = 2.0
"""Pixels off, after the best affine map."""


class Row(NamedTuple):
    """A kind of scan: arguments of `ptycho simulate`, what else is done to its positions, settings of the job, bar, seeds."""

    simulate: tuple
    bar: str
    spoil: object = None
    settings: dict | None = None
    seeds: tuple = (11, 12, 13, 14, 15)


def spoilt_by(scale=0.0, rotation=0.0, shear=0.0):
    """Positions on a wrong scale, rotated and sheared."""
    return lambda positions, _: affine_map(positions, np.array([scale, 0.0, np.deg2rad(rotation), shear]))


def drifting(rms):
    """Positions that walk off along the raster."""

    def drift(positions, seed):
        walk = np.cumsum(np.random.default_rng([seed, 7]).normal(size=positions.shape), axis=0)
        walk -= walk.mean(axis=0)
        return positions + walk * rms / np.sqrt((walk**2).mean())

    return drift


KNOWN = {"refine_positions": "search", "refine_probe": False}
AFFINE = {"refine_positions": "affine", "refine_probe": False}
LINES, NATURAL = ("--object", "random-lines"), ("--object", "natural")
RIGHT, SEVEN, BIG = ("--defocus-fraction", 1), ("--position-error", 7), ("--size", 128, "--frames", 324)
JITTER = "<= 0.35 px after the map, none lost, <= 40 s"
ROWS = {
    "lines, 7 px": Row((*LINES, *RIGHT, *SEVEN), f"{JITTER}; 5 of 5", settings=KNOWN),
    "lines, 7 px, defocus 85 %": Row(
        (*LINES, *SEVEN), "<= 0.6 px after the map; 2 of 3", settings={"refine_positions": "search"}, seeds=(11, 12, 13)
    ),
    "natural, 7 px": Row((*NATURAL, *RIGHT, *SEVEN), "<= 5 % lost; 4 of 5", settings=KNOWN),
    "lines, 128, 7 px": Row(
        (*LINES, *RIGHT, *SEVEN, *BIG), "<= 0.4 px after the map, none lost, <= 80 s", settings=KNOWN, seeds=(11,)
    ),
    "natural, 128, 7 px": Row(
        (*NATURAL, *RIGHT, *SEVEN, *BIG), "<= 0.4 px after the map, none lost, <= 80 s", settings=KNOWN, seeds=(11,)
    ),
    "lines, scale 5 %": Row((*LINES, *RIGHT), "<= 0.15 px", spoilt_by(scale=0.05), AFFINE, (11,)),
    "natural, rotation 2 deg": Row((*NATURAL, *RIGHT), "<= 0.15 px", spoilt_by(rotation=2.0), AFFINE, (11,)),
    "dead leaves, scale -4 %, shear 1 %": Row(
        ("--object", "dead-leaves", *RIGHT), "<= 0.15 px", spoilt_by(scale=-0.04, shear=0.01), AFFINE, (12,)
    ),
    "lines, 3 px": Row((*LINES, *RIGHT, "--position-error", 3), JITTER, settings=KNOWN, seeds=(11, 12)),
    "dead leaves, 7 px": Row(("--object", "dead-leaves", *RIGHT, *SEVEN), "no bar", settings=KNOWN, seeds=(11, 12)),
    "lines, 10 px": Row((*LINES, *RIGHT, "--position-error", 10), "<= 6 % lost", settings=KNOWN, seeds=(11, 12)),
    "lines, drift 2.5 px": Row((*LINES, *RIGHT), "<= 0.4 px after the map", drifting(2.5), KNOWN, (11, 12)),
    "lines, 0.5 px, refined": Row(
        (*LINES, *RIGHT, "--position-error", 0.5), "as searched", settings={**KNOWN, "refine_positions": "on"}, seeds=(11,)
    ),
    "lines, 0.5 px, searched": Row(
        (*LINES, *RIGHT, "--position-error", 0.5), "no worse than refined", settings=KNOWN, seeds=(11,)
    ),
    "lines, 7 px, dose varies by 20 %": Row(
        (*LINES, *RIGHT, *SEVEN, "--flux-error", 0.2), "as with an even dose", settings=KNOWN, seeds=(11, 12)
    ),
    "lines, 7 px, brightest 1 % at a third": Row(
        (*LINES, *RIGHT, *SEVEN, "--saturation", 875), "as without an end", settings=KNOWN, seeds=(11, 12)
    ),
    "lines, 14 px": Row((*LINES, *RIGHT, "--position-error", 14), "not good, or right", settings=KNOWN, seeds=(11,)),
    "lines, 7 px, refined": Row(
        (*LINES, *RIGHT, *SEVEN), "not good, and the search proposed", settings={"refine_positions": "on"}, seeds=(11, 12)
    ),
    "natural, 7 px, as it is": Row((*NATURAL, *RIGHT, *SEVEN), "not good, and the search proposed", seeds=(11, 12)),
}


def error(found, true):
    """Rms error along an axis of the frames that are found, as it is and after the best affine map, and the number lost."""
    basis = np.concatenate([np.ones((len(found), 1)), found - found.mean(axis=0)], axis=1)
    weights = np.ones(len(found))
    for _ in range(20):  # robust: frames that are lost have no say in the map
        part = np.linalg.lstsq(basis * weights[:, None], true * weights[:, None], rcond=None)[0]
        left = true - basis @ part
        weights = 1 / np.sqrt(1 + (left**2).sum(axis=1))
    lost = np.hypot(*left.T) > LOST
    apart = (found - true)[~lost]
    return float(np.sqrt(((apart - apart.mean(axis=0)) ** 2).mean())), float(np.sqrt((left[~lost] ** 2).mean())), int(lost.sum())


def measure(row, seed, backend):
    """One job: what its line says."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "scan.npz"
        assert ptycho(["simulate", str(path), *map(str, row.simulate), "--seed", str(seed)]) == 0
        with np.load(path) as file:
            arrays = dict(file)
        if row.spoil is not None:
            arrays["positions_px"] = row.spoil(arrays["positions_px"], seed)
            np.savez(path, **arrays)
        began = time.process_time()
        payload = create_reconstruction_payload(
            path, None, {"backend": backend, "threads": 1, **(row.settings or {})}, environment={}
        )
        found, metrics = run_payload(payload)
        seconds = time.process_time() - began
    as_is, mapped, lost = error(found.positions, arrays["positions_true_px"])
    proposed = any("--refine-positions=search" in reason for reason in metrics["verdict_reasons"])
    return (
        f"{as_is:.3f} px, {mapped:.3f} px after the map, {lost} of {len(found.positions)} lost, {seconds:.1f} CPU s, "
        f"R {metrics['misfit']:.4f}, {metrics['misfit_over_noise']:.2f} of noise, {metrics['verdict']}"
        + (", proposes the search" if proposed else "")
    )


def main():
    """Print one line for each job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--all", action="store_true", help="every seed of a row, not only the first")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose name contains this")
    args = parser.parse_args()
    import_module(find_named(args.backend)[0].claim.module)
    for name, row in ROWS.items():
        if args.rows and not any(word in name for word in args.rows):
            continue
        for seed in row.seeds if args.all else row.seeds[:1]:
            line = "" if args.list else measure(row, seed, args.backend)
            print(f"{name}, seed {seed}: {line} (bar: {row.bar})", flush=True)


if __name__ == "__main__":
    main()
