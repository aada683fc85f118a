"""The parameters of tests, as the manifest of a backend gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ptycho_core.conformance.limits import LIMITS
from ptycho_core.contract import ACCELERATORS, PRECISIONS, VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ptycho_core.contract import BackendSpec

__all__ = ["CASES"]

_EXTRAS: Final = (
    "positions",
    "position-search",
    "background",
    "flux",
    "saturation",
    "near-field",
)  # that a backend which reconstructs may claim, too

CASES: Final[Mapping[str, Callable[[BackendSpec], Sequence[Any]]]] = {
    "verb": lambda spec: [verb for verb in VERBS if verb in spec.capabilities],
    "reading_verb": lambda spec: [verb for verb in VERBS if verb in spec.capabilities and verb != "evaluate"],
    "unclaimed_verb": lambda spec: [verb for verb in VERBS if verb not in spec.capabilities],
    "precision": lambda spec: [one for one in LIMITS if one in spec.precisions],
    "mixed_precision": lambda spec: [one for one in spec.precisions if one not in LIMITS],
    "unclaimed_precision": lambda spec: [one for one in PRECISIONS if one not in spec.precisions],
    "unclaimed_accelerator": lambda spec: [one for one in ACCELERATORS if one not in spec.accelerators],
    "own_option": lambda spec: [one.name for one in spec.options],
    "unclaimed_extra": lambda spec: [one for one in _EXTRAS if {one, "reconstruct"} - {*spec.capabilities} == {one}],
}
"""What a fixture name of a test is replaced with."""
