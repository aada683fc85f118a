"""CPU seconds and peak memory of ``ptycho score`` on large objects.

    python benchmarks/registration.py [--sizes 1000 2000] [--result RESULT --reference FILE]

A smooth random object against itself moved by (1, 2) pixels, with a phase ramp and 2 % of noise; then the pair that is named.
Each row is a separate process, imports and reading included.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def smooth_object(size, seed=0, cut=0.04):
    """Amplitude 0.7 to 1 and phase of one radian, (size, size), without detail finer than 1 / ``cut`` pixels."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    low = np.exp(-((frequency / cut) ** 2))
    fields = [np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) * low, (size, size)) for _ in range(2)]
    amplitude, phase = (one / np.abs(one).max() for one in fields)
    return (0.85 + 0.15 * amplitude) * np.exp(1j * phase)


def moved(image, shift=(1, 2), ramp=(0.01, -0.02), noise=0.02, seed=1):
    """The image rolled, with a ramp in radians a pixel, and noise as a part of its root mean square."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    level = noise * np.sqrt(np.mean(np.abs(image) ** 2) / 2)
    found = np.roll(image, shift, (0, 1)) * np.exp(1j * (ramp[0] * rows + ramp[1] * columns))
    return found + level * (rng.normal(size=image.shape) + 1j * rng.normal(size=image.shape))


def measured(result, reference):
    """Score of one pair, its CPU seconds and its peak memory in MB."""
    words = [sys.executable, "-m", "ptycho_core", "score", str(result), "--reference", str(reference), "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    values = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return values, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def write_pair(size, folder):
    """Write ``truth.npy`` and ``result.npy``."""
    truth = smooth_object(size)
    np.save(folder / "truth.npy", truth)
    np.save(folder / "result.npy", moved(truth))


def rows(arguments, folder):
    """Name, result and reference of each row."""
    for size in arguments.sizes:
        # Made by another process: a child's peak memory begins with what its parent holds.
        writer = multiprocessing.get_context("spawn").Process(target=write_pair, args=(size, folder))
        writer.start()
        writer.join()
        yield f"smooth, {size} x {size}", folder / "result.npy", folder / "truth.npy"
    if arguments.result:
        yield arguments.result, arguments.result, arguments.reference


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 2000])
    parser.add_argument("--result")
    parser.add_argument("--reference")
    with tempfile.TemporaryDirectory() as folder:
        for name, result, reference in rows(parser.parse_args(), Path(folder)):
            values, seconds, memory = measured(result, reference)
            print(f"{name:28s} {seconds:6.1f} CPU s {memory:6.0f} MB   NRMSE {values['nrmse']:.8f}", flush=True)
