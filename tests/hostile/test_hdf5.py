"""HDF5 files that lead out of themselves, in circles, or declare what they do not hold."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.files.links import links_followed
from ptycho_core.formats import hdf5_reading
from ptycho_core.formats.hdf5_reading import Hdf5File
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import Reconstruction, load_reconstruction, read_object, read_probe

OBJECT = np.arange(120).reshape(10, 12) + 1j


@pytest.fixture
def other(tmp_path):
    """A file that is pointed to."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["object"] = OBJECT
        file["inside/probe"] = np.ones((8, 8), complex)
    (tmp_path / "raw.bin").write_bytes(OBJECT.tobytes())
    return tmp_path / "other.h5"


def leading_out(path, how):
    """A file whose object lies in another file."""
    with h5py.File(path, "w") as file:
        file["probe"] = np.ones((8, 8), complex)
        if how == "external link":
            file["object"] = h5py.ExternalLink("other.h5", "object")
        elif how == "soft link to an external one":
            file["group/away"] = h5py.ExternalLink("other.h5", "/")
            file["object"] = h5py.SoftLink("/group/away/object")
        elif how == "external storage":
            file.create_dataset("object", OBJECT.shape, OBJECT.dtype, external=[(str(path.parent / "raw.bin"), 0, OBJECT.nbytes)])
        else:
            layout = h5py.VirtualLayout(OBJECT.shape, OBJECT.dtype)
            layout[:] = h5py.VirtualSource("other.h5", "object", OBJECT.shape)
            file.create_virtual_dataset("object", layout)
    return path


HOW = ("external link", "soft link to an external one", "external storage", "virtual dataset")


@pytest.mark.parametrize("how", HOW)
def test_what_leads_to_another_file_is_refused_with_its_target_unless_links_are_followed(tmp_path, other, how):
    path = leading_out(tmp_path / "a.h5", how)
    target = "raw.bin" if how == "external storage" else "other.h5"
    with pytest.raises(DataError, match=rf"'object' .*is not followed: it .*{target}.*--follow-links") as caught:
        read_object(path)
    assert str(path) in str(caught.value)
    with links_followed(wanted=True):
        assert (read_object(path).object == OBJECT).all()
    with pytest.raises(DataError, match="is not followed"):
        read_object(path)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", ["pipe", "nothing", "folder", "text"])
def test_even_a_link_that_is_followed_leads_to_plain_files_only(tmp_path, how, what):
    path = leading_out(tmp_path / "a.h5", how)
    for name in ("other.h5", "raw.bin"):
        place = tmp_path / name
        if what == "pipe":
            os.mkfifo(place)
        elif what == "folder":
            place.mkdir()
        elif what == "text":
            place.write_text("root:x:0:0")
    with links_followed(wanted=True):
        if (how, what) == ("external storage", "text"):  # any bytes are numbers; what lacks is 0
            assert read_object(path).object.shape == OBJECT.shape
            return
        with pytest.raises(DataError, match=r"a\.h5"):
            read_object(path)
    with pytest.raises(DataError, match=r"a\.h5"):
        read_object(path)


def test_virtual_datasets_in_a_circle_are_refused(tmp_path):
    for one, two in (("a.h5", "b.h5"), ("b.h5", "a.h5")):
        with h5py.File(tmp_path / one, "w") as file:
            layout = h5py.VirtualLayout((10, 12), "c16")
            layout[:] = h5py.VirtualSource(two, "object", (10, 12))
            file.create_virtual_dataset("object", layout)
    with links_followed(wanted=True), pytest.raises(DataError, match="no plain dataset"):
        read_object(tmp_path / "a.h5")


