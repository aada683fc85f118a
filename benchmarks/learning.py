"""Speed, memory and quality of `train` and `infer` with their defaults, on scans whose truth is known.

    python benchmarks/learning.py [--backends torch tensorflow] [--data FOLDER] [--threads 1] [--minutes 10] [--seeds 3] [ROW ...]

Every row runs the real command in a separate process, and each backend in turn. Rows that need FOLDER are left out without it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.formats.product import StoredObject, load_reconstruction, read_object
from ptycho_core.model import load_model

PTYCHO = [sys.executable, "-c", "from ptycho_core.cli.main import run; run()"]
LINES = ["--object", "random-lines", "--scan", "random", "--field", 192, "--step", 4.2933, "--defocus-fraction", 1]


def ptycho(*arguments, quiet=True):
    """Run a command; CPU seconds, wall seconds and peak memory (MB) of its process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [*PTYCHO, *map(str, arguments), *(["--quiet"] if quiet else [])]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"CPU s": cpu, "wall s": wall, "MB": after.ru_maxrss / 1024, "output": done.stdout}


def simulated(place, name, *arguments):
    """A scan made by `ptycho simulate`, made once."""
    path = place / f"{name}.npz"
    if not path.exists():
        ptycho("simulate", path, *arguments, quiet=False)
    return path


def lines(place, seed):
    """2000 patterns of 64 x 64 at random positions over 192 pixels of random lines, 1e6 counts."""
    return simulated(place, f"lines{seed}", *LINES, "--seed", seed)


def scored(folder, truth):
    """The figures of a result folder against the truth."""
    found = load_reconstruction(folder)
    score = ptycho_core.score(found, truth)
    return {
        "amplitude SSIM": f"{score.ssim_amplitude:.3f}", "phase SSIM": f"{score.ssim_phase:.3f}",
        "correlation": f"{score.correlation:.4f}", "NRMSE": f"{score.nrmse:.3f}",
    }  # fmt: skip


def throughput(place, common):
    """Patterns of training a CPU second, once it runs: three epochs more of two trainings; and the memory."""
    scan, run = lines(place, 1), place / "throughput"
    whole = ptycho("train", scan, "-o", run, *common, "--epochs", 5, "--overwrite")
    few = ptycho("train", scan, "-o", run, *common, "--epochs", 2, "--overwrite")
    rate = 3 * 2000 / (whole["CPU s"] - few["CPU s"])
    first = 2000 * 2 / few["CPU s"]
    return {"patterns a CPU s": f"{rate:.0f}", "with start-up, two epochs": f"{first:.0f}", "peak MB": f"{whole['MB']:.0f}"}


