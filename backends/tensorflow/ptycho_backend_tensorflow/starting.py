"""The start of TensorFlow without what it prints of the machine, and without Keras, which nothing here uses."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["without_keras", "without_start_messages"]

_OF_THE_LIBRARY = re.compile(
    rb"[IWE]\d{4} \d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |WARNING: All log messages before absl::InitializeLog"
)
"""How a line of TensorFlow's log begins: level, date, time; before it the older order, and the heading of both."""


@contextmanager
def without_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras while it is imported, which takes a third of that time.

    It does so only to register Keras' optimizers for files that nothing here writes; ``tf.keras`` still loads when it is used.
    """
    name = "keras.src.optimizers"
    if name in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[name] = None  # what the import system takes for a module that is not there
    try:
        yield
    finally:
        sys.modules.pop(name, None)


@contextmanager
def without_start_messages() -> Iterator[None]:
    """Hold back the process's standard error, and let through afterwards what is not TensorFlow's log.

    It says on standard error, below Python, which instructions the processor has and that there is no GPU, whatever its log
    level. On an exception everything is let through.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    _flush()
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            failed = True
            try:
                yield
                failed = False
            finally:
                _flush()
                os.dup2(kept, 2)
                held.seek(0)
                _let_through(held.read(), everything=failed)
    finally:
        os.close(kept)


def _let_through(text: bytes, *, everything: bool) -> None:
    lines = text.splitlines(keepends=True)
    with suppress(OSError):  # no one reads it any more, or its disk is full
        os.write(2, b"".join(line for line in lines if everything or not _OF_THE_LIBRARY.match(line)))


def _flush() -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
