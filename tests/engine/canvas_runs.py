"""Scans whose probe is known, and trainings of a network on the canvas with them, by the real commands."""

from ptycho_core.cli.main import main

__all__ = ["simulated", "train"]


def simulated(folder, seed, *words):
    path = folder / f"{seed}.npz"
    assert main(["simulate", str(path), "--defocus-fraction", "1", "--seed", str(seed), *words]) == 0
    return path


def train(*words, backend):
    common = ["--backend", backend, "--threads", "1", "--quiet", "--no-figures", "--network", "canvas"]
    return main(["train", *map(str, words), *common])
