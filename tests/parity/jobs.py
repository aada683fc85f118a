"""Run in the worker process of a backend: whole jobs through the public face, and what they gave as plain arrays."""

from pathlib import Path

import ptycho_core
from ptycho_core.model import load_model

__all__ = ["go_on", "infer", "reconstruct", "train"]


def train(scan, folder, settings):
    """Losses of the epochs and the weights at the end."""
    ptycho_core.train(scan, folder, overwrite=True, progress=False, figures=False, **settings)
    model = load_model(Path(folder) / "last.ptycho", training=True)
    arrays = {name.removeprefix("exact."): value for name, value in model.training.arrays.items() if name.startswith("exact.")}
    return {"losses": [row["loss"] for row in model.history], "steps": model.training.state["steps"], "probe": arrays["probe"]}


def infer(scan, model, settings):
    """The stitched object."""
    found = ptycho_core.infer(scan, model, progress=False, **settings)
    return {"object": found.object}


def reconstruct(scan, settings):
    """Object, probe, positions, background and what was written down on the way."""
    found = ptycho_core.reconstruct(scan, progress=False, **settings)
    names = ("object", "probe", "positions", "background", "history", "held_out")
    return {name: getattr(found, name) for name in names}


def go_on(scan, folder, settings):
    """As `train`, from the checkpoint in the folder."""
    ptycho_core.train(scan, folder, resume=True, progress=False, figures=False, **settings)
    model = load_model(Path(folder) / "last.ptycho")
    return {"losses": [row["loss"] for row in model.history], "backend": model.producer["backend"]}
