"""Quality against CPU seconds on one simulated scan: ptycho's fit, two engines of pty-chi, and mPIE of PtyLab.

    python benchmarks/engines.py [ENGINE ...]

Each engine runs with its defaults in its own process, on one thread, from the same patterns, positions and probe guess.
Positions lie on whole pixels, since PtyLab rounds them. Seconds exclude imports, a first short fit, and scoring; those of
pty-chi include the misfit of 64 frames that its backend computes after each epoch. The NRMSE is that of `ptycho score`. An
engine that is not installed is named as such: pty-chi goes with ``pip install --no-deps ptychi`` and what the README of its
plugin names, PtyLab with ``pip install ptylab``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

ONE = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TQDM_DISABLE": "1",
    "MPLBACKEND": "Agg",
    "OPENBLAS_NUM_THREADS": "1",
}
os.environ.update(ONE)

import h5py
import numpy as np

import ptycho_core
from ptycho_core.cli.main import main as ptycho
from ptycho_core.formats.product import StoredObject, read_object

LEVELS = (0.10, 0.05, 0.02)
SCAN = ["--object", "random-lines", "--whole-pixels", "--seed", "11"]
PLUGIN = Path(__file__).parents[1] / "examples" / "plugins" / "ptychi"


class Watch:
    """Scores each state of an object that it is shown, and takes the time that this takes off the clock."""

    snapshot_seconds = 0.0

    def __init__(self, path):
        self.truth = read_object(path, "reference")
        self.began, self.scoring = time.process_time(), 0.0
        self.reached, self.seconds, self.nrmse = dict.fromkeys(LEVELS), 0.0, float("nan")

    def __call__(self, event):
        """Take an event."""

    def snapshot(self, now):
        """Look at a state, unless its pixels are coarser than those of the truth."""
        if now.stage != "coarse":
            self.look(now.object, now.probe, now.positions)

    def look(self, image, probe, positions):
        """Score a state."""
        entered = time.process_time()
        self.seconds = entered - self.began - self.scoring
        self.nrmse = ptycho_core.score(StoredObject(image, probe, positions), self.truth).nrmse
        for level in LEVELS:
            if self.nrmse <= level and self.reached[level] is None:
                self.reached[level] = self.seconds
        self.scoring += time.process_time() - entered


def by_ptycho(backend, **settings):
    """A fit by a backend of ptycho."""

    def run(path):
        if backend == "ptychi":
            sys.path.insert(0, str(PLUGIN))
            import ptycho_backend_ptychi.plugin as plugin

            ptycho_core.backends.register("ptychi", plugin, Path(plugin.__file__).with_name("ptycho-backend.toml"))
        common = settings | {"backend": backend, "threads": 1, "progress": False}
        ptycho_core.reconstruct(path, **common | {"epochs": 1} | ({} if backend == "ptychi" else {"iterations": 1}))
        watch = Watch(path)
        found = ptycho_core.reconstruct(path, observers=[watch], **common)
        watch.look(found.object, found.probe, found.positions)
        return watch

    return run


def by_ptylab(name, iterations, **switches):
    """A fit by an engine of PtyLab, whose far field is unitary and whose windows are cut at whole pixels."""

    def run(path):
        import PtyLab

        scan = ptycho_core.open_scan(path, {"margin": 0})  # it knows no masked pixels
        near, wavelength, distance, width = scan.propagation, 1e-10, 1.0, 1e-4
        if near is not None:  # in pixels of 1 m
            wavelength, distance, width = near.wavelength, near.distance / near.wavelength, 1.0
        pixel = wavelength * distance / (scan.size * width) if near is None else width
        corners = np.rint(scan.positions - (scan.positions.min(axis=0) + scan.positions.max(axis=0)) // 2)
        with h5py.File(path.with_suffix(".h5"), "w") as file:
            file["ptychogram"] = scan.patterns.read(slice(None)).astype(np.float32)
            file["encoder"] = corners * pixel
            file["wavelength"], file["zo"], file["dxd"] = wavelength, distance, width
        data = PtyLab.ExperimentalData(path.with_suffix(".h5"), "CPM")
        params = PtyLab.Params()
        params.gpuSwitch, params.fftshiftSwitch = False, near is None
        params.propagatorType = "Fraunhofer" if near is None else "ASP"
        for key, value in switches.items():
            setattr(params, key, value)
        found = PtyLab.Reconstruction(data, params)
        found.initialObject = "ones"
        found.initializeObjectProbe()
        found.probe = found.initialGuessProbe = scan.probe.reshape(found.probe.shape).astype(np.complex64)
        engine = getattr(PtyLab.Engines, name)(found, data, params, PtyLab.DummyMonitor())
        engine.numIterations = iterations
        np.random.seed(0)  # noqa: NPY002 - what PtyLab draws from
        watch = Watch(path)

        def look(_, state):
            watch.look(state.object.squeeze(), state.probe.reshape(-1, scan.size, scan.size), state.positions.astype(float))

        engine.reconstruct(vis_after_each_iteration=look)
        return watch

    return run


ENGINES = {
    "ptycho, torch": ("torch", by_ptycho("torch")),
    "ptycho, numpy": ("numpy", by_ptycho("numpy")),
    "pty-chi LSQML": ("ptychi", by_ptycho("ptychi", epochs=60)),
    "pty-chi rPIE": ("ptychi", by_ptycho("ptychi", epochs=60, **{"ptychi.engine": "rpie"})),
    "PtyLab mPIE": ("PtyLab", by_ptylab("mPIE", 120)),
}
"""Name of each engine, the package that it needs, and how it is run."""


def in_words(found):
    """The cells of a row."""
    reached = ["–" if at is None else f"{at:.1f}" for at in found["reached"]]
    return [*reached, f"{found['nrmse']:.4f}", f"{found['seconds']:.1f}"]


def main():
    """Print a row for each engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help="only engines whose name contains this")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        watch = ENGINES[args.one[0]][1](Path(args.one[1]))
        print(json.dumps({"reached": [*watch.reached.values()], "nrmse": watch.nrmse, "seconds": watch.seconds}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.npz"
        assert ptycho(["simulate", str(path), *SCAN]) == 0
        print(
            "| engine | CPU s to NRMSE " + " | ".join(f"{level:g}" for level in LEVELS) + " | NRMSE in the end | CPU s in all |"
        )
        print("|---" * 6 + "|")
        for name, (package, _) in ENGINES.items():
            if args.engines and not any(word in name for word in args.engines):
                continue
            if find_spec(package) is None:
                print(f"| {name} | not installed |")
                continue
            done = subprocess.run([sys.executable, __file__, "--one", name, str(path)], capture_output=True, text=True)
            last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]
            cells = in_words(json.loads(last)) if done.returncode == 0 else [f"failed: {last}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
