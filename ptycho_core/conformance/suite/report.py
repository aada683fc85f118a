"""What a session found, as data for JSON."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.contract import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.backends.states import BackendInfo

__all__ = ["FORMAT", "report"]

FORMAT: Final = 1
"""Version of the layout of a report."""


def report(
    row: BackendInfo,
    tests: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, int]],
    problems: Sequence[str],
    device: str,
    cost: Mapping[str, float],
) -> dict[str, Any]:
    """The report of a session.

    Args:
        row: the backend.
        tests: ``id``, ``claims``, ``outcome``, ``reason`` and ``seconds`` of each.
        counts: outcomes by claimed word.
        problems: why the session proves less than is claimed.
        device: accelerator that was computed on.
        cost: ``seconds`` of wall time and ``cpu_seconds`` of the processes that have ended.
    """
    from ptycho_core import __version__

    spec = row.spec
    claims: dict[str, Any] = {}
    if spec is not None:
        claims = {
            "title": spec.title,
            "contract": ".".join(map(str, spec.contract)),
            "framework": None if spec.framework is None else spec.framework.module,
            "capabilities": list(spec.capabilities),
            "accelerators": list(spec.accelerators),
            "precisions": list(spec.precisions),
            "options": [one.name for one in spec.options],
        }
    proven = bool(tests) and not problems and all(one["outcome"] in ("passed", "xfailed") for one in tests)
    return {
        "format": FORMAT,
        "backend": row.name,
        "distribution": row.source,
        "framework_version": row.framework_version,
        "state": row.state,
        "core": __version__,
        "contract": ".".join(map(str, CONTRACT)),
        "python": platform.python_version(),
        "device": device,
        **cost,
        "claims": claims,
        "proven": proven,
        "counts": {word: dict(one) for word, one in counts.items()},
        "problems": list(problems),
        "tests": [dict(one) for one in tests],
    }
