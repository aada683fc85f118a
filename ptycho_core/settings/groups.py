"""All groups of settings, and which of their settings a job takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ptycho_core.settings.data import DataSettings
from ptycho_core.settings.declare import Declaration, declarations_of
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.inference import InferenceSettings
from ptycho_core.settings.model import ModelSettings
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_core.settings.training import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GROUPS", "declarations", "grouped"]

GROUPS: tuple[type, ...] = (
    DataSettings, ModelSettings, TrainingSettings, ReconstructionSettings, InferenceSettings, ExecutionSettings,
)  # fmt: skip
"""The groups that ptycho itself declares."""


@cache
def grouped() -> dict[str, tuple[Declaration, ...]]:
    """The settings of each group by its name, in order, with what installed losses, networks and loggers add."""
    from ptycho_core.settings.components import (
        likelihoods,
        logger_names,
        loss_declarations,
        network_declarations,
        network_names,
    )

    found = {str(group.GROUP): declarations_of(group) for group in GROUPS}  # type: ignore[attr-defined]
    for one in (*loss_declarations(), *network_declarations()):
        found[one.group] = (*found.get(one.group, ()), one)
    loggers = dict.fromkeys(logger_names(), "")
    for group, name, words in (
        ("reconstruction", "likelihood", likelihoods()), ("model", "network", network_names()), ("execution", "logger", loggers),
    ):  # fmt: skip
        found[group] = tuple(_with_words(one, words) if one.name == name else one for one in found[group])
    return found


@cache
def declarations(verb: str) -> dict[str, Declaration]:
    """The settings that a verb takes, by name, in order; a name is unique among those of one verb."""
    return {one.name: one for group in grouped().values() for one in group if verb in one.verbs}


def _with_words(one: Declaration, words: Mapping[str, str]) -> Declaration:
    """A setting with further choices; what has a reason cannot be chosen."""
    usable = [word for word, why in words.items() if not why]
    unusable = tuple((word, why) for word, why in words.items() if why)
    return replace(one, choices=tuple(dict.fromkeys((*one.choices, *usable))), unusable=unusable)
