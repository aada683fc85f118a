"""Files that an earlier version left are read whole; README.md says what they are."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.formats.product import read_object, read_probe
from ptycho_core.model import load_model

GOLDEN = Path(__file__).parent


def test_every_part_of_the_result_is_read():
    with h5py.File(GOLDEN / "result" / "reconstruction.h5", "r") as file:
        assert file["ptycho"].attrs["version"] == 1
        stored = {name: file[name][()] for name in ("object", "probe", "loss_values")}
        own = {
            name: file[f"ptycho/{name}"][()]
            for name in ("positions_px", "object_origin", "background", "mask", "held_out_frames")
        }
    found = ptycho_core.load_reconstruction(GOLDEN / "result")
    assert np.array_equal(found.object, stored["object"][0])
    assert np.array_equal(found.probe, stored["probe"][0])
    assert found.probe.shape == (2, 32, 32)
    for name, array in zip(own, (found.positions, found.origin, found.background, found.mask, found.held_out), strict=True):
        assert np.array_equal(array, own[name]), name
    assert [row["loss"] for row in found.history if row["loss"] is not None] == list(stored["loss_values"])
    assert found.settings["settings"]["modes"]["value"] == 2
    assert found.facts["stored_size"] is None
    assert np.array_equal(read_object(GOLDEN / "result").object, found.object)
    assert np.array_equal(read_probe(GOLDEN / "result"), found.probe)


def test_the_result_is_scored_as_it_was(tmp_path):
    words = ["score", GOLDEN / "result", "--reference", GOLDEN / "scan.npz", "--scan", GOLDEN / "scan.npz", "-o", tmp_path]
    assert main([str(word) for word in words]) == 0
    kept = json.loads((GOLDEN / "kept.json").read_text())["score"]
    found = json.loads((tmp_path / "score.json").read_text())
    assert {name: found[name] for name in kept} == pytest.approx(kept, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "steps"),
    [("gridsize-1/best.ptycho", 1, 0), ("gridsize-1/last.ptycho", 1, 10), ("gridsize-2/last.ptycho", 2, 6)],
)
def test_models_and_checkpoints_are_read(name, side, steps):
    model = load_model(GOLDEN / name, training=steps > 0)
    assert (model.size, model.gridsize, len(model.history)) == (32, side, 2)
    assert model.physics["probe"].shape == (1, 1, 32, 32)
    assert model.physics["log_scale"][0] != 0
    assert model.facts["train_probe"] is True
    assert {f"{layer['name']}.weight" for layer in model.network["layers"] if layer["op"] == "convolution"} < model.weights.keys()
    if not steps:
        assert model.training is None
        return
    assert (model.training.state["epoch"], model.training.state["steps"]) == (3, steps)
    assert np.any(model.training.arrays["optimizer.physics.probe.mean"])
    assert ("optimizer.physics.probe.square" in model.training.arrays) == (side == 1)
