"""Quality and CPU seconds of `infer` without a model, next to a short `reconstruct`, on scans whose truth is known.

    python benchmarks/one_pass.py [--backend torch] [--threads 1] [--runs 3] [--keep FOLDER] [--csv FILE] [--figure PNG] [ROW ...]

Every row is run in this process after a warm-up; the jobs of a scan are run in turn, a ratio is the median over the runs. CPU
seconds are those of the whole call: reading, doubts, the pass, stitching and the verdict; not imports and scoring.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.cli.main import main as ptycho
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.formats.product import read_object
from ptycho_core.simulation import objects
from ptycho_core.simulation.objects import NATURAL

DENSE = ["--scan", "random", "--field", 192, "--step", 4.2933, "--defocus-fraction", 1]
"""2000 patterns of 64 x 64 pixels; each object pixel is seen by 10 to 28 windows."""

OBJECTS = {"lines": ["--object", "random-lines", "--seed", 101], "natural": ["--object", "natural", "--seed", 101]}
"""Objects that took no part in choosing any number of the method."""

PICTURES = ("camera", "chelsea", "coffee", "page", "text", "rocket")
"""Other pictures than the twelve that `ptycho simulate` draws two of: figures depend on what is drawn."""

PAIRS = {"rocket and bricks": (103, NATURAL), "cat and cup": (101, PICTURES), "cup and cat": (103, PICTURES)}
"""Further natural objects, amplitude and phase: the seed, and the pictures that it draws from. "natural" is coins and bricks."""

FITS = (0, 5, 20)
"""Iterations of the `reconstruct`, with one epoch and the probe as it is, that are measured next to dense scans; elsewhere 5."""

NETWORKS = {"network, 4 patterns": (0.89, 0.82), "network, 1 pattern": (0.58, 0.35)}
"""SSIM of amplitude and phase of networks that were trained for 360 seconds on lines (`benchmarks/learning.py`)."""


def simulated(place, name, *arguments, pictures=NATURAL):
    """A scan made by `ptycho simulate`, made once; a natural object is two of the ``pictures``."""
    path = place / f"{name.replace(' ', '-').replace(',', '')}.npz"
    if not path.exists():
        objects.NATURAL = pictures
        assert ptycho(["simulate", str(path), *map(str, arguments)]) == 0
        objects.NATURAL = NATURAL
    return path


def thinned(place, path, frames):
    """So many frames of a scan, drawn at random."""
    thin = place / f"{path.stem}-{frames}.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    chosen = np.sort(np.random.default_rng(0).choice(len(arrays["intensity"]), frames, replace=False))
    arrays |= {name: value[chosen] for name, value in arrays.items() if name.startswith(("intensity", "position"))}
    write_plain_npz(thin, arrays, overwrite=True)
    return thin


def spoiled(place, path, share):
    """The same scan with bad pixels that hold anything, and its mask."""
    bad = place / f"{path.stem}-bad.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    random = np.random.default_rng(0)
    mask = random.random(arrays["intensity"].shape[1:]) >= share
    noise = random.integers(0, 60000, arrays["intensity"].shape)
    arrays |= {"intensity": np.where(mask, arrays["intensity"], noise).astype(np.uint16), "mask": mask}
    write_plain_npz(bad, arrays, overwrite=True)
    return bad


def scans(place):
    """Name of each row, how its scan is made, and the numbers of steps."""
    for family, words in OBJECTS.items():

        def made(name, *more, words=words, family=family):
            return simulated(place, f"{family}, {name}", *words, *more)

        yield f"{family}, dense", lambda made=made: made("dense", *DENSE), (4, 6, 10, 16)
        yield f"{family}, 300 of 2000 frames", lambda made=made: thinned(place, made("dense", *DENSE), 300), (10, 16)
        yield f"{family}, 1e4 counts", lambda made=made: made("1e4", *DENSE, "--photons", 1e4), (4, 8)
        for part in (0.7, 0.85, 1.15, 1.3):
            words_of = [*DENSE[:-1], part]
            yield f"{family}, {part:.0%} of the defocus", lambda w=words_of, p=part, made=made: made(f"defocus {p}", *w), (10,)
        for error in (0.5, 1.0):
            yield (
                f"{family}, positions wrong by {error} px",
                lambda e=error, made=made: made(f"positions {e}", *DENSE, "--position-error", e),
                (10,),
            )
        yield f"{family}, 2 % bad pixels", lambda made=made: spoiled(place, made("dense", *DENSE), 0.02), (10,)
        yield f"{family}, 2 modes in the beam, 1 in the guess", lambda made=made: made("modes", *DENSE, "--modes", 2), (10,)
        for size, step in ((128, 8.6), (256, 17.2)):
            words_of = ["--size", size, "--scan", "random", "--frames", 300, "--step", step, "--defocus-fraction", 1]
            yield f"{family}, N = {size}", lambda w=words_of, s=size, made=made: made(f"N {s}", *w), (10,)
        for overlap in (0.3, 0.5, 0.7, 0.8, 0.9):
            words_of = ["--frames", 400, "--overlap", overlap, "--defocus-fraction", 1]
            yield f"{family}, overlap {overlap:.0%}", lambda w=words_of, o=overlap, made=made: made(f"overlap {o}", *w), (10, 30)

    for pair, (seed, pictures) in PAIRS.items():

        def drawn(name, *more, pair=pair, seed=seed, pictures=pictures):
            words = ["--object", "natural", "--seed", seed, *DENSE, *more]
            return simulated(place, f"{pair}, {name}", *words, pictures=pictures)

        yield f"{pair}, dense", lambda drawn=drawn: drawn("dense"), (6, 10)
        yield f"{pair}, 300 of 2000 frames", lambda drawn=drawn: thinned(place, drawn("dense"), 300), (16,)
        yield f"{pair}, 1e4 counts", lambda drawn=drawn: drawn("1e4", "--photons", 1e4), (8,)


def timed(job):
    """CPU seconds of a call, and what it gave."""
    began = time.process_time()
    found = job()
    return time.process_time() - began, found


def measure(scan, steps, fits, backend, threads, runs):
    """The figures of each number of steps, and of reconstructions with so many iterations."""
    how, truth = {"backend": backend, "threads": threads}, read_object(scan, "reference")
    short = {"epochs": 1, "refine_probe": False}
    jobs = {f"reconstruct, {k} iterations": lambda k=k: ptycho_core.reconstruct(scan, **how, **short, iterations=k) for k in fits}
    if "defocus" in scan.name:
        jobs["10 steps, probe refined"] = lambda: ptycho_core.infer(scan, **how, update_steps=10, refine_probe=True)
        jobs["10 steps, probe auto"] = lambda: ptycho_core.infer(scan, **how, update_steps=10, probe="auto")
    jobs |= {f"{k} steps": lambda k=k: ptycho_core.infer(scan, **how, update_steps=k) for k in steps}
    beside = "reconstruct, 5 iterations"
    results = {number: job() for number, job in jobs.items()}  # a warm-up
    seconds = {number: [] for number in jobs}
    for _ in range(runs):
        for number, job in jobs.items():
            seconds[number].append(timed(job)[0])
    frames = len(results[beside].positions)
    for number, found in results.items():
        score = ptycho_core.score(found, truth)
        yield {
            "job": number, "amplitude SSIM": f"{score.ssim_amplitude:.3f}", "phase SSIM": f"{score.ssim_phase:.3f}",
            "NRMSE": f"{score.nrmse:.4f}", "CPU s": f"{statistics.median(seconds[number]):.2f}" if runs else "",
            "patterns a CPU s": f"{frames / statistics.median(seconds[number]):.0f}" if runs else "",
            "rate over 5 iterations'": (
                f"{statistics.median(a / b for a, b in zip(seconds[beside], seconds[number], strict=True)):.2f}" if runs else ""
            ),
        }  # fmt: skip


def draw(rows, path):
    """Quality against CPU seconds on the dense scans: one panel for each family and figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for column, family in enumerate(OBJECTS):
        for place, name in enumerate(("amplitude SSIM", "phase SSIM")):
            axes = figure.add_subplot(2, 2, 2 * place + column + 1)
            for word, style in (("steps", "o-"), ("iterations", "s--")):
                own = [row for row in rows if row["scan"] == f"{family}, dense" and row["job"].endswith(word)]
                seconds, quality = ([float(row[key]) for row in own] for key in ("CPU s", name))
                label = "infer, no network: steps" if word == "steps" else "reconstruct, 1 epoch: iterations"
                axes.plot(seconds, quality, style, label=label)
                for row, x, y in zip(own, seconds, quality, strict=True):
                    number = next(part for part in row["job"].split() if part.isdigit())
                    axes.annotate(number, (x, y), xytext=(3, -9), textcoords="offset points", fontsize=7)
            for label, quality in NETWORKS.items() if family == "lines" else ():
                axes.axhline(quality[place], linestyle=":", color="0.4")
                axes.annotate(
                    f"{label}, after 360 s of training", (0.99, quality[place]), xycoords=("axes fraction", "data"), ha="right",
                    xytext=(0, 3), textcoords="offset points", fontsize=7,
                )  # fmt: skip
            axes.set(xlabel="CPU seconds", ylabel=name, title=family, xlim=(0, None), ylim=(0.3, 1.02))
            axes.grid(alpha=0.3)
    figure.axes[-1].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def main():
    """Print one line for each scan and number of steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3, help="after the warm-up; 0 measures quality alone")
    parser.add_argument("--keep", type=Path, help="folder for the scans, kept; else a temporary one")
    parser.add_argument("--csv", type=Path, help="write the rows here too")
    parser.add_argument("--figure", type=Path, help="draw the dense scans, which need at least one run")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose name contains this")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) if args.keep is None else args.keep
        place.mkdir(exist_ok=True)
        for name, make, steps in scans(place):
            if args.rows and not any(word in name for word in args.rows):
                continue
            fits = FITS if name in {f"{family}, dense" for family in OBJECTS} else (5,)
            for row in measure(make(), steps, fits, args.backend, args.threads, args.runs):
                found.append({"scan": name, **row})
                print(", ".join(f"{key} {value}" for key, value in found[-1].items() if value != ""), flush=True)
    if args.csv is not None:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows(found)
    if args.figure is not None:
        draw(found, args.figure)


if __name__ == "__main__":
    main()
