"""What stands in the bad pixels of a scan changes nothing that is learned, judged, kept or inferred, whatever the loss."""

import json

import numpy as np
import pytest

import ptycho_core
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model

SMALL = {"epochs": 2, "network_width": 4, "update_steps": 1, "batch_size": 20, "threads": 1, "n_subsample": 30}
EVERYTHING = SMALL | {
    "gridsize": 2, "train_probe": True, "train_scale": True, "validation_split": 0.2, "nll_weight": 0.5, "mae_weight": 0.5,
    "tv_weight": 0.1, "realspace_weight": 0.5,
}  # fmt: skip
TIMES = ("seconds", "patterns_per_second")


@pytest.fixture
def spoilt(scans, tmp_path):
    """The same scan twice: nothing in its bad pixels, and far more than anywhere else. The mask has no symmetry."""
    with np.load(scans[0]) as file:
        arrays = {name: file[name] for name in file.files}
    mask = np.random.default_rng(5).random((32, 32)) > 0.05
    mask[9:12, 20:30] = False
    found = []
    for name, value in (("dark", 0), ("bright", 60000)):
        (tmp_path / name).mkdir()
        counts = np.where(mask, arrays["intensity"], value).astype(np.uint16)
        found.append(tmp_path / name / "scan.npz")
        np.savez(found[-1], **arrays | {"intensity": counts, "mask": mask})
    return found


def test_spoilt_pixels_leave_every_bit_as_it_is(spoilt, tmp_path):
    for path in spoilt:
        ptycho_core.train(path, path.parent / "run", **EVERYTHING)
        ptycho_core.infer(path, path.parent / "run", path.parent / "out", threads=1)
    one, other = (load_model(path.parent / "run" / "last.ptycho", training=True) for path in spoilt)
    rows = [[{name: row[name] for name in row if name not in TIMES} for row in model.history] for model in (one, other)]
    assert rows[0] == rows[1]
    assert one.scaling == other.scaling
    for held, again in ((one.weights, other.weights), (one.physics, other.physics), (one.training.arrays, other.training.arrays)):
        assert [name for name in held if not np.array_equal(held[name], again[name])] == []
    objects = [load_reconstruction(path.parent / "out").object for path in spoilt]
    assert np.array_equal(*objects)
    misfits = [json.loads((path.parent / "out" / "metrics.json").read_text())["misfit"] for path in spoilt]
    assert misfits[0] == misfits[1]
