"""JSON, strictly: numbers are finite, names can be printed and stand once, the same content gives the same bytes."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from ptycho_core.errors import DataError

__all__ = ["parse_json", "plain", "to_json"]

_DEEPEST = 64
_DIGITS = 40


def parse_json(data: bytes, where: str, *, finite: bool = True) -> dict[str, Any]:
    """A JSON object in UTF-8.

    Args:
        data: the text.
        where: what it is, for messages.
        finite: whether numbers must be finite; else what is not is None, and a name may stand twice.

    Raises:
        DataError: it is not JSON, not an object, nested too deeply, has a name twice or one that cannot be printed, or a number
            that is not finite or too long.
    """
    hooks: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite, "object_pairs_hook": _unique}
    lenient: dict[str, Any] = {"parse_constant": lambda _: None, "parse_float": _finite_or_none}
    try:
        found = json.loads(data.decode("utf-8"), parse_int=_whole, **(hooks if finite else lenient))
        _check_depth(found)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON that can be read: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is not a JSON object but a {type(found).__name__}.")
    return found


def _check_depth(value: object) -> None:
    """Refuse what is nested so deeply that to print or copy it could fail."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        level = [
            item
            for one in level
            for item in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(item, dict | list)
        ]


def to_json(value: object) -> bytes:
    """What `plain` gave, as text: names sorted, one item a line."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def plain(value: Any, where: str, *, nulls: bool = False) -> Any:  # noqa: ANN401 - any value that JSON can hold
    """A copy made of what JSON has; a mapping becomes a dictionary, a sequence a list, a NumPy number a number.

    Args:
        value: the value.
        where: its place, for messages.
        nulls: whether numbers that are not finite become None; else they are refused.

    Raises:
        DataError: JSON cannot hold it.
    """
    from collections.abc import Mapping

    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if nulls:
            return None
        raise DataError(f"{where} is {value}; only finite numbers can be stored.")
    if isinstance(value, Mapping):
        if names := [name for name in value if not isinstance(name, str) or not name.isprintable()]:
            raise DataError(f"{where} has the name {names[0]!r}; only text that can be printed can be stored as a name.")
        return {name: plain(item, f"{where}['{name}']", nulls=nulls) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{number}]", nulls=nulls) for number, item in enumerate(value)]
    raise DataError(f"{where} is of type {type(value).__name__}, which JSON cannot hold.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    for name in found:
        if not name.isprintable():  # names appear in messages, and must not steer the terminal
            raise ValueError(f"the name {name[:60]!r} cannot be printed")
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name '{next(name for name in names if names.count(name) > 1)}' stands twice")
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too long")
    return int(text)


def _finite_or_none(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond all numbers")
    return number
