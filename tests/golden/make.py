"""Made the golden files beside it: ``python make.py FOLDER``, with the commit that README.md names; see there.

The test takes from here what is done with the files and what of it is kept.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.model import TrainingState, load_model, save_model
from ptycho_core.networks import initial_weights

SIMULATE = "simulate {golden}/scan.npz --size 32 --frames 25 --overlap 0.75 --photons 1e5 --seed 3"
RESULT = (
    "reconstruct {golden}/scan.npz -o {golden}/result --modes 2 --refine-positions --background pixel --held-out 0.1 --epochs 4 "
    "--iterations 8 --seed 1"
)
TRAIN = "train {golden}/scan.npz -o {golden}/gridsize-%d --gridsize %d --train-probe --train-scale --network-width 4 --seed 2 "
HOW = {
    1: "--update-steps 3 --batch-size 6",
    2: "--update-steps 2 --batch-size 8 --merge group --validation-split 0.2 --optimizer sgd --learning-rate 0.01",
}
TORCH = "--backend torch --precision float32 --threads 1 --quiet"

AGAIN = {
    "fit": ("reconstruct", {
        "modes": 2, "refine_positions": True, "background": "pixel", "total_variation": 0.5, "coarse_start": True,
        "held_out": 0.1, "batch_size": 8, "epochs": 2, "iterations": 6,
    }),
    "poisson": ("reconstruct", {"likelihood": "poisson", "coarse_start": False, "epochs": 1, "iterations": 5}),
    "refined": ("reconstruct", {"start": "result", "probe": "result", "modes": 2, "epochs": 0, "iterations": 4}),
    "begun": ("reconstruct", {"start": "gridsize-1", "epochs": 1, "iterations": 3}),
    "inferred-1": ("infer", {"model": "gridsize-1"}),
    "inferred-2": ("infer", {"model": "gridsize-2/last.ptycho"}),
    "resumed-1": ("train", {"output_dir": "gridsize-1"}),
    "resumed-2": ("train", {"output_dir": "gridsize-2"}),
}  # fmt: skip
"""What is done with the files in double precision: function of ``ptycho_core`` and settings; what is a file is one of these."""

FILES = ("start", "probe", "model")

SCORES = ("nrmse", "correlation", "misfit")

PLACES = 12
"""Entries that are kept of an array, spread evenly."""


def run(line, **places):
    """Run a command line of ptycho in this process; it must end well."""
    assert main([word.format(**places) for word in line.split()]) == 0, line


def again(name, golden, scratch, backend, **more):
    """Do one of ``AGAIN`` with the files in a folder; what is kept of what it gave: numbers by name, each a list."""
    verb, settings = AGAIN[name]
    settings = {key: golden / value if key in FILES else value for key, value in settings.items()}
    settings |= {"backend": backend, "precision": "float64", "progress": False, **more}
    if verb == "train":
        folder = shutil.copytree(golden / settings.pop("output_dir"), scratch / name)
        ptycho_core.train(golden / "scan.npz", folder, resume=True, epochs=3, **settings)
        model = load_model(folder / "last.ptycho", training=True)
        arrays = {key: value for key, value in model.training.arrays.items() if "square" not in key}
        return columns(model.history[-1:]) | {key: spread(value) for key, value in arrays.items()}
    found = getattr(ptycho_core, verb)(golden / "scan.npz", **settings)
    arrays = {key: getattr(found, key) for key in ("object", "probe", "positions", "background")}
    return columns(found.history) | {key: spread(value) for key, value in arrays.items() if value is not None}


def columns(history):
    """The figures of a history by column, where something was measured."""
    names = ("loss", "misfit", "held_out", "validation_loss", "learning_rate", "output_deviation")
    found = {name: [row[name] for row in history if row.get(name) is not None] for name in names}
    return {f"history {name}": values for name, values in found.items() if values}


def spread(array):
    """Entries of an array, spread evenly, complex ones as two numbers, after the root of the mean square of all."""
    flat = np.ascontiguousarray(array).reshape(-1)
    flat = flat.view(flat.real.dtype).astype(float)
    some = flat[np.unique(np.linspace(0, flat.size - 1, PLACES).astype(int))]
    return [float(np.sqrt(np.mean(flat**2))), *map(float, some)]


def small_network(network):
    """The description of a network with each kind of layer and few weights, for the ends of another one."""
    outputs = network["output_channels"]

    def convolution(name, given, channels, kernel, stride=1, gain=1.0):
        return {
            "name": name, "op": "convolution", "from": [given],
            "channels": channels, "kernel": kernel, "stride": stride, "gain": gain,
        }  # fmt: skip

    layers = [
        {"name": "fold", "op": "fold", "from": ["input"]},
        convolution("enter", "fold", 2, 3),
        {"name": "enter_silu", "op": "silu", "from": ["enter"]},
        convolution("down", "enter_silu", 2, 2, stride=2),
        {"name": "down_silu", "op": "silu", "from": ["down"]},
        convolution("up", "down_silu", 8, 1),
        {"name": "rise", "op": "unfold", "from": ["up"]},
        {"name": "join", "op": "add", "from": ["enter", "rise"]},
        {"name": "join_silu", "op": "silu", "from": ["join"]},
        convolution("exit", "join_silu", 4 * outputs, 1, gain=0.2),
        {"name": "unfold", "op": "unfold", "from": ["exit"]},
    ]
    return {**network, "layers": layers}


def train(golden, side):
    """Two epochs of a small network. No setting makes one so small: a checkpoint that stands before the first step is edited."""
    folder = golden / f"gridsize-{side}"
    line = f"{TRAIN % (side, side)} {HOW[side]} {TORCH}"
    run(f"{line} --epochs 1", golden=golden)
    model = load_model(folder / "last.ptycho", training=True)
    network = small_network(model.network)
    state = {**model.training.state, "epoch": 1, "steps": 0, "seconds": 0.0}
    model = replace(model, network=network, weights=initial_weights(network, 2), history=(), training=TrainingState({}, state))
    (folder / "best.ptycho").unlink()
    save_model(folder / "last.ptycho", model)
    run(f"train {{golden}}/scan.npz -o {folder} --resume --epochs 2 {TORCH}", golden=golden)
    best = load_model(folder / "best.ptycho")
    for path in [*folder.glob("*.png"), *folder.glob("*.json"), *folder.glob("*.csv"), folder / "best.ptycho"]:
        path.unlink()
    if side == 1:  # without the state of the training: a model alone, as a run without checkpoints leaves it
        save_model(folder / "best.ptycho", best)


def make(golden):
    """Write the files into a folder, and what PyTorch gives with them."""
    golden.mkdir()
    run(SIMULATE, golden=golden)
    run(f"{RESULT} {TORCH}", golden=golden)
    for path in (golden / "result").glob("*[!5]"):
        path.unlink()
    for side in (1, 2):
        train(golden, side)
    with tempfile.TemporaryDirectory() as scratch:
        run("score {golden}/result --reference {golden}/scan.npz --scan {golden}/scan.npz -o {out}", golden=golden, out=scratch)
        scored = json.loads((Path(scratch) / "score.json").read_text())
        kept = {"score": {name: scored[name] for name in SCORES}}
        kept |= {name: again(name, golden, Path(scratch), "torch", threads=1) for name in AGAIN}
    rows = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in kept.items()]
    (golden / "kept.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
