"""A large scan in compressed HDF5: peak memory of each verb, and the CPU seconds of `infer` next to those on an uncompressed npz.

    python benchmarks/large_scan.py [--frames 50000] [--size 128] [--backend torch] [--place FOLDER] [VERB ...]

Writes the same simulated scan (uint16) as CXI, in gzip chunks of one frame, and as uncompressed npz. Each verb runs the real
command in a separate process, with one thread: `train` and `reconstruct` one epoch. What unpacking alone costs is measured too:
every frame read once, in order, by HDF5. With FOLDER the files stay, and are made once.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np

PTYCHO = [sys.executable, "-c", "from ptycho_core.cli.main import run; run()"]
VERBS = ("inspect", "infer", "reconstruct", "train")
ENERGY_J, DISTANCE_M, PIXEL_M = 1.41e-15, 2.0, 75e-6
"""A geometry; any serves."""

NETWORK = ("--network", "compact", "--network-width", "4")


def measured(words):
    """CPU seconds, wall seconds and peak memory (MB) of one command."""
    begun = time.perf_counter()
    process = subprocess.Popen([*PTYCHO, *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"ptycho {' '.join(map(str, words))} ended with {process.returncode}")
    return {"CPU s": used.ru_utime + used.ru_stime, "wall s": time.perf_counter() - begun, "MB": used.ru_maxrss / 1024}


def simulate(place, frames, size):
    """One block of patterns by the real simulation, repeated along the columns of the object until there are enough.

    What is measured does not depend on what the patterns show, and a simulation of all of them would take longer than the rest.
    """
    block = place / "block.npz"
    words = ["simulate", block, "--size", size, "--frames", 2000, "--object", "random-field", "--seed", 1]
    measured([*words, "--overwrite"])
    with np.load(block) as arrays:
        counts = arrays["intensity"].astype(np.uint16)
        positions, probe = arrays["positions_px"], arrays["probe_guess"]
    turns = -(-frames // len(counts))
    width = np.ptp(positions[:, 1]) + 5.0
    moved = np.concatenate([positions + np.array((0.0, turn * width)) for turn in range(turns)])[:frames]
    return counts, moved, probe


def write(place, frames, size):
    """The two files of the scan, where they are not there yet, and what the verbs need besides."""
    packed, plain = place / "scan.cxi", place / "scan.npz"
    if packed.exists() and plain.exists():
        return
    counts, positions, probe = simulate(place, frames, size)
    object_pixel = 1.98644586e-25 / ENERGY_J * DISTANCE_M / (size * PIXEL_M)
    with h5py.File(packed, "w") as file:
        file["cxi_version"] = 160
        source = file.create_group("entry_1/instrument_1/source_1")
        source["energy"] = ENERGY_J
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = DISTANCE_M, PIXEL_M, PIXEL_M
        data = detector.create_dataset("data", (frames, size, size), "u2", chunks=(1, size, size), compression="gzip")
        for first in range(0, frames, len(counts)):
            data[first : first + len(counts)] = counts[: frames - first]
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        where = np.zeros((frames, 3))
        where[:, 1], where[:, 0] = -positions[:, 0] * object_pixel, -positions[:, 1] * object_pixel
        file["entry_1/sample_1/geometry_1/translation"] = where
        file["entry_1/instrument_1/source_1/illumination"] = probe
    every = counts[np.arange(frames) % len(counts)]
    np.savez(plain, intensity=every, positions_px=positions, signal=np.array("counts"), probe_guess=probe)
    np.savez(place / "probe.npz", probe=probe)
    np.savez(
        place / "small.npz", intensity=counts[:400], positions_px=positions[:400], signal=np.array("counts"), probe_guess=probe
    )


def unpacking(path):
    """CPU seconds of HDF5 to give every frame once."""
    begun = time.process_time()
    with h5py.File(path, "r") as file:
        data = file["entry_1/instrument_1/detector_1/data"]
        for first in range(0, len(data), 256):
            data[first : first + 256]
    return time.process_time() - begun


def commands(verb, scan, place, backend):
    """The words of a verb on one of the files."""
    probe = ("--probe", place / "probe.npz")
    common = ("-o", place / "out", "--overwrite", "--backend", backend, "--threads", "1", "--quiet", "--no-figures")
    return {
        "inspect": ["inspect", scan],
        "infer": ["infer", scan, "--model", place / "small", *probe, *common],
        "reconstruct": ["reconstruct", scan, *probe, "--epochs", "1", "--iterations", "0", *common],
        "train": ["train", scan, *probe, "--epochs", "1", *NETWORK, *common],
    }[verb]


def row(verb, name, spent):
    print(f"| {verb} | {name} | {spent['CPU s']:.1f} | {spent['wall s']:.1f} | {spent['MB']:.0f} |", flush=True)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verbs", nargs="*", metavar="VERB", help=f"of {', '.join(VERBS)} (default: all)")
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--place", type=Path, help="folder for the files (default: one that is removed)")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as away:
        place = args.place or Path(away)
        place.mkdir(parents=True, exist_ok=True)
        # By another process: a child's peak memory begins with what its parent holds.
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(place, args.frames, args.size))
        writer.start()
        writer.join()
        packed, plain = place / "scan.cxi", place / "scan.npz"
        sizes = [path.stat().st_size / 1e6 for path in (packed, plain)]
        print(f"{args.frames} frames of {args.size} x {args.size}: {sizes[0]:.0f} MB packed, {sizes[1]:.0f} MB not")
        if "infer" in (args.verbs or VERBS):
            how = ("--backend", args.backend, "--threads", "1", "--quiet", "--no-figures", "--overwrite")
            measured(["train", place / "small.npz", "-o", place / "small", "--epochs", "1", *NETWORK, *how])
        print("| verb | file | CPU s | wall s | peak MB |\n|---|---|---|---|---|")
        spent = {}
        for verb in args.verbs or VERBS:
            for name, scan in [("packed", packed), ("plain", plain)][: 2 if verb == "infer" else 1]:
                spent[verb, name] = measured(commands(verb, scan, place, args.backend))
                row(verb, name, spent[verb, name])
        if "infer" in (args.verbs or VERBS):
            alone = unpacking(packed)
            ratio = (spent["infer", "packed"]["CPU s"] - alone) / spent["infer", "plain"]["CPU s"]
            print(f"infer, packed without the {alone:.1f} s of unpacking, over plain: {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
