"""npz and npy files that are damaged, lie about themselves, or are something else: one sentence, and little memory."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import read_object, read_probe

FRAMES, SIZE = 6, 8


def arrays(**changes):
    values = {
        "intensity": np.random.default_rng(1).poisson(50.0, (FRAMES, SIZE, SIZE)).astype(np.float32),
        "positions_px": np.arange(2.0 * FRAMES).reshape(FRAMES, 2),
        "probe_guess": np.ones((SIZE, SIZE), complex),
        "object": np.ones((12, 13), complex),
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def npy(header: str) -> bytes:
    """An npy file with a header of our own, and 64 bytes of values."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def archive(path, compression=zipfile.ZIP_STORED, **members):
    """An npz with these members: arrays, or the bytes of a member."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, values in members.items():
            held = io.BytesIO()
            if isinstance(values, bytes):
                held.write(values)
            else:
                np.save(held, values)
            file.writestr(f"{name}.npy", held.getvalue())
    return path


def read_all(path):
    """All that reads an npz or npy."""
    for read in (lambda: open_scan(path).patterns.read(slice(None)), lambda: read_probe(path), lambda: read_object(path)):
        with pytest.raises(DataError) as caught:
            read()
        yield str(caught.value)


HEADERS = {
    "a negative length": "{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -4)}",
    "a truth as a length": "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 8)}",
    "a length beyond all memory": "{'descr': '<f8', 'fortran_order': False, 'shape': (10**9, 8)}",
    "a large length": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}",
    "no closing bracket": "{'descr': '<f8', 'fortran_order': False, 'shape': (8,",
    "a bracket too many": "{'descr': '<f8', 'fortran_order': False, 'shape': (8,)}}",
    "many brackets": "(" * 5000,
    "a type that is none": "{'descr': '<q9', 'fortran_order': False, 'shape': (8,)}",
    "a type that is a number": "{'descr': 7, 'fortran_order': False, 'shape': (8,)}",
    "pickled objects": "{'descr': '|O', 'fortran_order': False, 'shape': (8,)}",
    "a zero byte": "{'descr': '<f8',\0 'fortran_order': False, 'shape': (8,)}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies_is_refused_by_each_reader(tmp_path, header):
    content = npy(header)
    (tmp_path / "a.npy").write_bytes(content)
    for read in (read_object, read_probe):
        with pytest.raises(DataError, match=r"a\.npy"):
            read(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"a\.npy"):
        open_scan(archive(tmp_path / "scan.npz", **arrays(object=None)), {"mask": str(tmp_path / "a.npy")})
    path = archive(tmp_path / "b.npz", **arrays(intensity=content, probe_guess=content, object=content))
    assert all("b.npz" in told for told in read_all(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("place", [0.1, 0.4, 0.7, 0.95])
def test_a_cut_and_flipped_bytes_are_documented_whatever_packs_the_file(tmp_path, compression, place):
    content = archive(tmp_path / "whole.npz", compression, **arrays()).read_bytes()
    at = int(place * len(content))
    (tmp_path / "cut.npz").write_bytes(content[:at])
    assert all("cut.npz" in told for told in read_all(tmp_path / "cut.npz"))
    (tmp_path / "flipped.npz").write_bytes(content[:at] + bytes(one ^ 255 for one in content[at : at + 40]) + content[at + 40 :])
    for read in (lambda path: open_scan(path).patterns.read(slice(None)), read_probe, read_object):
        try:
            read(tmp_path / "flipped.npz")
        except DataError as error:
            assert "flipped.npz" in str(error)  # noqa: PT017 - a flip may also hit what is not read


def test_a_directory_that_lies_about_a_member_is_refused(tmp_path):
    content = bytearray(archive(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, **arrays()).read_bytes())
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"object.npy"))
    content[entry + 24 : entry + 28] = struct.pack("<I", 2_000_000_000)  # APPNOTE.TXT 4.3.12: the size unpacked
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"'object' should hold .* but has 2000000000"):
        read_object(tmp_path / "a.npz")


def test_an_array_that_is_there_twice_is_refused(tmp_path):
    path = archive(tmp_path / "a.npz", object=np.ones(3), objecT=np.zeros(3))
    path.write_bytes(path.read_bytes().replace(b"objecT", b"object"))
    with pytest.raises(DataError, match="'object' is there twice"):
        read_object(tmp_path / "a.npz")


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """200 million zeros in some hundred kB, as a mask, a probe and an object."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, header in (("mask", "'|b1', 'fortran_order': False, 'shape': (200000000,)"), ("object", None), ("probe", None)):
            text = header or "'<f8', 'fortran_order': False, 'shape': (5000, 5000)"
            with file.open(f"{name}.npy", "w") as member:
                head = f"{{'descr': {text}}}\n".encode()
                member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
                for _ in range(200):
                    member.write(bytes(1_000_000))
    return path


