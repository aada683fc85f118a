"""Every verb on a GPU next to the same on the CPU: how far results part, peak memory of the GPU, and how much faster it is.

    python benchmarks/cuda.py [--device cuda] [--backends torch tensorflow] [--small]

Same seed, one epoch or iteration of each job, in single and double precision. Each backend has a process for the CPU and one for
the device. A job runs twice and the second time counts, since the first one starts the device. Exit status 1 if a difference is
above its limit, a job fails, or a backend has no such device. ``--device cpu`` checks the script itself: two processes on the
CPU, between which nothing may differ.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.backends.worker import Worker
from ptycho_core.cli.main import main as ptycho
from ptycho_core.conformance.limits import FITTED, INFERRED, LIMITS_ON_CUDA, STEPS
from ptycho_core.conformance.parity import relative_distance
from ptycho_core.contract import BatchRecipe, EvaluateJob
from ptycho_core.errors import PtychoError
from ptycho_core.evaluation import evaluate
from ptycho_core.formats.opening import open_scan
from ptycho_core.model import load_model
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.settings.planning import plan_verb
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_core.settings.resolution import resolve

SIMULATED = ("--size", "64", "--frames", "1024", "--modes", "2", "--position-error", "0.5", "--seed", "3")
SMALL = ("--size", "32", "--frames", "36", "--modes", "2", "--seed", "3")
TERMS = {"nll": 0.3, "amplitude": 1.0, "mae": 0.5, "tv": 2.0}
TRAINING = {
    "epochs": 1, "optimizer": "sgd", "learning_rate": 0.001, "scheduler": "constant", "update_steps": 2, "train_probe": True,
    "train_scale": True, "modes": 2,
}  # fmt: skip
"""Steps are as large as gradients, so that a gradient near zero does not change its sign into a step of full length."""

FIT = {"epochs": 1, "iterations": 1, "modes": 2, "refine_positions": "on", "background": "pixel"}
SECONDS = 280


def limits(precision):
    """Largest difference of each quantity that a verb gives; relative, relative L2 of arrays."""
    forward, loss, gradient = LIMITS_ON_CUDA[precision]
    batch = {"patches": forward, "intensities": forward, "losses": loss, "gradients": gradient}
    steps = {"float32": loss, "float64": STEPS}[precision]
    fit = {"float32": gradient, "float64": FITTED}[precision]
    return {
        "evaluate": batch, "evaluate a batch": batch, "train": {"losses": steps, "weights": gradient, "probe": gradient},
        "infer": {"object": {"float32": forward, "float64": INFERRED["float64"]}[precision]},
        "reconstruct": dict.fromkeys(("object", "power", "positions", "background", "history"), fit),
    }  # fmt: skip


# What runs in the process of a backend. ``job`` names the scan, the folder of its results, the model to infer and evaluate with,
# and the settings of training; ``how`` are the execution settings.


def check_device(how):
    """Raise what the backend says where it cannot compute there."""
    plan_verb("evaluate", how, os.environ)


def timed(verb, job, how):
    """Arrays by name, seconds of the second run, peak MB of the device (None on a CPU)."""
    for run in range(2):
        began = time.perf_counter()
        found = VERBS[verb](job, how)
        seconds = time.perf_counter() - began
        if run == 0 and how["accelerator"] == "cuda":
            peak_mb(how["backend"], reset=True)
    return {"found": found, "seconds": seconds, "MB": peak_mb(how["backend"]) if how["accelerator"] == "cuda" else None}


def peak_mb(backend, *, reset=False):
    """The framework's largest use of the first GPU since the last reset."""
    if backend == "torch":
        import torch

        return torch.cuda.reset_peak_memory_stats() if reset else torch.cuda.max_memory_allocated() / 1e6
    import tensorflow as tf

    experimental = tf.config.experimental
    return experimental.reset_memory_stats("GPU:0") if reset else experimental.get_memory_info("GPU:0")["peak"] / 1e6


def train(job, how):
    ptycho_core.train(job["scan"], job["folder"] / "run", overwrite=True, progress=False, **job["training"], **how)
    model = load_model(job["folder"] / "run" / "last.ptycho", training=True)
    exact = {name: value for name, value in model.training.arrays.items() if name.startswith("exact.")}
    weights = np.concatenate([model.weights[name].reshape(-1) for name in sorted(model.weights)])
    return {"losses": np.array([row["loss"] for row in model.history]), "weights": weights, "probe": exact["exact.probe"]}


def infer(job, how):
    return {"object": ptycho_core.infer(job["scan"], job["model"], progress=False, **how).object}


def reconstruct(job, how):
    found = ptycho_core.reconstruct(job["scan"], progress=False, **FIT, **how)
    history = [row[name] for row in found.history for name in ("loss", "misfit") if row[name] is not None]
    # Modes are known but for a unitary mixture, which leaves their summed power as it is.
    return {
        "object": found.object, "power": (np.abs(found.probe) ** 2).sum(0), "positions": found.positions,
        "background": found.background, "history": np.array(history),
    }  # fmt: skip


