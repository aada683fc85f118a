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


@pytest.mark.parametrize("size", [15, 16])
def test_with_geometry_positions_in_metres_give_the_middle_of_each_window(tmp_path, size):
    one = made(pixel_size_m=(2e-8, 3e-8), probe=np.ones((2, size, size), complex), background=None)
    with h5py.File(one.save(tmp_path / "a.h5")) as file:
        attributes = file["object"].attrs
        column = (file["probe_position_x_m"][()] - attributes["center_x_m"]) / attributes["pixel_width_m"] + (44 - 1) / 2
        row = (file["probe_position_y_m"][()] - attributes["center_y_m"]) / attributes["pixel_height_m"] + (40 - 1) / 2
    assert np.allclose(np.stack([row, column], axis=1), one.positions + (size - 1) / 2)
    assert load_reconstruction(tmp_path / "a.h5").pixel_size_m == (2e-8, 3e-8)


def test_the_geometry_is_stated_as_ptychodus_requires_it_and_read_back(tmp_path):
    one = made(pixel_size_m=(2e-8, 3e-8), photon_energy_ev=8800.0, detector_distance_m=1.9, name="star")
    with h5py.File(one.save(tmp_path / "a.h5")) as file:
        assert {name: file.attrs[name] for name in ("name", "photon_energy_eV", "detector_object_distance_m")} == {
            "name": "star",
            "photon_energy_eV": 8800.0,
            "detector_object_distance_m": 1.9,
        }
        assert file.attrs["probe_photon_count"] == pytest.approx((np.abs(one.probe) ** 2).sum())
        assert file["ptycho"].attrs["version"] == 2
        assert file["probe_position_indexes"][()].tolist() == list(range(9))
    back = load_reconstruction(tmp_path / "a.h5")
    assert (back.photon_energy_ev, back.detector_distance_m) == (8800.0, 1.9)


def test_version_1_is_read_by_its_own_positions(tmp_path):
    one = made(pixel_size_m=(2e-8, 3e-8))
    with h5py.File(one.save(tmp_path / "a.h5"), "a") as file:  # as version 1 wrote it: windows' pixels N // 2, half a pixel on
        file["ptycho"].attrs["version"] = 1
        del file.attrs["probe_photon_count"]
        file["probe_position_x_m"][...] += 3e-8 / 2
        file["probe_position_y_m"][...] += 2e-8 / 2
    assert np.array_equal(load_reconstruction(tmp_path / "a.h5").positions, one.positions)
    assert np.array_equal(read_object(tmp_path / "a.h5", "start").positions, one.positions)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (3, "version 3 of this layout; versions up to 2 are known. Read it with a later ptycho"),
        (0, "no attribute 'version' that is a whole number"),
        ("two", "no attribute 'version' that is a whole number"),
        (None, "no attribute 'version' that is a whole number"),
    ],
)
def test_a_version_that_is_not_known_is_refused(tmp_path, version, words):
    with h5py.File(made().save(tmp_path / "a.h5"), "a") as file:
        del file["ptycho"].attrs["version"]
        if version is not None:
            file["ptycho"].attrs["version"] = version
    for read in (load_reconstruction, read_object):
        with pytest.raises(DataError, match=words) as caught:
            read(tmp_path / "a.h5")
        assert "a.h5" in str(caught.value)


def test_an_object_is_read_from_a_folder_with_everything_beside_it(tmp_path):
    one = made()
    one.save(tmp_path / "reconstruction.h5")
    stored = read_object(tmp_path)
    assert np.array_equal(stored.object, one.object)
    assert np.array_equal(stored.positions, one.positions)
    assert np.array_equal(stored.origin, one.origin)
    assert np.array_equal(read_probe(tmp_path), one.probe)


@pytest.mark.parametrize("key", ["object", "object_true", "object_guess", "objectGuess", "reconstructed_object"])
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
        ("empty.npz", "none of the keys object, reconstructed_object, object_guess, objectGuess, object_true"),
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


def spoil(file, what):
    """What a damaged or malicious file may hold in place of a plain array."""
    if what == "a link to another file":
        del file["object"]
        file["object"] = h5py.ExternalLink("other.h5", "object")
    elif what == "a loop of links":
        del file["probe"]
        file["probe"] = h5py.SoftLink("/probe")
    elif what == "an array in another file":
        del file["object"]
        file.create_dataset("object", (8, 8), "f8", external=[("other.h5", 0, 512)])
    elif what == "an array that the file does not hold":
        del file["object"]
        file.create_dataset("object", (1, 10**6, 10**6), "c8", chunks=(1, 100, 100))
    elif what == "no shape":
        del file["probe"]
        file["probe"] = h5py.Empty("f8")
    elif what == "a history that is no group":
        del file["ptycho/history"]
        file["ptycho/history"] = np.ones(3)
    elif what == "a column of two axes":
        file["ptycho/history/other"] = np.ones((2, 2))
    elif what == "deep JSON":
        file["ptycho"].attrs["facts"] = "[" * 20_000
    elif what == "a size that is no number":
        file["ptycho"].attrs["facts"] = '{"stored_size": "abc"}'


@pytest.mark.parametrize(
    ("what", "key"),
    [
        ("a link to another file", "'object' is a link, which is not followed"),
        ("a loop of links", "'probe'"),
        ("an array in another file", "'object' lies in another file"),
        ("an array that the file does not hold", r"'object' of shape \(1, 1000000, 1000000\)"),
        ("no shape", "'probe' has shape None"),
        ("a history that is no group", "'ptycho/history' is no group"),
        ("a column of two axes", "'ptycho/history/other' has shape"),
        ("deep JSON", "attribute 'facts' of 'ptycho' is not JSON"),
        ("a size that is no number", "'stored_size' in the facts of 'ptycho' is 'abc'"),
    ],
)
def test_what_a_damaged_result_may_hold_is_one_sentence(tmp_path, what, key):
    path = made().save(tmp_path / "a.h5")
    (tmp_path / "other.h5").write_bytes(path.read_bytes())
    with h5py.File(path, "a") as file:
        spoil(file, what)
    for read in (load_reconstruction, read_object):
        with pytest.raises(DataError, match=key) as caught:
            read(path)
        assert "a.h5" in str(caught.value)


def test_an_epoch_that_is_no_whole_number_does_not_end_the_reading(tmp_path):
    with h5py.File(made().save(tmp_path / "a.h5"), "a") as file:
        file["ptycho/history/epoch"][...] = [np.inf, 2]
    assert load_reconstruction(tmp_path / "a.h5").history[1]["epoch"] == 2
