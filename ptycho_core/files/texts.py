"""Texts that people write for ptycho, settings and manifests: read whole, within limits, and parsed without surprises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.files.plain import why_not_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["MOST_OF_MANIFEST", "MOST_OF_SETTINGS", "MOST_OF_YAML", "TextError", "decoded", "parse_toml", "parsed", "read_text"]

MOST_OF_MANIFEST: Final = 2**16
MOST_OF_SETTINGS: Final = 2**18
MOST_OF_YAML: Final = 2**15
"""Bytes of each; PyYAML takes a second for 100 kB."""

_MOST_PARTS: Final = 32
"""Parts of a dotted key: what tomllib needs grows with their square."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


class TextError(ValueError):
    """A text cannot be read or parsed; the message follows its name."""


class _EncodingError(TextError):
    """Bytes are no text."""


def read_text(path: Path, most: int, otherwise: str) -> str:
    """A text in UTF-8, without the mark that some editors put before it.

    Args:
        path: the file.
        most: bytes that it may have.
        otherwise: what to say of a file that is no text, such as ``is not TOML``.

    Raises:
        TextError: there is no plain file, it is longer than ``most`` bytes, or not UTF-8.
    """
    if why := why_not_plain(path):
        raise TextError(f"cannot be read: it {why}")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise TextError(f"cannot be read: {error.strerror or error}") from error
    try:
        return decoded(data, most)
    except _EncodingError as error:
        raise TextError(f"{otherwise}: it {error}") from error


def decoded(data: bytes, most: int) -> str:
    """The text that bytes are.

    Raises:
        TextError: they are more than ``most``, or not UTF-8.
    """
    if len(data) > most:
        raise TextError(f"has more than {most} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _EncodingError(f"is not UTF-8 (byte {error.start})") from error


def parse_toml(text: str) -> dict[str, Any]:
    """What a text in TOML says.

    Raises:
        TextError: it is not TOML, nested too deeply, has a key of too many parts, or a number that is too long.
    """
    import tomllib

    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") >= _MOST_PARTS and _parts(line) > _MOST_PARTS:
            raise TextError(f"has a key of more than {_MOST_PARTS} parts in line {number}")
    table: dict[str, Any] = parsed(tomllib.loads, text, "is not TOML")
    return table


def parsed(parse: Callable[[str], Any], text: str, otherwise: str) -> Any:  # noqa: ANN401 - what the text says
    """What a parser makes of a text.

    Raises:
        TextError: it raised anything.
    """
    try:
        return parse(text)
    except (RecursionError, MemoryError) as error:
        raise TextError("is nested too deeply") from error
    except Exception as error:  # a number of 5000 digits is a ValueError, a month 13 in YAML too
        raise TextError(f"{otherwise}: {' '.join(str(error).split()).rstrip('.')}") from error


def _parts(line: str) -> int:
    """The most parts of a dotted key in a line; texts in quotes count as one."""
    plain = _QUOTED.sub("a", line).partition("#")[0]
    return max(piece.count(".") + 1 for piece in re.split(r"[=,{}\[\]]", plain))
