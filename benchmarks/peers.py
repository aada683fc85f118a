"""The experiments of ``docs/physics.md`` in ptycho, pty-chi and PtyLab, from the same files, on one thread of a CPU.

    python benchmarks/peers.py [--seed 11] [EXPERIMENT ...]

Each engine runs in its own process with what it has for the experiment: ptycho by its defaults, pty-chi's LSQML and PtyLab's mPIE
with their own models of the fault, where they have one. The NRMSE is that of `ptycho score`; with positions that are off it
includes the shift of the whole. Seconds are those of the CPU, without imports. Engines as in ``engines.py``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from engines import ONE, Watch, by_ptycho, by_ptylab

import ptycho_core
from ptycho_core.cli.main import main as ptycho

EPOCHS = 100


class Experiment(NamedTuple):
    """A kind of scan: words of `ptycho simulate`, settings of ptycho, options of pty-chi, switches of PtyLab.

    None in place of the last two: the program has nothing for it, and runs as if there were no fault.
    """

    simulate: tuple[str, ...]
    ours: Mapping = MappingProxyType({})
    ptychi: Mapping | None = MappingProxyType({})
    ptylab: Mapping | None = MappingProxyType({})


SEARCH = {"refine_positions": "search"}
SHIFTS = {"positionCorrectionSwitch": True, "positionCorrectionSwitch_radius": 10}
NEAR = ("--regime", "near")
EXPERIMENTS = {
    "even dose": Experiment(()),
    "dose varies by 20 %": Experiment(("--flux-error", "0.2"), ptychi={"flux": True}, ptylab=None),
    "brightest 1 % clipped at a third": Experiment(("--saturation", "{third}"), ptychi=None, ptylab=None),
    "positions off by 3 px": Experiment(("--position-error", "3"), SEARCH, {"positions": True}, SHIFTS),
    "positions off by 7 px": Experiment(("--position-error", "7"), SEARCH, {"positions": True}, SHIFTS),
    "near field": Experiment(NEAR),
}
COMMON = ("--object", "random-lines", "--frames", "200", "--whole-pixels")


def by_ptychi(path, flux=False, positions=False):
    """A fit by LSQML, the default engine of pty-chi, through its own programming interface."""
    import torch

    from ptycho_backend_ptychi.conventions import Convention, Model, TheirModel, their_pixels
    from ptycho_backend_ptychi.library import library
    from ptycho_core.scan.canvas import object_canvas

    torch.set_num_threads(1)
    api, task = library(), import_module("ptychi.api.task").PtychographyTask
    scan = ptycho_core.open_scan(path)
    origin, shape = object_canvas(scan.positions, scan.size, 10)
    start = Model(np.ones(shape, dtype=complex), scan.probe, scan.positions - origin)
    convention, counts, near = Convention.of(start), scan.patterns.read(slice(None)), scan.propagation
    options = api.LSQMLOptions()
    options.reconstructor_options.num_epochs, options.reconstructor_options.batch_size = EPOCHS, 20
    options.reconstructor_options.default_device = api.Devices.CPU
    options.reconstructor_options.noise_model = "poisson"
    options.data_options.fft_shift = False
    options.object_options.determine_position_origin_coords_by = api.ObjectPosOriginCoordsMethods.SPECIFIED
    options.object_options.position_origin_coords = list(convention.origin)
    if near is not None:  # in pixels of 1 m
        options.data_options.wavelength_m = near.wavelength
        options.data_options.free_space_propagation_distance_m = near.distance / near.wavelength
    if flux:
        kind = type(options.opr_mode_weight_options)
        options.opr_mode_weight_options = kind(
            initial_weights=np.ones(1), optimizable=True, optimize_eigenmode_weights=False, optimize_intensity_variation=True
        )
    if positions:
        options.probe_position_options.optimizable = True
        options.probe_position_options.optimization_plan.start = 5
        options.probe_position_options.step_size = 1.0
    theirs = convention.theirs(start)
    order = their_pixels if near is None else np.asarray
    fit = task(
        options, diffraction_data=order(counts).astype(np.float32), object_data=theirs.object, probe_data=theirs.probe,
        probe_position_x_px=theirs.columns, probe_position_y_px=theirs.rows, valid_pixel_mask=order(scan.mask),
    )  # fmt: skip
    watch = Watch(path)
    fit.run(EPOCHS)
    array = {name: fit.get_data_to_cpu(name, as_numpy=True) for name in ("object", "probe", "probe_positions")}
    rows, columns = array["probe_positions"].astype(float).T
    found = convention.ours(TheirModel(array["object"], array["probe"], rows, columns))
    watch.look(found.object, found.probe, found.positions)
    return watch


def run(engine, name, path):
    """The watch after a fit."""
    it = EXPERIMENTS[name]
    if engine == "ptycho":
        return by_ptycho("torch", **it.ours)(path)
    if engine == "pty-chi":
        return by_ptychi(path, **(it.ptychi or {}))
    return by_ptylab("mPIE", EPOCHS, **(it.ptylab or {}))(path)


ENGINES = {"ptycho": "torch", "pty-chi": "ptychi", "PtyLab": "PtyLab"}
"""Name of each program, and the package that it needs."""


def main():
    """Print a row for each experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="only those whose name contains this")
    parser.add_argument("--seed", default="11")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        engine, name, path = args.one
        watch = run(engine, name, Path(path))
        print(json.dumps({"nrmse": watch.nrmse, "seconds": watch.seconds}))
        return
    print("| scan | " + " | ".join(f"{name}: NRMSE, CPU s" for name in ENGINES) + " |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole.npz", Path(folder) / "scan.npz"
        made = ("simulate", "--seed", args.seed, "--overwrite", *COMMON)
        with redirect_stdout(None):
            assert ptycho([made[0], str(whole), *made[1:]]) == 0
        with np.load(whole) as file:
            third = str(int(np.quantile(file["intensity"].max(axis=0), 0.99) / 3))
        for name, it in EXPERIMENTS.items():
            if args.experiments and not any(word in name for word in args.experiments):
                continue
            words = [word.format(third=third) for word in it.simulate]
            with redirect_stdout(None):
                assert ptycho([made[0], str(path), *made[1:], *words]) == 0
            print(f"| {name} | {' | '.join(cell(engine, name, path) for engine in ENGINES)} |", flush=True)


def cell(engine, name, path):
    """What one program reaches."""
    if find_spec(ENGINES[engine]) is None:
        return "not installed"
    words = [sys.executable, __file__, "--one", engine, name, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **ONE})
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    found = json.loads(done.stdout.strip().splitlines()[-1])
    without = {"pty-chi": EXPERIMENTS[name].ptychi, "PtyLab": EXPERIMENTS[name].ptylab}.get(engine, {}) is None
    return f"{found['nrmse']:.4f}, {found['seconds']:.0f}" + (" (not modeled)" if without else "")


if __name__ == "__main__":
    main()
