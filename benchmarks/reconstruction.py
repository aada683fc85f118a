"""Quality and CPU seconds of `reconstruct` with its defaults, on scans whose truth or reference is known.

    python benchmarks/reconstruction.py [--backend torch] [--data FOLDER] [--threads 1] [ROW ...]

Rows that need FOLDER are left out without it. Seconds exclude imports, reading and scoring.
"""

import argparse
import os
import tempfile
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.backends.registry import find_named
from ptycho_core.cli.main import main as ptycho
from ptycho_core.contract import ExecutionPlan, ReconstructJob
from ptycho_core.engine.reconstruct import reconstruct
from ptycho_core.formats.product import StoredObject
from ptycho_core.imaging.metrics import data_misfit, position_error
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.settings.reconstruction import ReconstructionSettings

LEVELS = (0.10, 0.05, 0.02)
running = {"xp": None, "plan": None}
"""The operations of a backend, and the plan that they were made for."""


@contextmanager
def backend(name, threads):
    """Measure with a backend: a process holds one."""
    execution = {"threads": threads, "precision": "float32", "deterministic": "on", "accelerator": "cpu", "seed": 0}
    plan = ExecutionPlan("cpu", execution, {}, {})
    package = find_named(name)[0].claim.module.rpartition(".")[0]
    with import_module(f"{package}.devices").operations(plan) as xp:
        running.update(xp=xp, plan=plan)
        yield


class Watch:
    """Takes events; looks at each state of the object while ``look`` wants to."""

    stop_requested = False

    def __init__(self, look):
        self.look, self.snapshot_due = look, True

    def emit(self, event):
        """Take an event."""

    def show(self, now):
        """Look at a state."""
        self.snapshot_due = self.look(now)


def measure(scan, truth=None, probe=None, true_positions=None, levels=LEVELS, start=None, **changed):
    """One reconstruction; the figures of its row."""
    settings = ReconstructionSettings(start=None if start is None else str(start), **changed)
    start = prepare_start(scan, settings, seed=0, probe=probe)
    scoring, scoring_wall, reached = 0.0, 0.0, dict.fromkeys(levels)
    began_cpu, began = time.process_time(), time.perf_counter()

    def look(now):
        nonlocal scoring, scoring_wall
        if truth is None or None not in reached.values():
            return False
        if now.stage == "coarse":
            return True
        entered, entered_wall = time.process_time(), time.perf_counter()
        error = compare(now.object, start.probe, now.positions, truth).nrmse
        for level in levels:
            if error <= level and reached[level] is None:
                reached[level] = entered - began_cpu - scoring
        scoring += time.process_time() - entered
        scoring_wall += time.perf_counter() - entered_wall
        return True

    job = ReconstructJob(scan, start.object, start.probe, start.positions, {"reconstruction": vars(settings)})
    found = reconstruct(job, running["plan"], Watch(look), running["xp"])
    cpu, wall = time.process_time() - began_cpu - scoring, time.perf_counter() - began
    row = {"CPU s": f"{cpu:.1f}", "wall s": f"{wall - scoring_wall:.1f}"}
    used = np.setdiff1d(np.arange(len(scan)), found.held_out)
    row["R"] = f"{data_misfit(scan, found.object, found.probe, found.positions, frames=used):.4f}"
    if len(found.held_out):
        row["held-out R"] = f"{data_misfit(scan, found.object, found.probe, found.positions, frames=found.held_out):.4f}"
    if truth is not None:
        score = compare(found.object, found.probe, found.positions, truth)
        row |= {"NRMSE": f"{score.nrmse:.4f}", "correlation": f"{score.correlation:.5f}"}
        row |= {f"s to {level:g}": "-" if at is None else f"{at:.1f}" for level, at in reached.items()}
        half, seventh = (score.frc.crossing(limit) for limit in (1 / 2, 1 / 7))
        row["FRC 1/2, 1/7"] = f"{half or 1:.2f}, {seventh or 1:.2f} of Nyquist"
    if true_positions is not None:
        row["position error"] = f"{position_error(found.positions, true_positions):.3f} px"
    return row | {"stopped by": found.stopped_by}


