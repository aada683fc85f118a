"""The same scans through several backends and engines: CPU seconds and distance from the truth, in one process, one thread.

    python benchmarks/backends.py --data FOLDER [--settings '{"backend": "torch"}' ...] [ROW ...]

Each ``--settings`` is a run: settings of ``ptycho_core.reconstruct`` as JSON. Seconds exclude imports and scoring, and include
reading. The backends must be able to share a process.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from reconstruction import compare, lcls, truth_of

import ptycho_core
from ptycho_core.formats.plain_npz import write_plain_npz

RUNS = (
    {"backend": "torch"},
    {"backend": "ptychi", "epochs": 60},
    {"backend": "ptychi", "epochs": 60, "ptychi.batching": "compact", "ptychi.momentum": 0.5, "batch_size": 100},
    {"backend": "ptychi", "epochs": 60, "ptychi.engine": "rpie"},
)


def rows(data, scratch):
    """Name, file and truth of each row."""
    path = data / "simulated_64/scan_1e6.npz"
    yield "scan_1e6", path, truth_of(path)
    scan, truth, _ = lcls(data, start=False)
    path = scratch / "lcls.npz"
    counts = scan.patterns.read(np.arange(len(scan)))
    write_plain_npz(path, {"intensity": counts, "positions_px": scan.positions, "probe_guess": scan.probe})
    yield "lcls", path, truth


def measure(path, truth, settings):
    """One reconstruction; its figures."""
    ptycho_core.reconstruct(path, backend=settings["backend"], epochs=0, iterations=0, threads=1)  # imports
    began = time.process_time()
    found = ptycho_core.reconstruct(path, **settings, threads=1)
    seconds = time.process_time() - began
    score = compare(found.object, found.probe, found.positions, truth)
    misfit = min(row["misfit"] for row in found.history)
    return f"CPU s {seconds:.1f}, R {misfit:.4f}, NRMSE {score.nrmse:.4f}, correlation {score.correlation:.5f}"


def main():
    """Print one line for each row and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the scans of known truth")
    parser.add_argument("--settings", type=json.loads, action="append", help="settings of a run, JSON")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose name contains this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, path, truth in rows(args.data, Path(scratch)):
            for settings in args.settings or RUNS:
                if not args.rows or any(word in name for word in args.rows):
                    print(f"{name}, {json.dumps(settings)}: {measure(path, truth, settings)}", flush=True)


if __name__ == "__main__":
    main()
