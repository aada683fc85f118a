"""An exception as plain data, so that it can be raised again in another process, and as one line."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from ptycho_core import errors
from ptycho_core.errors import BackendError, PtychoError

__all__ = ["described", "in_one_line", "raised_again", "text_of"]

_LONGEST = 500
_FIELDS = ("message", "remedy", "source", "backend", "distribution")


def described(error: BaseException) -> dict[str, Any]:
    """Class, text and trace of an exception: JSON."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, PtychoError):
        named = next(kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        values = {name: str(getattr(error, name)) for name in _FIELDS}
        state = {"state": error.state} if isinstance(error, errors.BackendUnusableError) else {}
        return {"class": named, "code": error.code, "fields": values | state, "trace": trace}
    return {"what": _what(error), "place": _place(error), "trace": trace}


def raised_again(failure: dict[str, Any], backend: str, doing: str) -> PtychoError:
    """The exception that was described: the same class if it is our own, else a ``BackendError`` that tells it.

    Args:
        failure: what `described` gave.
        backend: name of the backend whose process raised it.
        doing: what the process was doing, such as ``running module:function``.

    Returns:
        The exception, with the trace of the other process as a note, which Python shows below its own trace.
    """
    if "class" in failure:
        fields = dict(failure["fields"])
        error: PtychoError = getattr(errors, failure["class"])(fields.pop("message"), **fields)
        error.code = failure["code"]
    else:
        place = f" ({failure['place']})" if failure["place"] else ""
        error = BackendError(
            f"backend '{backend}' failed while {doing}: {failure['what']}{place}.",
            remedy="Add --traceback to see the whole trace.",
            backend=backend,
        )
    error.add_note(f"In the worker process of backend '{backend}':\n{failure['trace']}".rstrip())
    return error


def in_one_line(error: BaseException, top: str) -> str:
    """Type, message and the last line of the plugin's own code that the error went through."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [item for item in frames if str(item[0].f_globals.get("__name__", "")).partition(".")[0] == top]
    what = _what(error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} ({Path(error.filename).name}:{error.lineno})"
    if not own:
        return what
    frame, line = own[-1]
    path = Path(frame.f_code.co_filename)
    return f"{what} ({path.parent.name}/{path.name}:{line})"


def text_of(error: BaseException) -> str:
    """The text of an exception, in one line of a length that can be read; empty if it has none."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the exception of a plugin may fail to describe itself
        text = ""
    text = " ".join(text[: 2 * _LONGEST].split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _what(error: BaseException) -> str:
    """Type and text of an exception, in one line of a length that can be read."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """Folder, file and line where an exception arose."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).parent.name}/{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
