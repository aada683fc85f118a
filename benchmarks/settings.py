"""What it costs to decide about a job: resolving and planning of each verb, the framework imported already; medians.

``python benchmarks/settings.py --backend NAME`` runs it with one backend; exit status 1 if a median is above the limit.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ptycho_core.cli.main import main
from ptycho_core.settings.payload import create_inference_payload, create_reconstruction_payload, create_training_payload
from ptycho_core.settings.resolution import resolve

LIMIT_MS = 10
RUNS = 100
SMALL = ["--epochs", "1", "--network-width", "4", "--update-steps", "1", "--quiet"]


def milliseconds(function):
    """Wall milliseconds of a call: median and largest of many."""
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        function()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took), max(took)


def payloads(folder, backend):
    """For each verb a function that decides about a job, with nothing asked for and with many sources."""
    scan, run, out = folder / "scan.npz", folder / "run", folder / "out"
    file, asked = folder / "run.toml", {"backend": backend, "seed": 1, "precision": "float64"}
    environment = {"PTYCHO_THREADS": "1", "PTYCHO_EPOCHS": "3", "PTYCHO_MODES": "1"}
    for kind, overrides, rest in (
        ("defaults", {"backend": backend}, {"environment": {}}),
        ("flags, variables and a file", asked, {"environment": environment, "config_file": file}),
    ):
        yield "train", kind, lambda given=overrides, rest=rest: create_training_payload([scan], out, given, **rest)
        yield "infer", kind, lambda given=overrides, rest=rest: create_inference_payload(run, scan, out, given, **rest)
        yield "reconstruct", kind, lambda given=overrides, rest=rest: create_reconstruction_payload(scan, out, given, **rest)


def measured(folder, backend):
    """Print a row for each verb and kind; the largest median."""
    scan = folder / "scan.npz"
    assert main(["simulate", str(scan), "--size", "64", "--frames", "400"]) == 0
    assert main(["train", str(scan), "-o", str(folder / "run"), "--backend", backend, *SMALL]) == 0
    assert main(["config", "init", "train", "--backend", backend, "-o", str(folder / "run.toml")]) == 0
    rows = [("resolve alone", "train", lambda: resolve("train"))]
    rows += [(kind, verb, function) for verb, kind, function in payloads(folder, backend)]
    medians = []
    for kind, verb, function in rows:
        median, largest = milliseconds(function)
        medians.append(median)
        print(f"{verb:12s} {kind:28s} median {median:6.1f} ms, largest {largest:6.1f} ms (limit of the median {LIMIT_MS} ms)")
    return max(medians)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="torch")
    name = parser.parse_args().backend
    with tempfile.TemporaryDirectory() as place:
        worst = measured(Path(place), name)
    print(f"largest median of {RUNS} with {name}: {worst:.1f} ms")
    sys.exit(worst > LIMIT_MS)
