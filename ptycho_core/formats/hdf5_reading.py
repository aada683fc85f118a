"""An HDF5 file that is read with care: what a key is, where it lies and how large it is comes before its values.

A file is not trusted. Links may lead in circles or to any file of the machine, arrays may lie in other files, and a few bytes
may declare an array of any size. So each step of a path is looked at before it is taken, and what leaves the file is refused,
with the place it leads to, unless the user follows links (`ptycho_core.files.links`).
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import h5py
import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.files.links import FOLLOW_FLAG, follows_links
from ptycho_core.files.plain import why_not_plain
from ptycho_core.formats.guard import check_declared, guarded
from ptycho_core.formats.hdf5_heaps import check_heaps
from ptycho_core.formats.kinds import HDF5, another_kind, is_hdf5, kind_of
from ptycho_core.modelfile.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["CACHE", "SLOTS", "Hdf5File"]

_MOST_STEPS: Final = 64
"""Links and names that a path may take, so that circles end."""

_LARGEST_ATTRIBUTE: Final = 2**26
_LARGEST_JSON: Final = 2**24
_LARGEST_TEXTS: Final = 2**26
_PORTION: Final = 64

CACHE: Final = 2**25
"""Bytes of decompressed chunks that HDF5 keeps of a dataset."""

SLOTS: Final = 10007
"""Of HDF5's table of chunks: a prime number, larger than the number of chunks that are kept."""