def compare(image, probe, positions, truth):
    """The score of an object against the truth's."""
    return ptycho_core.score(StoredObject(image, probe, positions), truth)


def lcls(folder, *, start):
    """The scan whose positions, or stage positions, and narrowed probe are given."""
    from scipy.ndimage import zoom

    from ptycho_core.formats.plain_npz import write_plain_npz

    with np.load(folder / "lcls_run1084_semireal/run1084_semireal.npz") as file:
        probe, counts, positions = file["probe_true"], file["intensity"], file["positions_px"]
        stated = np.stack([file["ycoords_start"], file["xcoords_start"]], axis=1) - 32 if start else positions
        truth = StoredObject(file["object_true"], positions=positions)
    narrow = zoom(probe.real, 0.85, order=3) + 1j * zoom(probe.imag, 0.85, order=3)
    guess = np.zeros((64, 64), complex)
    corner = (64 - len(narrow)) // 2
    guess[corner : corner + len(narrow), corner : corner + len(narrow)] = narrow
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "scan.npz"
        write_plain_npz(path, {"intensity": counts, "positions_px": stated, "probe_guess": guess})
        scan = ptycho_core.open_scan(path)
        scan.patterns.read(slice(0, 1))  # the file is gone once the folder is
    return scan, truth, positions


def simulated(*arguments):
    """A scan made by `ptycho simulate`, and its truth."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "scan.npz"
        assert ptycho(["simulate", str(path), *map(str, arguments)]) == 0
        scan = ptycho_core.open_scan(path)
        scan.patterns.read(slice(0, 1))
        return scan, truth_of(path)


def truth_of(path):
    """The true object of a simulated scan, with its positions."""
    from ptycho_core.formats.product import read_object

    return read_object(path, "reference")


def rows(folder):
    """Name of each row and how it is measured."""
    sample = "sample:siemens-star"
    star = ptycho_core.open_scan(sample)
    reference = None
    if folder is not None:
        reference = truth_of(folder / "velociprobe_siemens/reference_epie.npz")
    for modes in (1, 2):
        yield f"sample, {modes} modes", lambda modes=modes: measure(star, reference, levels=(), modes=modes)
        yield f"sample, {modes} modes, 5 % held out", lambda modes=modes: measure(star, modes=modes, held_out=0.05)
    if folder is not None:
        for dose in ("1e6", "1e4"):
            path = folder / f"simulated_64/scan_{dose}.npz"
            yield f"scan_{dose}", lambda path=path: measure(ptycho_core.open_scan(path), truth_of(path))
        scan, truth, _ = lcls(folder, start=False)
        yield "lcls, refined positions", lambda scan=scan, truth=truth: measure(scan, truth)
        moved, truth, positions = lcls(folder, start=True)
        yield (
            "lcls, stage positions",
            lambda: measure(moved, truth, true_positions=positions, levels=(), refine_positions="on"),
        )
    for name, arguments in OTHERS.items():
        yield name, lambda arguments=arguments: measure(*simulated(*arguments))


OTHERS = {
    "random lines": ["--object", "random-lines", "--seed", 11],
    "siemens star, 1e5": ["--object", "siemens-star", "--photons", "1e5", "--seed", 12],
    "dead leaves, overlap 60 %": ["--object", "dead-leaves", "--overlap", 0.6, "--seed", 13],
    "natural, guess 70 %": ["--object", "natural", "--defocus-fraction", 0.7, "--seed", 14],
    "natural, N = 128": ["--object", "natural", "--size", 128, "--frames", 144, "--seed", 15],
}


def main():
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--data", type=Path, help="folder with the scans of known truth")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose name contains this")
    args = parser.parse_args()
    print(f"{args.backend}, {args.threads} thread(s)")
    with backend(args.backend, args.threads):
        for name, job in rows(args.data):
            if not args.rows or any(word in name for word in args.rows):
                print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in job().items()), flush=True)


if __name__ == "__main__":
    main()
