"""Damaged and hostile files, made from sound ones: each mutation takes a generator of random numbers and gives bytes."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Mutation = Callable[[random.Random], bytes]

SHAPES: list[Any] = [
    (), (0,), (1,), (8, 8), (4, 8, 8), (8, 8, 4), (1, 4, 8, 8), (2**31,), (10**6, 10**6), (-1, 8), (-2, -4), (True, 8), (2**63,),
    (10**30,), (8, 8, 0), "abc", (8.0,), (None,), (1,) * 70,
]  # fmt: skip
TYPES = [
    *["<f8", ">f4", "<c8", "<c16", "|b1", "<i8", ">u2", "|u1", "<f2", "<f16", "|O", "<U3", "|S7", "<M8[s]", "|V5", "<q9", "<U0"],
    "",
]
KEYS = ["mask", "signal", "photons", "scan_index", "bad_pixels", "probe_in_counts"]
ATTRIBUTES = ["version", "settings", "facts", "name", "comments", "photon_energy_eV", "detector_object_distance_m"]
VALUES = [np.nan, np.inf, -1.0, 0.0, 1e300, 1e30, 1e-320, 7.5]
WORDS = ["counts", "amplitude", "\u202e", "a" * 3000, "", "\x1b[31m", "\0", "1e400", "nan"]
JSON: list[Any] = [None, True, -1, 3, 1.5, "", "a", [], [1], {}, {"value": 1}, {"value": [1]}, 10**30, -0.0, "1"]


def bytewise(content: bytes) -> Mutation:
    """Flipped, cut, repeated, overwritten bytes."""

    def mutate(rng: random.Random) -> bytes:
        found = bytearray(content)
        for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
            at = rng.randrange(len(found)) if found else 0
            long = rng.choice([1, 2, 4, 8, 64, 512])
            what = rng.randrange(7)
            if what == 0:
                found[at : at + 1] = bytes([(found[at] if found else 0) ^ (1 << rng.randrange(8))])
            elif what == 1:
                del found[at:]
            elif what == 2:
                found[at : at + long] = rng.randbytes(long)
            elif what == 3:
                found[at : at + long] = rng.choice([b"\0", b"\xff", b"[", b"9"]) * long
            elif what == 4:
                del found[at : at + long]
            elif what == 5:
                found[at:at] = found[max(0, at - long) : at]
            else:
                found[at : at + 4] = struct.pack("<i", rng.choice([0, -1, 2**31 - 1, -(2**31), 65536]))
        return bytes(found)

    return mutate


def npy(values: np.ndarray[Any, Any]) -> bytes:
    held = io.BytesIO()
    np.save(held, values, allow_pickle=True)
    return held.getvalue()


def odd_npy(content: bytes) -> Mutation:
    """An npy whose header says another shape, type or order, or is no header."""

    def mutate(rng: random.Random) -> bytes:
        length = struct.unpack("<H", content[8:10])[0]
        header, values = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
        for _ in range(rng.choice([1, 1, 2])):
            what = rng.randrange(6)
            if what == 0:
                header = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': {rng.choice(SHAPES)!r}", header)
            elif what == 1:
                header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {rng.choice(TYPES)!r}", header)
            elif what == 2:
                header = header.replace("False", rng.choice(["True", "7", "None"]))
            elif what == 3:
                at = rng.randrange(len(header) + 1)
                header = header[:at] + rng.choice(["(", "{", "'", "\0", "9" * 500, "lambda: 0", "\n", "\xe9"]) + header[at + 1 :]
            elif what == 4:
                header = rng.choice(["(" * 3000, "{}", "[]", "", "None", "-" * 5000, "'a'" * 900])
            else:
                values = rng.choice([b"", values[: len(values) // 2], values * 2])
        told = header.encode("latin-1", "replace")[:65000]
        version = rng.choice([b"\x01\x00"] * 8 + [b"\x02\x00", b"\x03\x00", b"\x09\x00"])
        return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(told)) + told + values

    return mutate


def odd_npz(arrays: dict[str, Any]) -> Mutation:
    """An npz with other keys, types, shapes, values and methods of compression; some members are damaged."""

    def mutate(rng: random.Random) -> bytes:
        held = {name: np.asarray(values) for name, values in arrays.items()}
        for _ in range(rng.choice([0, 1, 1, 2])):
            name = rng.choice(list(held) or ["a"])
            held.setdefault(name, np.ones(2))
            what = rng.randrange(6)
            if what == 0:
                held.pop(name, None)
            elif what == 1:
                held[rng.choice([*KEYS, name])] = _values(rng)
            elif what == 2:
                held[name] = _values(rng)
            elif what == 3 and held[name].dtype.kind in "fc" and held[name].size:
                held[name] = held[name].copy()
                held[name].reshape(-1)[rng.randrange(held[name].size)] = rng.choice(VALUES)
            elif what == 4:
                held[rng.choice(["\x1b[31m", "a" * 3000, "\u202e", "..", "/etc"])] = held.pop(name, np.ones(2))
            else:
                with suppress(ValueError):  # a text is no number
                    held[name] = held[name].astype(rng.choice(["f4", "c8", "i2", "f2", "?"]), order=rng.choice(["C", "F"]))
        packed = io.BytesIO()
        method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        with zipfile.ZipFile(packed, "w", method) as file:
            for name, values in held.items():
                content = npy(values)
                file.writestr(f"{name}.npy", odd_npy(content)(rng) if rng.random() < 0.15 else content)
        found = packed.getvalue()
        return bytewise(found)(rng) if rng.random() < 0.3 else found

    return mutate


def _values(rng: random.Random) -> np.ndarray[Any, Any]:
    if rng.random() < 0.3:
        return np.array(rng.choice(WORDS))
    shape = rng.choice([(), (0,), (1,), (4,), (8, 8), (4, 8, 8), (4, 2), (2, 8, 8), (1, 1, 1, 1)])
    with np.errstate(all="ignore"):
        return np.full(shape, rng.choice(VALUES)).astype(rng.choice(["f8", "c16", "i4", "f4", "?", "u1", "M8[s]"]))


def odd_hdf5(path: Path, folder: Path) -> Mutation:
    """An HDF5 file with other things under its names: links, groups, types, shapes, attributes."""
    content = path.read_bytes()

    def mutate(rng: random.Random) -> bytes:
        place = folder / "mutated.h5"
        place.write_bytes(content)
        with h5py.File(place, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            for _ in range(rng.choice([1, 1, 2, 3])):
                with suppress(RuntimeError, KeyError):  # a link that leads nowhere stands in the way
                    _change(file, rng.choice(names), rng)
        found = place.read_bytes()
        return bytewise(found)(rng) if rng.random() < 0.2 else found

    return mutate


def _change(file: Any, name: str, rng: random.Random) -> None:
    what = rng.randrange(9)
    if what == 8:
        owner = rng.choice([file, file.get("ptycho", file)])
        if isinstance(owner, h5py.Group):
            key = rng.choice(ATTRIBUTES)
            owner.attrs[key] = rng.choice([
                3, 2.5, "[" * 5000, '{"a": ' * 900 + "1" + "}" * 900, '{"stored_size": ' + "9" * 5000 + "}", h5py.Empty("f8"),
                np.ones((2, 2)), json.dumps({"counts_factor": rng.choice(JSON), "settings": rng.choice(JSON)}), b"\xff\xfe",
            ])  # fmt: skip
        return
    del file[name]
    if what == 0:
        file[name] = h5py.SoftLink(rng.choice(["/nowhere", "/" + name, "/probe", "/", "object"]))
    elif what == 1:
        file[name] = h5py.ExternalLink(rng.choice(["/etc/passwd", "none.h5", "/dev/zero", "."]), rng.choice(["/", "object"]))
    elif what == 2:
        file.create_group(name)
    elif what == 3:
        file[name] = h5py.Empty(rng.choice(["f8", "S3"]))
    elif what == 4:
        values = _values(rng)
        file[name] = values if values.dtype.kind in "biufc" else str(values) if values.dtype.kind == "U" else np.void(b"abc")
    elif what == 5:
        shape = rng.choice([(10**6, 10**6), (30000, 30000), (2**40,), (1, 1, 10**9)])
        file.create_dataset(name, shape, rng.choice(["f8", "c16", "u1"]), chunks=tuple(min(100, one) for one in shape))
    elif what == 6:
        file.create_dataset(name, (8, 8), "f8", external=[(rng.choice(["/etc/passwd", "none"]), 0, 512)])


def odd_text(content: str, lines: list[str]) -> Mutation:
    """A text with lines and values that are odd; now and then of any bytes."""

    def mutate(rng: random.Random) -> bytes:
        found = content.splitlines()
        for _ in range(rng.choice([1, 1, 2, 4])):
            at = rng.randrange(len(found) + 1)
            if rng.random() < 0.5:
                found.insert(at, rng.choice(lines))
            elif found:
                line = found[at % len(found)]
                found[at % len(found)] = line.partition("=")[0] + "= " + rng.choice(lines).partition("=")[2]
        text = "\n".join(found).encode("utf-8", "surrogatepass")
        return bytewise(text)(rng) if rng.random() < 0.3 else text

    return mutate


ODD_LINES = [
    "a = 1", "modes = " + "9" * 5000, "size = -1", "size = 1e400", "photons = nan", "photons = inf", "photons = 2020-13-45",
    "photons = " + "[" * 2000, "a." * 4000 + "a = 1", "[" + "a." * 3000 + "a]", "[[data]]", "[data]", "[backend]", "[backends]",
    'allow = "a"', "allow = [1]", "allow = [[[]]]", 'backend = "torch"', 'name = "\\u001b[31m"', 'title = "\\u202E"', "title = 3",
    'probe = "\\u0000"', "minimum = nan", "maximum = 1" + "0" * 400, "default = true", "[[options]]", 'contract = "9.9"',
    'contract = "٣.٠"', "capabilities = []", "seed = 99999999999999999999999", "epochs = [1, 2]", "a = {b = {c = {d = 1}}}",
    "epochs: *a", "a: &a [*a]", "- " * 1000, "? [1]", "<<: {a: 1}", "epochs: 2020-13-45", "epochs: 0x" + "f" * 5000, "\ufeff",
    "#", '"""',
]  # fmt: skip
