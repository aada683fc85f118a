"""``reconstruction.h5`` in the real ptychodus, which lives in its own environment that ``make test-all`` makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import ptycho_core
from ptycho_core.formats.product import read_object

HERE = Path(__file__).parent / "ptychodus"
PYTHON = Path(__file__).parents[2] / "build/ptychodus/bin/python"
GEOMETRY = {"photon_energy_ev": 8800.0, "detector_distance_m": 1.9, "detector_pixel_size_m": 75e-6}


def in_ptychodus(*words: object) -> None:
    assert PYTHON.exists(), f"There is no {PYTHON}; 'make test-all' makes it."
    done = subprocess.run([PYTHON, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_result_opens_with_its_windows_in_their_places(backend, tmp_path):
    ours = ptycho_core.reconstruct(
        HERE / "scan.npz", tmp_path, backend=backend, start=str(HERE / "product.h5"), modes=2, epochs=0, iterations=2, **GEOMETRY
    )
    place, arrays, written = tmp_path / "reconstruction.h5", tmp_path / "seen.npz", tmp_path / "product.h5"
    in_ptychodus(HERE / "open_product.py", place, HERE / "scan.npz", arrays, written)
    seen = dict(np.load(arrays))
    assert np.array_equal(seen["object"], ours.object)
    assert np.array_equal(seen["probe"], ours.probe)
    assert np.allclose(np.stack([seen["y"], seen["x"]], axis=1), ours.positions + 7.5)
    assert seen["index"].tolist() == list(range(20))
    assert (str(seen["name"]), seen["energy"], seen["distance"]) == ("scan", 8800.0, 1.9)
    assert seen["pixel"].tolist() == list(ours.pixel_size_m)
    assert seen["counts"] == pytest.approx((np.abs(ours.probe) ** 2).sum())
    assert len(seen["losses"]) == 2
    before, right, after = seen["misfits"]
    assert right < 0.045  # measured 0.0429; half a pixel to either side 0.0674 and 0.0675
    assert min(before, after) > 1.5 * right
    again = read_object(written)  # what ptychodus saves of it
    assert np.allclose(again.positions, ours.positions)
    assert np.array_equal(again.object, ours.object)


@pytest.mark.long
def test_a_result_without_geometry_is_one_that_ptychodus_cannot_open(backend, tmp_path):
    ptycho_core.reconstruct(HERE / "scan.npz", tmp_path, backend=backend, modes=2, epochs=1, iterations=0)
    with pytest.raises(AssertionError, match="detector_object_distance_m"):
        in_ptychodus(HERE / "open_product.py", tmp_path / "reconstruction.h5", HERE / "scan.npz", "no.npz", "no.h5")


@pytest.mark.long
def test_the_files_that_are_kept_are_those_that_ptychodus_writes(tmp_path):
    in_ptychodus(HERE / "make_files.py", tmp_path)
    for name in ("product.h5", "product.npz", "product_opr.h5", "training.h5", "ptychopinn.npz"):
        kept, made = read_object(HERE / name), read_object(tmp_path / name)
        for part in ("object", "probe", "positions"):
            assert np.allclose(getattr(kept, part), getattr(made, part), atol=1e-5), (name, part)
