"""The child process of the doctor: loads one backend, imports its framework, probes it, and answers in lines of JSON.

Standard output is reserved for the answers; whatever the backend prints, from C code too, goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from importlib import import_module

__all__ = ["main"]


def main(name: str) -> None:
    """Examine one backend; each step is announced first, so that the parent knows in which one a crash happened."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer: object) -> None:
        print(json.dumps(answer), file=channel, flush=True)

    from ptycho_core.errors import PtychoError
    from ptycho_core.failures import in_one_line

    try:
        say(step="loading the plugin")
        from ptycho_core.backends.loading import load
        from ptycho_core.backends.registry import choose

        backend = load(choose(name))
        if backend.spec.framework is not None:
            say(step=f"importing {backend.spec.framework.module}")
            import_module(backend.spec.framework.module)
        say(step="running ptycho_probe")
        report = backend.probe()
        say(report=asdict(report), environment=backend.environment)
    except BaseException as error:  # noqa: BLE001 - a row of a table, whatever it was
        message = " ".join(error.message.split()) if isinstance(error, PtychoError) else in_one_line(error, "")
        say(failure=message, trace=traceback.format_exc())


if __name__ == "__main__":
    main(sys.argv[1])
