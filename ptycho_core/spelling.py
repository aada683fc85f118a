"""Text from outside, names, keys, messages of plugins, as text that can be written or shown and steers nothing."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["LONGEST", "harmless", "printable", "shown"]

LONGEST: Final = 1000
"""Characters of a line that are shown."""

_UNSEEN: Final = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)))
)
"""Letters and marks that take no room, or leave it blank, and are neither control nor format characters."""


def printable(name: str) -> str:
    r"""A name for places that take UTF-8 alone: a byte of it that is none as ``\udcXX``, as Python and its JSON spell it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: object, most: int = LONGEST) -> str:
    r"""A text from outside as part of one line: what would steer a terminal is spelled as Python does, ``\x1b``, ``\n``.

    Args:
        text: anything that has a text.
        most: characters to show; of a longer text the beginning and the end are left, and how many are not shown.
    """
    return harmless(_cut(str(text), most), kept="")


def harmless(text: str, kept: str = "\n\t") -> str:
    """A text of any length and number of lines without what steers a terminal; ``kept`` stays as it is."""
    if text.isascii() and text.translate(dict.fromkeys(map(ord, kept))).isprintable():
        return text
    return "".join(sign if sign in kept or _is_seen(sign) else sign.encode("unicode_escape").decode() for sign in text)


def _is_seen(sign: str) -> bool:
    """Whether a character shows as itself: no control, direction, joiner, or line break."""
    return (sign.isprintable() or unicodedata.category(sign) == "Zs") and sign not in _UNSEEN


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    begin, end = text[: most * 2 // 3], text[len(text) - most // 4 :]
    return f"{begin} … ({len(text) - len(begin) - len(end)} characters are not shown) … {end}"
