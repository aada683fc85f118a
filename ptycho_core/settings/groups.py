"""All groups of settings, and which of their settings a job takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from ptycho_core.settings.data import DataSettings
from ptycho_core.settings.declare import Declaration, declarations_of
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.inference import InferenceSettings
from ptycho_core.settings.model import ModelSettings
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_core.settings.training import TrainingSettings

__all__ = ["GROUPS", "declarations", "grouped"]

GROUPS: tuple[type, ...] = (
    DataSettings, ModelSettings, TrainingSettings, ReconstructionSettings, InferenceSettings, ExecutionSettings,
)  # fmt: skip
"""The groups that ptycho itself declares."""


@cache
def grouped() -> dict[str, tuple[Declaration, ...]]:
    """The settings of each group by its name, in order, with what installed losses and loggers add."""
    from ptycho_core.settings.components import likelihoods, logger_names, loss_declarations

    found = {str(group.GROUP): declarations_of(group) for group in GROUPS}  # type: ignore[attr-defined]
    for one in loss_declarations():
        found[one.group] = (*found.get(one.group, ()), one)
    words = likelihoods()
    usable, unusable = [word for word, why in words.items() if not why], [(word, why) for word, why in words.items() if why]
    found["reconstruction"] = tuple(
        replace(one, choices=(*one.choices, *usable), unusable=tuple(unusable)) if one.name == "likelihood" else one
        for one in found["reconstruction"]
    )
    found["execution"] = tuple(
        replace(one, choices=tuple(dict.fromkeys((*one.choices, *logger_names())))) if one.name == "logger" else one
        for one in found["execution"]
    )
    return found


@cache
def declarations(verb: str) -> dict[str, Declaration]:
    """The settings that a verb takes, by name, in order; a name is unique among those of one verb."""
    return {one.name: one for group in grouped().values() for one in group if verb in one.verbs}
