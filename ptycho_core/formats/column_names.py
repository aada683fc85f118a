"""What people call the columns of positions: which axis a name means, and in which unit it is."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, Final

from ptycho_core.units import length_m, unit_word

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["axis_of", "numbers_column", "only_units", "position_columns", "unit_in_words", "unit_of"]

_ROWS: Final = frozenset({"y", "row", "rows", "vertical", "ver"})
_COLUMNS: Final = frozenset({"x", "column", "columns", "col", "cols", "horizontal", "hor"})
_FILLERS: Final = frozenset(
    {"pos", "position", "positions", "coord", "coordinate", "in", "motor", "scan", "sample", "probe", "stage"}
)
"""Words next to an axis that say nothing else, unlike ``err`` or ``target``."""

_NUMBERS: Final = frozenset({
    "index", "indexes", "indices", "idx", "frame", "frames", "frame_number", "frame_index", "number", "id", "n", "no",
})  # fmt: skip
_WORDS: Final = re.compile(r"[^\W\d_]+|\d+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNIT_SAID: Final = re.compile(r"\b(?:units?|in)\b\W*([^\s,;:()\[\]]+)", re.IGNORECASE)
_AXIS_UNIT: Final = re.compile(r"\b[xy]\s*:\s*([^\s,;:()\[\]]+)", re.IGNORECASE)


def position_columns(names: Sequence[str]) -> tuple[int, int] | None:
    """The places of the columns that hold rows (y) and columns (x), by their names; None where these do not say it.

    Names of an axis and no more go first, such as ``pos_y_mm``; then others with an axis as a word, such as ``target_y``;
    then two that differ by an ``x`` in place of a ``y``, such as ``samx`` and ``samy``. Several of a kind say nothing.
    """
    axes = [axis_of(name) for name in names]
    for bare in (True, False):
        found = [
            [place for place, one in enumerate(axes) if one == axis and (not bare or _is_bare(names[place]))]
            for axis in ("row", "column")
        ]
        if len(found[0]) == len(found[1]) == 1:
            return found[0][0], found[1][0]
    pairs = [pair for pair in combinations(range(len(names)), 2) if _is_twin(names[pair[0]], names[pair[1]])]
    if len(pairs) != 1:
        return None
    first, second = pairs[0]
    return (first, second) if _differs(names[first], names[second]) == "yx" else (second, first)


def axis_of(name: str) -> str:
    """``row`` for a name of y or a row, ``column`` for one of x or a column, empty for others and for both."""
    words = set(_words(name))
    rows, columns = bool(words & _ROWS), bool(words & _COLUMNS)
    return "" if rows == columns else "row" if rows else "column"


def unit_of(name: str) -> str:
    """The unit at the end of a column's name, such as ``x_um``, ``x [um]`` or ``posX_um``; empty where there is none."""
    bracket = re.search(r"[\[(]\s*([^\])]+?)\s*[\])]\s*$", name)
    if bracket and (found := _unit(bracket.group(1))):
        return found
    words = [word for word in re.split(r"[_\s\[\]()/:,]+", name) if word]
    return _unit(words[-1]) if len(words) > 1 else ""


def only_units(words: Sequence[str]) -> bool:
    """Whether a line is one of units under a header."""
    bare = [word.strip("[]() ") for word in words if word.strip()]
    return bool(bare) and any(_unit(word) for word in bare) and all(_unit(word) or word in ("-", "s", "1", "#") for word in bare)


def unit_in_words(lines: Sequence[str]) -> str:
    """The one unit of length that comments state, as ``units: um``, ``positions in um`` or ``x: um, y: um``; empty for none."""
    found = {
        unit
        for line in lines
        for said in (_UNIT_SAID, _AXIS_UNIT)
        for word in said.findall(line)
        if (unit := _unit(word.rstrip(".")))
    }
    return found.pop() if len(found) == 1 else ""


def numbers_column(names: Sequence[str]) -> int | None:
    """The place of the column that numbers frames; None where none is named so."""
    return next((place for place, name in enumerate(names) if name.strip().lower().replace(" ", "_") in _NUMBERS), None)


def _unit(word: str) -> str:
    """A unit of positions in our spelling; empty for another word."""
    found = unit_word(word)
    return found if found == "px" or length_m(found) is not None else ""


def _words(name: str) -> list[str]:
    """The words of a name in lower case, without its unit: ``posX_um`` has ``pos`` and ``x``."""
    words = [word.lower() for word in _WORDS.findall(_CAMEL.sub(" ", name))]
    found: list[str] = []
    for word in words:
        glued = re.fullmatch(r"(pos|position|coord)s?([xy])|([xy])(pos|position|coord)s?", word)
        found += [part for part in glued.groups() if part] if glued else [word]
    return found


def _is_bare(name: str) -> bool:
    unit = unit_of(name).lower()
    return all(word in _ROWS | _COLUMNS | _FILLERS or unit_word(word).lower() == unit or word == "px" for word in _words(name))


def _is_twin(one: str, other: str) -> bool:
    return _differs(one, other) in ("xy", "yx")


def _differs(one: str, other: str) -> str:
    """The letters in which two names of one length differ, if it is one place, in lower case: ``xy`` for samx and samy."""
    one, other = (name.lower().removesuffix(unit_of(name).lower()) for name in (one, other))
    places = [a + b for a, b in zip(one, other, strict=False) if a != b]
    return places[0] if len(one) == len(other) and len(places) == 1 else ""
