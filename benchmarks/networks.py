"""What a network on the canvas adds to the untrained pass: quality after few steps, few counts and few frames, and seeds.

    python benchmarks/networks.py [--backend torch] [--epochs 40] [--keep FOLDER] [--csv FILE] [ROW ...]
    python benchmarks/networks.py --seeds 20 [--backend torch] [--keep FOLDER]

Each row trains one network on a scan of lines by the scan's own reconstruction, and infers a scan of lines and one of pictures
that took no part. Next to it stands the untrained pass with the same steps, and with the steps that took as long. With --seeds it
trains so many small networks, and prints what each training says of itself next to what is found afterwards.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.cli.main import main as ptycho
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.model import load_model

DENSE = ["--scan", "random", "--field", 192, "--step", 4.2933, "--defocus-fraction", 1]
"""2000 patterns of 64 x 64 pixels; each object pixel is seen by 10 to 28 windows."""

FAMILIES = {"lines": "random-lines", "natural": "natural"}
TAUGHT, VALIDATED, TESTED = 1, 2, 101
"""Seeds of the scans: what is learned from, what the training compares itself on, what is tested."""

ROWS = {"dense": {}, "1e4 counts": {"photons": 1e4}, "1e3 counts": {"photons": 1e3}, "150 frames": {"frames": 150}}
SMALL = ["--size", 32, "--frames", 120, "--step", 3, "--photons", 1e6, "--defocus-fraction", 1]
FIGURES = ("ssim_amplitude", "ssim_phase", "nrmse")


def simulated(place, name, *words):
    """A scan made by `ptycho simulate`, made once."""
    path = place / f"{name.replace(' ', '-')}.npz"
    if not path.exists():
        assert ptycho(["simulate", str(path), *map(str, words)]) == 0
    return path


def thinned(path, frames):
    """So many frames of a scan, drawn at random."""
    thin = path.with_stem(f"{path.stem}-{frames}")
    if not thin.exists():
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        chosen = np.sort(np.random.default_rng(0).choice(len(arrays["intensity"]), frames, replace=False))
        arrays |= {name: value[chosen] for name, value in arrays.items() if name.startswith(("intensity", "position"))}
        write_plain_npz(thin, arrays)
    return thin


def made(place, family, seed, photons=1e6, frames=None):
    """The scan of a row."""
    words = ["--object", FAMILIES[family], "--seed", seed, "--photons", photons, *DENSE]
    path = simulated(place, f"{family} {seed} {photons:g}", *words)
    return path if frames is None else thinned(path, frames)


def scored(scan, **how):
    """The figures of an inference next to the truth."""
    score = ptycho_core.score(ptycho_core.infer(scan, threads=1, **how), scan)
    return [getattr(score, name) for name in FIGURES]


def measure(place, name, backend, epochs):
    """The rows of one training."""
    taught, validated = made(place, "lines", TAUGHT, **ROWS[name]), made(place, "lines", VALIDATED, **ROWS[name])
    began = time.process_time()
    run = place / f"run {name} {backend}"
    how = {"network": "canvas", "labels": "reconstruct", "epochs": epochs, "backend": backend, "threads": 1}
    model = ptycho_core.train(taught, run, validation=[validated], overwrite=True, figures=False, **how)
    seconds, told = time.process_time() - began, model.untrained
    steps = int(model.network["estimate"]["steps"])
    for family in FAMILIES:
        scan = made(place, family, TESTED, **ROWS[name])
        jobs = {f"{steps} steps and network": {"model": run}, f"{steps} steps": {"update_steps": steps}}
        jobs[f"{told['steps']} steps, as long"] = {"update_steps": told["steps"]}
        for job, words in jobs.items():
            found = dict(zip(FIGURES, scored(scan, backend=backend, **words), strict=True))
            yield {
                "scan": f"{family}, {name}", "job": job, **{key: f"{value:.4f}" for key, value in found.items()},
                "CPU s of training": f"{seconds:.0f}" if "model" in words else "",
                "said": "better" if told["better"] else "no better",
            }  # fmt: skip


def seeds(place, number, backend):
    """What each of so many short trainings says of its network, and what is found on another scan."""
    scans = [simulated(place, f"small {seed}", "--object", "random-lines", "--seed", seed, *SMALL) for seed in (5, 6, 7)]
    plain = scored(scans[2], backend=backend, update_steps=5)[-1]
    for seed in range(number):
        run = place / f"seed {seed} {backend}"
        how = {"network": "canvas", "labels": "reconstruct", "epochs": 15, "batch_size": 40, "network_width": 8, "seed": seed}
        model = ptycho_core.train(
            scans[0],
            run,
            validation=[scans[1]],
            overwrite=True,
            figures=False,
            backend=backend,
            threads=1,
            learning_rate=3e-3,
            **how,
        )
        notes = json.loads((run / "metrics.json").read_text())["notes"]
        found = scored(scans[2], model=run, backend=backend)[-1]
        yield {
            "seed": seed, "loss": f"{load_model(run).history[-1]['loss']:.5f}", "collapse said": "yes" if notes else "no",
            "said": "better" if model.untrained["better"] else "no better than untrained",
            "error there": f"{model.untrained['network']:.4f}", "5 steps there": f"{model.untrained['same_steps']:.4f}",
            "NRMSE on another scan": f"{found:.4f}", "5 steps": f"{plain:.4f}",
        }  # fmt: skip


def main():
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=0, help="so many short trainings in place of the rows")
    parser.add_argument("--keep", type=Path, help="folder for scans and models, kept; else a temporary one")
    parser.add_argument("--csv", type=Path, help="write the rows here too")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"only rows whose name contains this: {', '.join(ROWS)}")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) if args.keep is None else args.keep
        place.mkdir(exist_ok=True)
        chosen = [name for name in ROWS if not args.rows or any(word in name for word in args.rows)]
        every = (row for name in chosen for row in measure(place, name, args.backend, args.epochs))
        for row in seeds(place, args.seeds, args.backend) if args.seeds else every:
            found.append(row)
            print(", ".join(f"{key} {value}" for key, value in row.items() if value != ""), flush=True)
    if args.csv is not None:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
