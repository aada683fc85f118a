"""How arguments and answers travel between processes: JSON, and arrays in an npz file next to it. Nothing is pickled.

What JSON cannot say stands in an object with one key that begins with ``$``. The classes that may travel are a closed table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from ptycho_core.errors import UsageError

__all__ = ["pack", "read_value", "unpack", "write_value"]

_ARRAYS = "biufcSU"  # kinds of NumPy types that an npz file holds without pickle


def write_value(place: Path, value: object, what: str) -> None:
    """Write a value as ``place.json`` and, if it holds arrays, ``place.npz``.

    Args:
        place: path without suffix.
        value: None, numbers, text, lists, tuples, sets, mappings, paths, NumPy arrays and scalars, data of the contract.
        what: what the value is, for messages.

    Raises:
        UsageError: it holds something else.
    """
    arrays: list[Any] = []
    text = json.dumps(pack(value, arrays, what))
    if arrays:
        import numpy as np

        np.savez(place.with_suffix(".npz"), **{str(number): array for number, array in enumerate(arrays)})
    place.with_suffix(".json").write_text(text, encoding="utf-8")


def read_value(place: Path) -> Any:  # noqa: ANN401 - whatever was written
    """Read what `write_value` wrote; arrays keep type, shape and order of their axes in memory."""
    plain = json.loads(place.with_suffix(".json").read_text("utf-8"))
    held = place.with_suffix(".npz")
    if not held.exists():
        return unpack(plain, ())
    import numpy as np

    with np.load(held, allow_pickle=False) as file:
        arrays = [file[str(number)] for number in range(len(file.files))]
    return unpack(plain, arrays)


def pack(value: Any, arrays: list[Any], what: str) -> Any:  # noqa: ANN401 - a value of any type in, JSON out
    """A value as JSON; its arrays are appended to ``arrays``.

    Raises:
        UsageError: it holds something that cannot travel.
    """
    import numpy as np

    if isinstance(value, np.generic) and value.dtype.kind in _ARRAYS:  # before float: a float64 of NumPy is one of Python too
        return {"$scalar": [value.dtype.str, value.tobytes().hex()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in _ARRAYS:
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, complex):
        return {"$complex": [value.real, value.imag]}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, list):
        return [pack(item, arrays, what) for item in value]
    for tag, kind in (("$tuple", tuple), ("$frozenset", frozenset), ("$set", set)):
        if isinstance(value, kind):
            return {tag: [pack(item, arrays, what) for item in value]}
    if isinstance(value, Mapping):
        return _pack_mapping(value, arrays, what)
    name = type(value).__name__
    if _classes().get(name) is type(value):
        held = {item.name: pack(getattr(value, item.name), arrays, what) for item in fields(value)}
        return {"$data": [name, held]}
    raise UsageError(f"{what} holds a {name}, which cannot travel between processes.", remedy="Give plain data or arrays.")


def unpack(plain: Any, arrays: Any) -> Any:  # noqa: ANN401 - JSON in, a value of any type out
    """The value behind JSON that `pack` made, and its arrays."""
    if isinstance(plain, list):
        return [unpack(item, arrays) for item in plain]
    if not isinstance(plain, dict):
        return plain
    tag = next(iter(plain), "")
    if not tag.startswith("$"):
        return {key: unpack(item, arrays) for key, item in plain.items()}
    held = plain[tag]
    if tag == "$array":
        return arrays[held]
    if tag == "$data":
        name, values = held
        return _classes()[name](**{key: unpack(item, arrays) for key, item in values.items()})
    if tag == "$pairs":
        return {unpack(key, arrays): unpack(item, arrays) for key, item in held}
    return _SIMPLE[tag]([unpack(item, arrays) for item in held] if isinstance(held, list) else held)


def _pack_mapping(value: Mapping[Any, Any], arrays: list[Any], what: str) -> Any:  # noqa: ANN401 - JSON
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: pack(item, arrays, what) for key, item in value.items()}
    return {"$pairs": [[pack(key, arrays, what), pack(item, arrays, what)] for key, item in value.items()]}


def _scalar(held: list[str]) -> Any:  # noqa: ANN401 - a NumPy scalar
    import numpy as np

    return np.frombuffer(bytes.fromhex(held[1]), dtype=np.dtype(held[0]))[0]


_SIMPLE: Mapping[str, Any] = {
    "$complex": lambda held: complex(*held),
    "$frozenset": frozenset,
    "$path": Path,
    "$scalar": _scalar,
    "$set": set,
    "$tuple": tuple,
}


@cache
def _classes() -> dict[str, type[Any]]:
    """The classes that may travel, by name: the data of the contract, what the verbs give back, and typed settings."""
    from ptycho_core import contract
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.settings.sources import Typed

    own = [one for one in vars(contract).values() if isinstance(one, type) and one.__module__ == contract.__name__]
    return {one.__name__: one for one in (*own, Reconstruction, StoredObject, Typed) if is_dataclass(one)}
