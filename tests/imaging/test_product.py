"""``reconstruction.h5`` and the other files that objects and probes come from."""

from __future__ import annotations

import errno

import h5py
import numpy as np
import pytest

from ptycho_core.errors import DataError, OutputError
from ptycho_core.formats import hdf5_file
from ptycho_core.formats.product import Reconstruction, load_reconstruction, read_object, read_probe


def made(**changes):
    rng = np.random.default_rng(0)
    values = {
        "object": (rng.normal(size=(40, 44)) + 1j).astype(np.complex64),
        "probe": rng.normal(size=(2, 16, 16)) + 0.5j,
        "positions": rng.uniform(0, 20, (9, 2)),
        "origin": np.array([-3.5, 7.0]),
        "background": rng.uniform(size=(16, 16)),
        "history": [
            {"stage": "first", "epoch": 1, "loss": 3.0, "misfit": 0.3, "held_out": None, "seconds": 0.5},
            {"stage": "last", "epoch": 2, "loss": 2.0, "misfit": 0.2, "held_out": 0.25, "seconds": 0.9},
        ],
        "held_out": np.array([2, 5]),
        "settings": {"modes": {"value": 2, "source": "--modes"}},
        "facts": {"likelihood": "amplitude"},
        "name": "a test",
    }
    return Reconstruction(**(values | changes))


def every_name(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    for name in [*names, "/"]:
        names.extend(file[name].attrs)
    return names


def test_what_is_saved_is_read_back(tmp_path):
    one = made()
    back = load_reconstruction(one.save(tmp_path / "reconstruction.h5"))
    for name in ("object", "probe", "positions", "origin", "background", "held_out"):
        assert np.array_equal(getattr(back, name), getattr(one, name)), name
        assert getattr(back, name).dtype == getattr(one, name).dtype, name
    assert list(back.history) == list(one.history)
    assert (back.settings, back.facts, back.name, back.pixel_size_m) == (one.settings, one.facts, "a test", None)
    assert back.N == 16
    assert [file.name for file in tmp_path.iterdir()] == ["reconstruction.h5"]


def test_without_geometry_there_is_no_field_in_metres(tmp_path):
    with h5py.File(made().save(tmp_path / "a.h5")) as file:
        assert not [name for name in every_name(file) if name.endswith("_m")]
        assert file["object"].shape == (1, 40, 44)
        assert file["probe"].shape == (1, 2, 16, 16)
        assert file["loss_epochs"][()].tolist() == [1, 2]
        assert file["loss_values"][()].tolist() == [3.0, 2.0]


def test_with_geometry_positions_in_metres_give_the_centre_pixel_of_each_window(tmp_path):
    one = made(pixel_size_m=(2e-8, 3e-8))
    with h5py.File(one.save(tmp_path / "a.h5")) as file:
        attributes = file["object"].attrs
        column = (file["probe_position_x_m"][()] - attributes["center_x_m"]) / attributes["pixel_width_m"] + (44 - 1) / 2
        row = (file["probe_position_y_m"][()] - attributes["center_y_m"]) / attributes["pixel_height_m"] + (40 - 1) / 2
    assert np.allclose(np.stack([row, column], axis=1), one.positions + 8)
    assert load_reconstruction(tmp_path / "a.h5").pixel_size_m == (2e-8, 3e-8)


def test_an_object_is_read_from_a_folder_with_everything_beside_it(tmp_path):
    one = made()
    one.save(tmp_path / "reconstruction.h5")
    stored = read_object(tmp_path)
    assert np.array_equal(stored.object, one.object)
    assert np.array_equal(stored.positions, one.positions)
    assert np.array_equal(stored.origin, one.origin)
    assert np.array_equal(read_probe(tmp_path), one.probe)


@pytest.mark.parametrize("key", ["object", "object_true", "objectGuess", "reconstructed_object"])
def test_an_object_is_read_from_npz_under_the_usual_keys(tmp_path, key):
    image = np.ones((20, 21), complex)
    np.savez(tmp_path / "a.npz", **{key: image}, probe=np.ones((8, 8), complex), positions_px=np.zeros((3, 2)))
    stored = read_object(tmp_path / "a.npz")
    assert np.array_equal(stored.object, image)
    assert stored.probe.shape == (1, 8, 8)
    assert stored.positions.shape == (3, 2)
    assert read_probe(tmp_path / "a.npz").shape == (1, 8, 8)


def test_npy_holds_the_object_or_the_probe_itself(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((8, 8), complex))
    assert read_object(tmp_path / "a.npy").object.shape == (8, 8)
    assert read_probe(tmp_path / "a.npy").shape == (1, 8, 8)


def test_a_foreign_product_without_our_group_gives_its_object_and_first_probe(tmp_path):
    with h5py.File(tmp_path / "product.h5", "w") as file:
        file["object"] = np.ones((1, 30, 30), complex)
        file["probe"] = np.ones((2, 3, 8, 8), complex)
    stored = read_object(tmp_path / "product.h5")
    assert stored.object.shape == (30, 30)
    assert stored.probe.shape == (3, 8, 8)
    assert stored.positions is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"object": np.ones((2, 3, 4), complex)}, r"object has shape \(2, 3, 4\)"),
        ({"probe": np.ones((2, 16, 15), complex)}, r"probe has shape \(2, 16, 15\)"),
        ({"positions": np.ones((9, 3))}, r"positions have shape \(9, 3\)"),
        ({"background": np.ones((4, 4))}, r"background has shape \(4, 4\)"),
        ({"held_out": np.array([9])}, "held-out frames 9 to 9 of 9 frames"),
    ],
)
def test_parts_that_do_not_fit_are_not_written(tmp_path, change, words):
    with pytest.raises(DataError, match=words):
        made(**change).save(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="Cannot write"):
        made().save(tmp_path / "nowhere" / "a.h5")
    assert not list(tmp_path.iterdir())


def test_what_hdf5_adds_to_a_full_disk_is_left_out(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "file write failed: time = now\n, filename = '.a.h5', buf = 0x1")

    monkeypatch.setattr(hdf5_file, "IN_MEMORY", 0)
    monkeypatch.setattr(h5py, "File", full)
    with pytest.raises(OutputError, match=r"Cannot write .*a\.h5: No space left on device\.$"):
        made().save(tmp_path / "a.h5")


def bad_files(folder):
    (folder / "text.h5").write_text("no HDF5")
    (folder / "text.npz").write_text("no archive")
    np.savez(folder / "empty.npz", other=np.ones(3))
    np.savez(folder / "pickled.npz", object=np.array([{"a": 1}], dtype=object))
    np.savez(folder / "nan.npz", object=np.full((9, 9), np.nan))
    np.savez(folder / "cube.npz", object=np.ones((3, 9, 9)))
    with h5py.File(folder / "bare.h5", "w") as file:
        file["other"] = np.ones(3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.h5", "There is no file"),
        ("text.h5", "cannot be read as HDF5"),
        ("text.npz", "cannot be read as npz or npy"),
        ("empty.npz", "none of the keys object, object_true"),
        ("pickled.npz", "cannot be read as npz or npy"),
        ("nan.npz", "'object' of shape .9, 9. holds values that are not finite"),
        ("cube.npz", r"object has shape \(3, 9, 9\)"),
        ("bare.h5", "no dataset 'object'"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path, name, words):
    bad_files(tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        read_object(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_key_of_our_own_is_named(tmp_path):
    path = made().save(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["ptycho/object_origin"]
    with pytest.raises(DataError, match="no dataset 'ptycho/object_origin'"):
        load_reconstruction(path)
