"""What two folders of results differ in: every array, number and text in every file, times aside."""

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import h5py
import numpy as np
import safetensors.numpy
from PIL import Image

TIMES = {"seconds", "patterns_per_second"}
"""Columns and keys that differ from run to run."""

HASHES = "hashes."
"""Start of the keys of a model's manifest that hold hashes of its other members, which are compared themselves."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same on both sides.

    Attributes:
        name: file and place in it.
        kind: ``value`` (numbers), ``picture`` (pixels), ``text``, ``only old`` or ``only new``.
        size: of numbers and pixels: largest ``|new - old|`` over the largest ``|old|``; None where shapes differ or one side is
            not finite, and of the other kinds.
        said: what differs, for people.
    """

    name: str
    kind: str
    size: float | None
    said: str


def differences(old, new):
    """What differs between two results of `contents`, ordered by name."""
    for name in sorted(old.keys() | new.keys()):
        if name not in new or name not in old:
            kind, held = ("only old", old) if name in old else ("only new", new)
            yield Difference(name, kind, None, described(held[name]))
        elif (found := difference(name, old[name], new[name])) is not None:
            yield found


def difference(name, old, new):
    """How one thing differs; None if bits, type and shape are the same."""
    if isinstance(old, str) or isinstance(new, str):
        return None if old == new else Difference(name, "text", None, f"{described(old)} | {described(new)}")
    if old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes():
        return None
    kind = "picture" if ".png:" in name else "value"
    if old.shape != new.shape:
        return Difference(name, kind, None, f"shape {old.shape} | {new.shape}")
    types = "" if old.dtype == new.dtype else f", {old.dtype} | {new.dtype}"
    size = relative(old, new)
    return Difference(name, kind, size, ("not finite on one side" if size is None else f"{size:.1e}") + types)


def relative(old, new):
    """Largest ``|new - old|`` over the largest ``|old|``, or over white for pixels; NaN on both sides is no difference."""
    number = complex if np.iscomplexobj(old) or np.iscomplexobj(new) else float
    one, other = old.astype(number), new.astype(number)
    differ = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not differ.any():
        return 0.0
    apart = np.abs(other[differ] - one[differ])
    if not np.isfinite(apart).all():
        return None
    finite = np.abs(one[np.isfinite(one)])
    scale = 255.0 if old.dtype == np.uint8 else finite.max(initial=0.0) or np.abs(other).max()
    return float(apart.max() / scale)


def described(value):
    """A text, shortened; an array by type and shape."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return f"{value.dtype} {value.shape}" if value.shape else repr(value.item())


def contents(folder):
    """Every array, number and text in the files of a folder, by file and place: arrays (numbers have shape ()) or texts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".err":  # frameworks say there what time it is
            file = path.relative_to(folder).as_posix()
            read = READERS.get(path.suffix, opaque)
            found |= {f"{file}:{name}": value for name, value in read(path.read_bytes()) if not is_time(name)}
    here = str(folder.resolve())
    return {name: value.replace(here, "JOB") if isinstance(value, str) else value for name, value in found.items()}


def is_time(name):
    """Whether a key or column holds seconds, or follows from what does."""
    return re.split(r"[./]", name)[-1] in TIMES


def opaque(data):
    """A file of a kind that is not known: its hash."""
    yield "sha256", hashlib.sha256(data).hexdigest()


def printed(data):
    """Lines of a command's output, times taken out."""
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        yield f"line {number}", re.sub(r"\b\d+(\.\d+)? s\b", "_ s", line)


def documents(data):
    """The leaves of a JSON document by their place."""
    yield from leaves("", json.loads(data))


def leaves(place, value):
    """Numbers and texts below a JSON value; a truth or null is a text."""
    if isinstance(value, Mapping | list):
        rows = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in rows:
            yield from leaves(f"{place}.{key}" if place else str(key), item)
        if not value:
            yield place, "empty"
    elif isinstance(value, bool) or not isinstance(value, int | float):
        yield place, value if isinstance(value, str) else json.dumps(value)
    else:
        yield place, np.array(value)


def columns(data):
    """The columns of a CSV file; one with a field that is no number, as text."""
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
    for name in rows[0] if rows else ():
        fields = [row[name] for row in rows]
        try:
            yield name, np.array([float(field) if field else np.nan for field in fields])
        except ValueError:
            yield name, " ".join(fields)


def model(data):
    """The tensors, state and manifest of a model file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.namelist():
            if member.endswith(".safetensors"):
                found = safetensors.numpy.load(archive.read(member)).items()
            else:
                found = documents(archive.read(member))
            yield from ((f"{member}/{name}", value) for name, value in found if not name.startswith(HASHES))


def hdf5(data):
    """The datasets and attributes of an HDF5 file; an attribute that is a JSON object by its leaves."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name] = " ".join(np.atleast_1d(item.asstr()[()])) if text else np.asarray(item[()])
        found.update({f"{name}@{key}{place}": leaf for key, value in item.attrs.items() for place, leaf in attribute(value)})

    with h5py.File(io.BytesIO(data), "r") as file:
        visit("", file)
        file.visititems(visit)
    yield from found.items()


def attribute(value):
    """The value of an attribute, by its leaves if it is a JSON object."""
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        yield "", np.asarray(value)
    elif value.startswith("{"):
        yield from ((f".{place}", leaf) for place, leaf in documents(value))
    else:
        yield "", value


def picture(data):
    """The pixels of a picture."""
    yield "pixels", np.asarray(Image.open(io.BytesIO(data)))


def arrays(data):
    """The arrays of an npz file, or of an npy file."""
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    yield from loaded.items() if hasattr(loaded, "items") else [("array", loaded)]


READERS = {
    ".h5": hdf5, ".ptycho": model, ".json": documents, ".csv": columns, ".png": picture, ".npz": arrays, ".npy": arrays,
    ".out": printed,
}  # fmt: skip
