"""The file of expected failures: which tests a backend is known to fail, each with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_exceptions"]


def read_exceptions(path: Path) -> dict[str, str]:
    """Reasons by test id, such as ``test_evaluate.py::test_loss_terms[float32]``.

    A line is ``ID = REASON``; blank lines and those that begin with ``#`` do not count.

    Raises:
        UsageError: the file cannot be read, a line has no reason, or an id stands there twice; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The expected failures in {path} cannot be read: {error}.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, reason = (part.strip() for part in text.partition("="))
        if not reason:
            raise UsageError(f"{path}, line {number}: '{name}' has no reason; write ID = REASON.")
        if name in found:
            raise UsageError(f"{path}, line {number}: '{name}' stands there twice.")
        found[name] = reason
    return found