@pytest.mark.parametrize("what", ["its own mask", "mask in the scan", "probe", "object"])
def test_what_a_small_file_declares_is_refused_before_it_is_unpacked(tmp_path, bomb, what):
    scan = archive(tmp_path / "scan.npz", **arrays(object=None))
    if what == "mask in the scan":
        with zipfile.ZipFile(bomb) as held, zipfile.ZipFile(scan, "a", zipfile.ZIP_DEFLATED) as file:
            file.writestr("mask.npy", held.read("mask.npy"))
    reads = {
        "its own mask": lambda: open_scan(scan, {"mask": str(bomb)}),
        "mask in the scan": lambda: open_scan(scan),
        "probe": lambda: read_probe(bomb),
        "object": lambda: read_object(bomb),
    }
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"'mask' has shape \(200000000,\)|of shape \(5000, 5000\) would take 2e\+08 bytes"):
            reads[what]()
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [0x110000, 0xD800, 0xFFFFFFFF])
def test_a_text_of_numbers_that_are_no_characters_is_refused(tmp_path, value):
    signal = np.frombuffer(struct.pack("<I", value) + b"a\0\0\0", "<U2").reshape(())
    with pytest.raises(DataError, match="'signal' cannot be read"):
        open_scan(archive(tmp_path / "a.npz", **arrays(signal=signal)))


def test_a_text_of_any_byte_order_and_of_bytes_is_read(tmp_path):
    for number, signal in enumerate((np.array("counts", ">U6"), np.array(b"counts"), np.array("counts", "<U9"))):
        assert open_scan(archive(tmp_path / f"{number}.npz", **arrays(signal=signal))).signal == "counts"


def test_values_that_no_probe_has_are_refused(tmp_path):
    for values in (
        np.full((SIZE, SIZE), 1e30),
        np.full((SIZE, SIZE), 1j * 1e200),
        np.full((SIZE, SIZE), np.longdouble("1e4000")),
    ):
        with pytest.raises(DataError, match="'probe_guess'"):
            open_scan(archive(tmp_path / "a.npz", **arrays(probe_guess=values)))


FIRST_BYTES = {
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "HDF5 after a block": bytes(512) + b"\x89HDF\r\n\x1a\n",
    "a PNG picture": b"\x89PNG\r\n\x1a\n",
    "text": b"positions\n1 2\n",
    "nothing: it is empty": b"",
    "a Python pickle": b"\x80\x04\x95",
    "gzip": b"\x1f\x8b\x08",
    "MATLAB data": b"MATLAB 5.0 MAT-file, Platform: GLNXA64",
    "not known": bytes(range(128, 256)),
}


@pytest.mark.parametrize("kind", FIRST_BYTES)
def test_a_file_of_another_kind_is_named_as_what_it_is_by_each_reader(tmp_path, kind):
    path = tmp_path / "a.npz"
    path.write_bytes(FIRST_BYTES[kind])
    scan = archive(tmp_path / "scan.npz", **arrays(object=None))
    readers = [lambda: open_scan(path), lambda: open_scan(scan, {"mask": str(path)})]
    for read in readers if kind.startswith("HDF5") else [*readers, lambda: read_object(path), lambda: read_probe(path)]:
        with pytest.raises(DataError, match=rf"a\.npz .*: it holds .*{kind.partition(' after')[0]}"):
            read()


@pytest.mark.parametrize("what", ["pipe", "folder", "device"])
def test_what_is_no_plain_file_is_refused_by_each_reader(tmp_path, what):
    scan = archive(tmp_path / "scan.npz", **arrays(object=None))
    path = tmp_path / "thing.npz"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    for read in (open_scan, read_object, read_probe, lambda path: open_scan(scan, {"mask": str(path)})):
        with pytest.raises(DataError, match=r"no plain file|is a folder|There is no file"):
            read(path)


def test_a_picture_as_a_mask_is_read_by_its_shape_and_refused_where_it_is_damaged(tmp_path):
    import tifffile

    scan, path = archive(tmp_path / "scan.npz", **arrays(object=None)), tmp_path / "mask.tif"
    good = np.ones((SIZE, SIZE), np.uint8)
    good[2, 3] = 0
    tifffile.imwrite(path, good)
    assert (open_scan(scan, {"mask": str(path)}).mask == good.astype(bool)).all()
    content = path.read_bytes()
    for at in range(4, min(len(content), 260), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            open_scan(scan, {"mask": str(path)})
        except DataError as error:
            assert "mask.tif" in str(error)  # noqa: PT017 - a flip may also hit a value
    tifffile.imwrite(path, np.stack([good, good]), photometric="minisblack")
    with pytest.raises(DataError, match=r"several pages, the second of shape \(8, 8\)"):
        open_scan(scan, {"mask": str(path)})
    tifffile.imwrite(path, np.ones((900, 900), np.uint8))
    with pytest.raises(DataError, match="too many for 8 x 8 pixels"):
        open_scan(scan, {"mask": str(path)})