def evaluate_scan(job, how):
    scan = open_scan(job["scan"])
    start = prepare_start(scan, ReconstructionSettings(modes=2), seed=3)
    frames = np.arange(min(64, len(scan)))
    counts = scan.patterns.read(frames)
    # On a flat object a shift changes nothing: its gradient would be rounding alone.
    phase = np.random.default_rng(how["seed"]).normal(0.0, 0.3, start.object.shape)
    batch = EvaluateJob(
        start.object * np.exp(1j * phase), start.probe, start.positions[frames], counts, scan.mask, None, TERMS, True
    )
    return answered(evaluate(batch, **how))


def evaluate_batch(job, how):
    groups = resolve("train", overrides=job["training"] | {"seed": how["seed"]}).groups()
    recipe = BatchRecipe((job["scan"],), job["model"], groups, 0, np.arange(16)[:, None])
    return answered(evaluate(recipe, **how))


def answered(found):
    """The answer of `evaluate` as arrays."""
    gradients = {f"gradients of {name}": value for name, value in found.gradients.items()}
    losses = {f"losses: {name}": np.array(value) for name, value in found.losses.items()}
    patches = {} if found.patches is None else {"patches": found.patches}
    return {"intensities": found.intensities, **patches, **losses, **gradients}


VERBS = {
    "train": train, "infer": infer, "reconstruct": reconstruct, "evaluate": evaluate_scan, "evaluate a batch": evaluate_batch,
}  # fmt: skip


# What runs in the process that was started.


def outcomes(worker, device, scans, training, folder, models):
    """What each (scan, precision, verb) gave in one process on one device, its own files in ``folder``; an error where it failed.

    ``models`` is the folder whose models, which were trained on the CPU, all infer and evaluate with.
    """
    found = {}
    for name, precision, verb in itertools.product(scans, LIMITS_ON_CUDA, VERBS):
        how = {"backend": worker.backend, "accelerator": device, "precision": precision, "seed": 3}
        model = models / f"{name}-{precision}" / "run" / "last.ptycho"
        job = {"scan": scans[name], "folder": folder / f"{name}-{precision}", "model": model, "training": training}
        try:
            found[name, precision, verb] = worker.call(f"{__file__}:timed", verb, job, how, timeout=SECONDS)
        except PtychoError as error:
            found[name, precision, verb] = error
    return found


def row(key, cpu, other, largest):
    """A line of the table, and whether all is within its limit."""
    label = "{:<15} {:<8} {:<17}".format(*key)
    for where, outcome in (("CPU", cpu), ("device", other)):
        if isinstance(outcome, PtychoError):
            return f"{label} failed on the {where}: {outcome}", False
    parts = {}
    for name, value in cpu["found"].items():
        quantity = name.partition(" of ")[0].partition(":")[0]
        parts[name] = relative_distance(other["found"][name], value), largest[quantity]
    name = max(parts, key=lambda one: (parts[one][0] > parts[one][1], parts[one][0] / max(parts[one][1], 1e-300)))
    value, limit = parts[name]
    memory = "" if other["MB"] is None else f"  {other['MB']:8.0f} MB"
    times = f"{cpu['seconds']:7.2f} s / {other['seconds']:7.2f} s = {cpu['seconds'] / other['seconds']:6.2f}"
    right = all(one <= most for one, most in parts.values())
    return f"{label} {value:8.1e} / {limit:7.1e} {'' if right else 'ABOVE '}({name})  {times}{memory}", right


def compared(backend, device, scans, training, folder):
    """Print the rows of a backend; whether all is right."""
    right = True
    with Worker(backend) as first, Worker(backend) as second:
        try:
            second.call(f"{__file__}:check_device", {"backend": backend, "accelerator": device}, timeout=SECONDS)
        except PtychoError as error:
            print(f"{backend}: nothing is compared, as it cannot compute on {device} here: {error}")
            return False
        cpu = outcomes(first, "cpu", scans, training, folder / "cpu", folder / "cpu")
        first.close()
        other = outcomes(second, device, scans, training, folder / "device", folder / "cpu")
    print(f"{backend}: largest difference / limit, seconds on the CPU / on {device}, peak memory there")
    for key, outcome in cpu.items():
        largest = limits(key[1])[key[2]]
        line, fine = row(key, outcome, other[key], dict.fromkeys(largest, 0.0) if device == "cpu" else largest)
        print(f"  {line}", flush=True)
        right = right and fine
    return right


def main(words=None):
    """Print a table for each backend; 1 if anything is wrong, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="what is held against the CPU (default: cuda)")
    parser.add_argument("--backends", nargs="+", default=["torch", "tensorflow"], help="which (default: torch tensorflow)")
    parser.add_argument("--small", action="store_true", help="one small scan and network, to check the script")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ptycho(["simulate", str(folder / "scan.npz"), *(SMALL if args.small else SIMULATED)])
        scans = {"simulated": folder / "scan.npz"} | ({} if args.small else {"siemens-star": "sample:siemens-star"})
        training = TRAINING | ({"network_width": 4} if args.small else {})
        right = [compared(backend, args.device, scans, training, folder / backend) for backend in args.backends]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
