"""The parameters of tests, as the manifest of a backend gives them; without a manifest there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ptycho_core.conformance.limits import LIMITS
from ptycho_core.contract import ACCELERATORS, PRECISIONS, VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ptycho_core.contract import BackendSpec

__all__ = ["CASES"]


def _verbs(spec: BackendSpec | None) -> list[str]:
    return [] if spec is None else [verb for verb in VERBS if verb in spec.capabilities]


def _reading_verbs(spec: BackendSpec | None) -> list[str]:
    """Verbs that read the patterns of a scan."""
    return [verb for verb in _verbs(spec) if verb != "evaluate"]


def _unclaimed_verbs(spec: BackendSpec | None) -> list[str]:
    return [] if spec is None else [verb for verb in VERBS if verb not in spec.capabilities]


def _compared(spec: BackendSpec | None) -> list[str]:
    """Precisions with limits."""
    return [] if spec is None else [one for one in LIMITS if one in spec.precisions]


def _mixed(spec: BackendSpec | None) -> list[str]:
    return [] if spec is None else [one for one in spec.precisions if one not in LIMITS]


def _unclaimed_precisions(spec: BackendSpec | None) -> list[str]:
    return [] if spec is None else [one for one in PRECISIONS if one not in spec.precisions]


def _unclaimed_accelerators(spec: BackendSpec | None) -> list[str]:
    return [] if spec is None else [one for one in ACCELERATORS if one not in spec.accelerators]


def _options(spec: BackendSpec | None) -> list[str]:
    return [] if spec is None else [one.name for one in spec.options]


def _extras(spec: BackendSpec | None) -> list[str]:
    """What a backend that reconstructs does not claim beside."""
    if spec is None or "reconstruct" not in spec.capabilities:
        return []
    return [one for one in ("positions", "background") if one not in spec.capabilities]


CASES: Final[Mapping[str, Callable[[BackendSpec | None], Sequence[Any]]]] = {
    "verb": _verbs,
    "reading_verb": _reading_verbs,
    "unclaimed_verb": _unclaimed_verbs,
    "precision": _compared,
    "mixed_precision": _mixed,
    "unclaimed_precision": _unclaimed_precisions,
    "unclaimed_accelerator": _unclaimed_accelerators,
    "own_option": _options,
    "unclaimed_extra": _extras,
}
"""What a fixture name of a test is replaced with."""