def test_a_link_inside_the_file_is_followed_and_one_in_a_circle_or_to_nothing_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = OBJECT
        file["object"] = h5py.SoftLink("/entry/data")
        file["probe"] = h5py.SoftLink("/probe")
    with pytest.raises(DataError, match=r"'probe' is a link.*in a circle"):
        read_probe(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["probe"]
    assert (read_object(tmp_path / "a.h5").object == OBJECT).all()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["probe"] = h5py.SoftLink("/nowhere")
    with pytest.raises(DataError, match="no dataset 'probe'"):
        read_probe(tmp_path / "a.h5")


def test_the_flag_and_the_variable_act_for_every_command_that_reads(tmp_path, other, capsys, monkeypatch):
    path, scan = leading_out(tmp_path / "a.h5", "external link"), tmp_path / "scan.npz"
    assert main(["simulate", str(scan), "--size", "8", "--frames", "9"]) == 0
    with h5py.File(path, "a") as file:
        del file["probe"]
        file["probe"] = h5py.ExternalLink("other.h5", "inside/probe")
    commands = [["inspect", str(scan), "--probe", str(path)], ["score", str(path), "--reference", str(path)]]
    for words in commands:
        assert main(words) == 5
        assert "--follow-links" in capsys.readouterr().err
        assert main([*words, "--follow-links"]) in (0, 5)
        assert "is not followed" not in capsys.readouterr().err
        assert main(words) == 5, "the flag is for one command"
    monkeypatch.setenv("PTYCHO_FOLLOW_LINKS", "1")
    assert main(commands[0]) == 0


def result(path):
    """A our result."""
    history = ({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0})
    one = Reconstruction(
        object=np.ones((12, 12), complex), probe=np.ones((1, 8, 8), complex), positions=np.zeros((4, 2)), history=history,
        stopped_by="", interrupted=False,
    )  # fmt: skip
    return one.save(path)


def replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def attribute(name, value):
    def change(file):
        file["ptycho"].attrs[name] = value

    return change


def declared(shape, dtype="f8", **more):
    def change(file):
        del file["object"]
        file.create_dataset("object", shape, dtype, **more)

    return change


CHANGES = {
    "10^12 values": declared((10**6, 10**6)),
    "16000^2 values, none of them stored": declared((16000, 16000), chunks=(1000, 1000)),
    "a column of another length": replaced("ptycho/history/loss", np.ones(3)),
    "a column of two axes": replaced("ptycho/history/loss", np.ones((2, 2))),
    "a column that is a group": lambda file: file["ptycho/history"].create_group("other"),
    "a column of references": lambda file: file["ptycho/history"].create_dataset("other", (2,), h5py.ref_dtype),
    "a column of a compound type": replaced("ptycho/history/loss", np.zeros(2, [("a", "f8")])),
    "a history without a shape": replaced("ptycho/history/loss", h5py.Empty("f8")),
    "a history that is no group": replaced("ptycho/history", np.ones(2)),
    "an object of text": replaced("object", "a text"),
    "an object that is a group": lambda file: (file.__delitem__("object"), file.create_group("object")),
    "positions that are complex": replaced("ptycho/positions_px", np.ones((4, 2), complex)),
    "positions beyond double precision": replaced("ptycho/positions_px", np.full((4, 2), np.longdouble("1e4000"))),
    "frames held out that are fractions": replaced("ptycho/held_out_frames", np.array([0.5])),
    "JSON of 900 levels": attribute("settings", '{"a": ' + "[" * 900 + "]" * 900 + "}"),
    "JSON of 20000 levels": attribute("settings", "[" * 20000),
    "a number of 5000 digits": attribute("facts", '{"counts_factor": ' + "9" * 5000 + "}"),
    "a number of 400 digits": attribute("facts", '{"stored_size": ' + "9" * 400 + "}"),
    "JSON that is a number": attribute("settings", 3),
    "a size that is a fraction": attribute("facts", '{"stored_size": 1.5}'),
    "a factor beyond all photons": attribute("facts", '{"counts_factor": 1e300}'),
    "a version that is text": attribute("version", "two"),
    "a version without a shape": attribute("version", h5py.Empty("i8")),
    "object values of 1e30": replaced("object", np.full((12, 12), 1e30 + 0j)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_result_may_hold_in_place_of_its_own_is_one_sentence(tmp_path, change):
    path = result(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(DataError, match=r"a\.h5"):
        load_reconstruction(path)


def test_the_epochs_of_a_history_are_whole_numbers_or_nothing(tmp_path):
    path = result(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["ptycho/history"]
        file["ptycho/history/epoch"] = np.array([np.inf, -np.inf, 1e300, 1.5, np.nan, 7])
    assert [row["epoch"] for row in load_reconstruction(path).history] == [None] * 5 + [7]


def test_more_text_than_any_history_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_reading, "_LARGEST_TEXTS", 10_000)
    path = result(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        column = file["ptycho/history"].create_dataset("stage", (500,), h5py.string_dtype())
        del file["ptycho/history/epoch"], file["ptycho/history/loss"]
        column[:] = "a" * 50
    with pytest.raises(DataError, match="holds more than 10000 characters"):
        load_reconstruction(path)


def test_a_text_that_is_longer_than_the_file_is_refused_before_memory_is_taken(tmp_path):
    path = result(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        column = file["ptycho/history"].create_dataset("stage", data=["fit", "fit"], dtype=h5py.string_dtype())
        place = column.id.get_offset()
    content = bytearray(path.read_bytes())
    assert content[place : place + 4] == b"\x03\0\0\0"
    content[place : place + 4] = b"\xf0\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(DataError, match="has a text of 4294967280 bytes; the file is shorter"):
        load_reconstruction(path)


@pytest.mark.parametrize("place", range(100, 6000, 400))
def test_a_flipped_byte_or_a_cut_is_documented(tmp_path, place):
    content = result(tmp_path / "a.h5").read_bytes()
    place %= len(content)
    for name, changed in (
        ("flipped", content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]),
        ("zeros", content[:place] + bytes(64) + content[place + 64 :]),
        ("cut", content[:place]),
    ):
        (tmp_path / f"{name}.h5").write_bytes(changed)
        for read in (load_reconstruction, read_object, read_probe):
            try:
                read(tmp_path / f"{name}.h5")
            except DataError as error:
                assert name in str(error)  # noqa: PT017 - a flip may also hit what is not read


def test_a_heap_of_texts_without_end_is_refused(tmp_path):
    """HDF5 would go from an object of length 0 to itself for ever."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "a text of any length"
    data = bytearray(path.read_bytes())
    first = data.index(b"GCOL") + 16
    data[first : first + 16] = bytes(16)
    path.write_bytes(data)
    with Hdf5File(path) as file, pytest.raises(DataError, match=r"a\.h5 is damaged: the texts"):
        file.text("/", "format")


def test_a_name_that_is_no_utf8_is_shown_and_refused(tmp_path):
    path = tmp_path / "names.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("placeholder", data=np.zeros(3))
    path.write_bytes(path.read_bytes().replace(b"placeholder", b"place\xfe\xffolder"[:11]))
    with pytest.raises(DataError, match=r"no scan in a known layout: it is HDF5 with 'place\\xfe\\xffolde'"):
        open_scan(path)