class Hdf5File:
    """Reads one HDF5 file, as a context manager; every complaint names the file, the key and the shape.

    Args:
        path: the file.
        beside: whether a link to a file in the same folder, or below it, is followed without being asked for, as a scan needs it
            whose frames lie in files next to it.
        lacking: what is said of a file that lacks a key, after it.

    Raises:
        DataError: it cannot be opened.
    """

    def __init__(self, path: Path, *, beside: bool = False, lacking: str = "; it is not a reconstruction") -> None:
        self.path, self._beside, self._lacking = path, beside, lacking
        self._heaps_checked = False
        if why := why_not_plain(path):
            raise DataError(f"There is no file {path}." if why == "does not exist" else f"{path} {why}.")
        if kind_of(path) != HDF5:
            raise another_kind(path, "cannot be read as HDF5")
        self._opened = ExitStack()
        with guarded(f"{path} is damaged: it"):
            self.file = self._opened.enter_context(h5py.File(path, "r", rdcc_nbytes=CACHE, rdcc_nslots=SLOTS))

    def __enter__(self) -> Self:
        """The reader itself; leaving closes the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, and those that its links led to."""
        with guarded(f"{self.path}"):
            self._opened.close()

    def __contains__(self, key: str) -> bool:
        """Whether the file has something of that name; a link is not followed."""
        node, (*steps, last) = self.file, key.strip("/").split("/")
        with guarded(f"{self.path}: '{key}'"):
            for name in steps:
                if self._link(node, name) is None:
                    return False
                node = self._step(node, name, key, [])
            return self._link(node, last) is not None

    def array(self, key: str, dimensions: Iterable[int]) -> NDArray[Any]:
        """The numeric dataset ``key``, which must have one of the numbers of dimensions.

        Raises:
            DataError: it is missing, no numbers, of another number of dimensions, not finite, damaged or outside the file.
        """
        with guarded(f"{self.path}: '{key}'"):
            data = self.dataset(key)
            if data.dtype.kind not in "iufcb":
                raise DataError(f"{self.path}: '{key}' is of type {data.dtype}, not numbers.")
            allowed = tuple(dimensions)
            if data.shape is None or data.ndim not in allowed:
                wanted = " or ".join(str(number) for number in allowed)
                raise DataError(f"{self.path}: '{key}' has shape {data.shape}; {wanted} dimensions are expected.")
            values: NDArray[Any] = np.asarray(data[()])
            if not np.isfinite(values).all():
                raise DataError(f"{self.path}: '{key}' of shape {data.shape} holds values that are not finite.")
        return values

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of a dataset, whose values are not read; () for one without."""
        with guarded(f"{self.path}: '{key}'"):
            return tuple(self.dataset(key).shape or ())

    def number(self, key: str) -> float | None:
        """A real number: a dataset, else for ``object_NAME`` the attribute ``NAME`` of ``object``, else an attribute of the file.

        None if there is none of these.

        Raises:
            DataError: it is something else.
        """
        if key in self:
            value: Any = self.array(key, [0, 1])
        else:
            owner = "object" if key.startswith("object_") and "object" in self else "/"
            value = self.attribute(owner, key.removeprefix("object_"))
        if value is None:
            return None
        values = np.asarray(value)
        if values.dtype.kind not in "iufb" or values.size != 1 or not np.isfinite(values).all():
            raise DataError(f"{self.path}: '{key}' must be one number; it has shape {values.shape} and type {values.dtype}.")
        with np.errstate(over="ignore"):
            return float(values.reshape(()))

    def attribute(self, key: str, name: str) -> Any:  # noqa: ANN401 - whatever the file holds
        """An attribute of a group or dataset; None if there is none.

        Raises:
            DataError: it cannot be read, or is too large.
        """
        with guarded(f"{self.path}: attribute '{name}' of '{key}'"):
            attributes = self.node(key).attrs
            if name not in attributes:
                return None
            found = attributes.get_id(name)
            size = math.prod(found.shape) * found.dtype.itemsize
            if size > _LARGEST_ATTRIBUTE:
                raise DataError(f"{self.path}: attribute '{name}' of '{key}' would take {size:.2g} bytes.")
            self._check_heaps(found.dtype)
            return attributes[name]

    def text(self, key: str, attribute: str) -> str:
        """A text attribute, empty if it is missing."""
        value = self.attribute(key, attribute)
        with guarded(f"{self.path}: attribute '{attribute}' of '{key}'"):
            return "" if value is None else value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def json(self, key: str, attribute: str) -> dict[str, Any]:
        """A JSON attribute that holds an object; empty if it is missing."""
        text, what = self.text(key, attribute), f"{self.path}: attribute '{attribute}' of '{key}'"
        if len(text) > _LARGEST_JSON:
            raise DataError(f"{what} has {len(text)} characters; at most {_LARGEST_JSON} are read.")
        with guarded(what):
            return parse_json((text or "{}").encode("utf-8"), what, finite=False)

    def names(self, key: str) -> list[str]:
        """What a group holds, by name.

        Raises:
            DataError: it is no group.
        """
        with guarded(f"{self.path}: '{key}'"):
            group = self.node(key)
            if not isinstance(group, h5py.Group):
                raise DataError(f"{self.path}: '{key}' is no group of columns.")
            # A name that is no UTF-8 comes as bytes.
            return [name if isinstance(name, str) else name.decode(errors="backslashreplace") for name in group]

    def column(self, key: str) -> list[float] | list[str]:
        """The numbers or texts of a dataset (row,).

        Raises:
            DataError: it is of another shape, or holds something else.
        """
        with guarded(f"{self.path}: '{key}'"):
            data = self.dataset(key)
            if data.shape is None or data.ndim != 1:
                raise DataError(f"{self.path}: '{key}' has shape {data.shape}; one value for each row is expected.")
            if h5py.check_string_dtype(data.dtype):
                return self._texts(key, data)
            if data.dtype.kind not in "iufb":
                raise DataError(f"{self.path}: '{key}' is of type {data.dtype}, neither numbers nor text.")
            return [float(value) for value in data[()]]

    def dataset(self, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        """A dataset that lies in the file, and is not much larger than what the file holds of it; to be used under a guard.

        Raises:
            DataError: it is missing, or something else.
        """
        data = self.node(key)
        if not isinstance(data, h5py.Dataset):
            raise DataError(f"{self.path} has no dataset '{key}'{self._lacking}.")
        stored: int | None = None if data.is_virtual or data.external else int(data.id.get_storage_size())
        for name, inside in self._elsewhere(data):
            self._check_elsewhere(key, name, inside)
        if data.shape is not None:
            check_declared(f"{self.path}: '{key}'", data.shape, data.dtype.itemsize, stored)
        return data

    def node(self, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        """A group or dataset; to be used under a guard.

        Raises:
            DataError: it is missing, or a link that is not followed leads to it.
        """
        node, taken = self.file, list[str]()
        for name in key.strip("/").split("/") if key != "/" else ():
            node = self._step(node, name, key, taken)
        return node

    def _link(self, node: Any, name: str) -> Any:  # noqa: ANN401 - h5py has no types
        return node.get(name, getlink=True) if isinstance(node, h5py.Group) else None

    def _step(self, node: Any, name: str, key: str, taken: list[str]) -> Any:  # noqa: ANN401 - h5py has no types
        """What a name leads to from a group, ``taken`` being the steps taken so far."""
        taken.append(name)
        if len(taken) > _MOST_STEPS:
            raise DataError(f"{self.path}: '{key}' is a link, which is not followed: it leads in a circle.")
        link = self._link(node, name)
        if link is None:
            raise DataError(f"{self.path} has no dataset '{key}'{self._lacking}.")
        if isinstance(link, h5py.SoftLink):
            place = node.file if link.path.startswith("/") else node
            for part in filter(lambda part: part not in ("", "."), link.path.split("/")):
                place = self._step(place, part, key, taken)
            return place
        if isinstance(link, h5py.ExternalLink):
            place = self._other(link, key)
            for part in filter(None, link.path.split("/")):
                place = self._step(place, part, key, taken)
            return place
        return node[name]

    def _other(self, link: Any, key: str) -> Any:  # noqa: ANN401 - h5py has no types
        """The file that an external link leads to, opened."""
        place = self._neighbor(link.filename)
        if place is None and not follows_links():
            raise self._refusal(f"'{key}' is a link", f"leads to '{link.path}' in {link.filename}")
        place = place or self.path.parent / link.filename
        if not is_hdf5(place):
            raise DataError(
                f"{self.path}: '{key}' leads to {place}, which {why_not_plain(place) or 'is no HDF5'}.", remedy=self._bring(place)
            )
        return self._opened.enter_context(h5py.File(place, "r", rdcc_nbytes=CACHE, rdcc_nslots=SLOTS))

    def _neighbor(self, name: str) -> Path | None:
        """The file in the same folder that a name in the file means; None where links there are not followed, or it leads away.

        Where files were moved together, only the last part of the name is still true.
        """
        if not self._beside:
            return None
        home = self.path.parent
        for place in (home / name, home / Path(name).name):
            if why_not_plain(place) == "" and place.resolve().is_relative_to(home.resolve()):
                return place
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        return home / name if inside and why_not_plain(home / name) == "does not exist" else None

    def _elsewhere(self, data: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - h5py has no types
        """Other files that hold values of a dataset, with the key inside where they are HDF5."""
        found = [(str(name), "") for name, _, _ in data.external or ()]
        if data.is_virtual:
            found += [(str(one.file_name), str(one.dset_name)) for one in data.virtual_sources()]
        return found

    def _check_elsewhere(self, key: str, name: str, inside: str) -> None:
        """Refuse values in another file, unless links are followed and it is a plain file that holds them."""
        neighbor = None if name == "." else self._neighbor(name)
        if not (follows_links() or neighbor or (self._beside and name == ".")):
            elsewhere = "this file, by way of a virtual dataset" if name == "." else name
            raise self._refusal(f"'{key}' lies in another file", f"lies in {elsewhere}")
        if name == ".":
            self._inside(inside, key)
            return
        places = [self.path.parent / name, Path(name)] if inside else [Path(name)]
        places = places if neighbor is None else [neighbor]
        there = [place for place in places if why_not_plain(place) != "does not exist"]
        why = next(filter(None, map(why_not_plain, there)), "") if there else "does not exist"
        if why or (inside and kind_of(there[0]) != HDF5):
            raise DataError(f"{self.path}: '{key}' lies in {name}, which {why or 'is no HDF5'}.", remedy=self._bring(Path(name)))
        if inside:
            with Hdf5File(there[0]) as other:
                other._inside(inside, key)

    def _inside(self, inside: str, key: str) -> None:
        """Refuse a source of a virtual dataset that has sources again: they could lead in a circle."""
        source = self.node(inside)
        if not isinstance(source, h5py.Dataset) or source.is_virtual or source.external:
            raise DataError(f"{self.path}: '{inside}', where values of '{key}' lie, is no plain dataset.")

    def _bring(self, place: Path) -> str:
        """What to do about a file that is not there."""
        return f"Put {place.name} next to {self.path.name}, from where both were written."

    def _refusal(self, what: str, where: str) -> DataError:
        return DataError(
            f"{self.path}: {what}, which is not followed: it {where}.", remedy=f"If you trust the file, give {FOLLOW_FLAG}."
        )

    def _check_heaps(self, dtype: np.dtype[Any]) -> None:
        """Refuse a file whose heaps are damaged, once, before a text of any length is read."""
        if not self._heaps_checked and dtype.kind == "O":
            check_heaps(self.path)
            self._heaps_checked = True

    def _check_lengths(self, key: str, data: Any) -> None:  # noqa: ANN401 - h5py has no types
        """Refuse texts longer than the file, for which HDF5 would take memory; each lies there as its length and its place."""
        self._check_heaps(data.dtype)
        place, number = data.id.get_offset(), data.size
        if h5py.check_string_dtype(data.dtype).length is not None or place is None or not number:
            return
        home = Path(data.file.filename)
        with home.open("rb") as file:
            file.seek(place)
            raw = file.read(data.id.get_storage_size())
        one = len(raw) // number
        longest = max((int.from_bytes(raw[first : first + 4], "little") for first in range(0, one * number, one or 1)), default=0)
        if longest > home.stat().st_size:
            raise DataError(f"{self.path}: '{key}', shape {data.shape}, has a text of {longest} bytes; the file is shorter.")

    def _texts(self, key: str, data: Any) -> list[str]:  # noqa: ANN401 - h5py has no types
        """Texts, in portions: many may be one long text that the file holds once."""
        self._check_lengths(key, data)
        found: list[str] = []
        taken = 0
        for first in range(0, len(data), _PORTION):
            part = data.asstr(errors="replace")[first : first + _PORTION]
            taken += sum(len(text) for text in part)
            if taken > _LARGEST_TEXTS:
                raise DataError(f"{self.path}: '{key}', shape {data.shape}, holds more than {_LARGEST_TEXTS} characters.")
            found.extend(part)
        return found
