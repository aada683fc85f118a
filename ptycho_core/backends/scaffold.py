"""Writing out a new backend: a small complete distribution under a new name, to be copied from."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ptycho_core.backends.known import known_backends
from ptycho_core.backends.registry import bad_name, find_backends
from ptycho_core.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "rendered", "write_backend"]

KINDS: Final = {"verbs": ("numpy>=1.26",), "arrays": ("numpy>=1.26", "scipy>=1.11", "threadpoolctl>=3.1")}
"""What a backend may begin from, and what that needs: a verb that is written by hand, or the operations that the engine takes."""

_TEMPLATE: Final = Path(__file__).with_name("template")
_OPERATIONS: Final = Path(__file__).parents[1] / "numpy_backend"
"""The core's own backend on array operations: what is written out is its code, under another name."""

_SUFFIX: Final = ".in"
_FOLDERS: Final = {"package": "ptycho_backend_@NAME@"}


def write_backend(name: str, folder: Path | None = None, *, kind: str = "verbs") -> Path:
    """Write a backend into a new folder, ready to be installed.

    Args:
        name: of the backend.
        folder: is made; None for ``ptycho-NAME`` in the working directory.
        kind: of `KINDS`.

    Returns:
        The folder.

    Raises:
        UsageError: the name is malformed, reserved, or that of a backend that is installed or known.
        OutputError: the folder is there already, or cannot be made.
    """
    _check(name)
    place = Path(f"ptycho-{name}") if folder is None else folder
    if os.path.lexists(place):
        raise OutputError(f"{place} is there already.", remedy="Name another folder with -o.")
    try:
        with tempfile.TemporaryDirectory(prefix=".ptycho-", dir=place.absolute().parent) as scratch:
            whole = Path(scratch) / "new"
            for path, text in rendered(name, kind).items():
                (whole / path).parent.mkdir(parents=True, exist_ok=True)
                (whole / path).write_text(text, "utf-8")
            whole.rename(place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror}.") from error
    return place


def rendered(name: str, kind: str = "verbs") -> Mapping[Path, str]:
    """The files of a backend by their paths in its folder; ``kind`` is of `KINDS`."""
    words = {"@NAME@": name, "@TITLE@": name.replace("_", " ").capitalize(), "@DISTRIBUTION@": f"ptycho-{name.replace('_', '-')}"}
    words["@REQUIRES@"] = "\n".join(f"    {one}" for one in KINDS[kind])
    found = {}
    for room in (_TEMPLATE / "common", _TEMPLATE / kind):
        for source in sorted(room.rglob(f"*{_SUFFIX}")):
            first, *rest = source.relative_to(room).parts
            path = "/".join([_FOLDERS.get(first, first), *rest]).removesuffix(_SUFFIX)
            found[Path(_filled(path, words))] = _filled(source.read_text("utf-8"), words)
    return found if kind != "arrays" else {**found, **_operations(name)}


def _operations(name: str) -> Mapping[Path, str]:
    """The modules of the core's own backend, in a package of that name."""
    package, own = f"ptycho_backend_{name}", f"{__name__.partition('.')[0]}.{_OPERATIONS.name}"
    modules = [path for path in sorted(_OPERATIONS.glob("*.py")) if path.name != "__init__.py"]
    texts = {path.name: path.read_text("utf-8").replace(own, package) for path in modules}
    texts["plugin.py"] = re.sub(r'engine_hooks\("\w+"', f'engine_hooks("{name}"', texts["plugin.py"])
    return {Path(package, file): text for file, text in texts.items()}


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _check(name: str) -> None:
    problem = bad_name(name)
    if problem:
        raise UsageError(f"{problem}.")
    if name in known_backends():
        raise UsageError(f"'{name}' is the name of a backend of ptycho's own.", remedy="Choose another name.")
    there = [row.source for row in find_backends() if row.name == name]
    if there:
        raise UsageError(f"a backend '{name}' is installed already ({', '.join(there)}).", remedy="Choose another name.")