def first_batch(place, common):
    """Seconds from the start of the process to the first batch done."""
    run = place / "first"
    words = ["train", lines(place, 1), "-o", run, *common, "--epochs", 1, "--overwrite"]
    found = []
    for _ in range(3):
        began = time.perf_counter()
        job = subprocess.Popen([*PTYCHO, *map(str, words)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for line in job.stderr:
            if line.startswith("train 1/1"):
                found.append(time.perf_counter() - began)
                job.kill()
                break
        job.wait()
    return {"first batch s": f"{np.median(found):.1f}"}


INFERENCE = """
import sys, time
from ptycho_core import infer
scan, small, model, _, backend, _, threads = sys.argv[1:]
infer(small, model, backend=backend, threads=int(threads))
began = time.process_time(), time.perf_counter()
infer(scan, model, backend=backend, threads=int(threads))
print(time.process_time() - began[0], time.perf_counter() - began[1])
"""


def inference(place, common):
    """Seconds for 1024 patterns from file to stitched object and misfit, start-up left out."""
    run = place / "throughput"
    if not (run / "best.ptycho").exists():
        ptycho("train", lines(place, 1), "-o", run, *common, "--epochs", 1)
    scan = simulated(place, "raster", "--frames", 1024, "--seed", 3)
    small = simulated(place, "small", "--frames", 64, "--seed", 4)
    words = [sys.executable, "-c", INFERENCE, *map(str, (scan, small, run, *common))]
    found = [subprocess.run(words, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
    cpu, wall = np.median(np.array(found, dtype=float), axis=0)
    return {"CPU s": f"{cpu:.2f}", "wall s": f"{wall:.2f}"}


def generalisation(place, common, minutes, seed, gridsize, merge):
    """Trained for some minutes on one object, tested on another with the same probe."""
    run, out = place / f"general{gridsize}{merge}{seed}", place / "general-out"
    train, test = lines(place, 1 + seed), lines(place, 101 + seed)
    asked = ["--gridsize", gridsize, "--merge", merge, "--seed", seed, "--batch-size", 32 // gridsize**2]
    seconds = json.loads(pilot(place, train, common, asked))
    epochs = max(2, int((minutes * 60 - 8) / seconds))
    cost = ptycho("train", train, "-o", run, *common, *asked, "--epochs", epochs, "--overwrite")
    ptycho("infer", test, "--model", run, "-o", out, *common, "--overwrite", "--inference-batch-size", 32)
    found = scored(out, read_object(test, "reference"))
    return {"epochs": epochs, "wall s": f"{cost['wall s']:.0f}", "CPU s": f"{cost['CPU s']:.0f}"} | found


def pilot(place, scan, common, asked):
    """Seconds of an epoch, as a text: what the second epoch of two took."""
    run = place / "pilot"
    ptycho("train", scan, "-o", run, *common, *asked, "--epochs", 2, "--overwrite")
    log = [row.split(",") for row in (run / "log.csv").read_text().splitlines()]
    at = log[0].index("seconds")
    return str(float(log[2][at]) - float(log[1][at]))


def half_a_scan(place, data, common, minutes):
    """Trained on the left half of a scan, inferred on the whole; next to `reconstruct`."""
    with np.load(data / "lcls_run1084_semireal/run1084_semireal.npz") as file:
        arrays = {"intensity": file["intensity"], "positions_px": file["positions_px"], "probe_guess": file["probe_true"][None]}
        truth = StoredObject(file["object_true"], positions=file["positions_px"])
    left = arrays["positions_px"][:, 1] < np.median(arrays["positions_px"][:, 1])
    whole, half = place / "lcls.npz", place / "lcls-half.npz"
    write_plain_npz(whole, arrays, overwrite=True)
    write_plain_npz(half, arrays | {key: arrays[key][left] for key in ("intensity", "positions_px")}, overwrite=True)
    found = {}
    for gridsize in (1, 2):
        asked, run = ["--gridsize", gridsize, "--batch-size", 32 // gridsize**2], place / f"lcls-run{gridsize}"
        epochs = max(2, int((minutes * 60 - 8) / json.loads(pilot(place, half, common, asked))))
        ptycho("train", half, "-o", run, *common, *asked, "--epochs", epochs, "--overwrite")
        ptycho("infer", whole, "--model", run, "-o", place / "lcls-out", *common, "--overwrite")
        found[f"gridsize {gridsize}, {epochs} epochs"] = scored(place / "lcls-out", truth)["correlation"]
    ptycho("reconstruct", whole, "-o", place / "lcls-fit", *common, "--overwrite")
    return {f"correlation, {name}": value for name, value in found.items()} | {
        "correlation, reconstruct": scored(place / "lcls-fit", truth)["correlation"]
    }


def same_steps(place, common, seed):
    """Quality after the same four epochs from the same weights, which the core draws from the seed."""
    run, out, test = place / f"steps{seed}", place / "steps-out", lines(place, 101 + seed)
    asked = ["--gridsize", 2, "--batch-size", 8, "--seed", seed, "--epochs", 4]
    ptycho("train", lines(place, 1 + seed), "-o", run, *common, *asked, "--overwrite")
    ptycho("infer", test, "--model", run, "-o", out, *common, "--overwrite")
    return scored(out, read_object(test, "reference")) | {"loss": f"{load_model(run).history[-1]['loss']:.6f}"}


def rows(args, place, common):
    """Name of each row and how it is measured."""
    yield "throughput", lambda: throughput(place, common)
    yield "first batch", lambda: first_batch(place, common)
    yield "inference", lambda: inference(place, common)
    for seed in range(args.seeds):
        yield f"the same steps, seed {seed}", lambda s=seed: same_steps(place, common, s)
    for seed in range(args.seeds):
        for gridsize, merge in ((2, "batch"), (1, "batch"), (1, "none"), (2, "none")):
            yield (
                f"generalisation, gridsize {gridsize}, merge {merge}, seed {seed}",
                lambda s=seed, g=gridsize, m=merge: generalisation(place, common, args.minutes, s, g, m),
            )
    yield "start", lambda: start(place, common, args.minutes)
    if args.data is not None:
        yield "half of lcls", lambda: half_a_scan(place, args.data, common, args.minutes)
        yield "low dose", lambda: low_dose(place, args.data, common, args.minutes)


def low_dose(place, data, common, minutes):
    """Trained at 1e4 counts on simulated objects with the scan's own probe, tested on the scan of pictures."""
    test = data / "simulated_64/scan_1e4.npz"
    with np.load(test) as file:
        probe, positions = file["probe_true"], file["positions_px"]
    scans = [with_probe(place / f"dose{seed}.npz", probe, positions, seed) for seed in range(3)]
    run, asked = place / "dose-run", ["--gridsize", 2, "--batch-size", 8]
    epochs = max(2, int((minutes * 60 - 8) / len(scans) / json.loads(pilot(place, scans[0], common, asked))))
    ptycho("train", *scans, "-o", run, *common, *asked, "--epochs", epochs, "--overwrite")
    np.save(place / "probe.npy", probe)
    ptycho("infer", test, "--model", run, "-o", place / "dose-out", *common, "--overwrite", "--probe", place / "probe.npy")
    return {"epochs": epochs} | scored(place / "dose-out", read_object(test, "reference"))


def with_probe(path, probe, positions, seed):
    """A scan of a simulated object with a given probe (in counts), at the given positions."""
    from ptycho_core.physics.forward import intensities
    from ptycho_core.physics.noise import poisson
    from ptycho_core.simulation.objects import make_object

    random, size = np.random.default_rng(seed), probe.shape[-1]
    corner = np.floor(positions.min(axis=0))
    shape = tuple(int(side) + size + 1 for side in np.ceil((positions - corner).max(axis=0)))
    kind = ("dead-leaves", "random-field", "natural")[seed % 3]
    truth = make_object(kind, shape, (0.6, 1.0), (0.0, 1.0), random)
    counts = poisson(intensities(truth, probe.reshape(-1, size, size), positions - corner), random).astype(np.uint16)
    modes = probe.reshape(-1, size, size).astype(np.complex64)
    arrays = {"intensity": counts, "positions_px": positions - corner, "probe_guess": modes, "probe_in_counts": np.array(True)}
    write_plain_npz(path, arrays, overwrite=True)
    return path


def start(place, common, minutes):
    """CPU seconds of `reconstruct` to an NRMSE with and without the start that a network gives (with its seconds)."""
    from reconstruction import backend, measure

    run, out, test = place / "general2batch0", place / "start-out", lines(place, 101)
    if not (run / "best.ptycho").exists():
        generalisation(place, common, minutes, 0, 2, "batch")
    cost = ptycho("infer", test, "--model", run, "-o", out, *common, "--overwrite")
    scan, truth = ptycho_core.open_scan(test), read_object(test, "reference")
    levels = (0.10, 0.05, 0.02)
    with backend(common[1], common[3]):
        plain, begun = (measure(scan, truth, levels=levels, start=one) for one in (None, out))
    found = {f"s to {level:g}, without and with": f"{plain[f's to {level:g}']} {begun[f's to {level:g}']}" for level in levels}
    return found | {"NRMSE at the end": f"{plain['NRMSE']} {begun['NRMSE']}", "infer CPU s": f"{cost['CPU s']:.1f}"}


def main():
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["torch"], help="each row is measured with each of them in turn")
    parser.add_argument("--data", type=Path, help="folder with the scans of known truth")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, where quality is measured")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for scans and runs, kept; else a temporary one")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose name contains this")
    args = parser.parse_args()
    print(f"{args.threads} thread(s), {args.minutes:g} minutes of training")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) if args.keep is None else args.keep
        place.mkdir(exist_ok=True)
        jobs = [list(rows(args, place, ["--backend", name, "--threads", args.threads])) for name in args.backends]
        for row in zip(*jobs, strict=True):
            for backend, (name, job) in zip(args.backends, row, strict=True):
                if not args.rows or any(word in name for word in args.rows):
                    print(f"{backend}, {name}: " + ", ".join(f"{key} {value}" for key, value in job().items()), flush=True)


if __name__ == "__main__":
    main()
