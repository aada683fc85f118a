"""All groups of settings, and which of their settings a job takes."""

from __future__ import annotations

from functools import cache

from ptycho_core.settings.data import DataSettings
from ptycho_core.settings.declare import Declaration, declarations_of
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.model import ModelSettings
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_core.settings.training import TrainingSettings

__all__ = ["GROUPS", "declarations"]

GROUPS: tuple[type, ...] = (
    DataSettings,
    ModelSettings,
    TrainingSettings,
    ReconstructionSettings,
    ExecutionSettings,
)


@cache
def declarations(verb: str) -> dict[str, Declaration]:
    """The settings that a verb takes, by name, in order; a name is unique among those of one verb."""
    return {one.name: one for group in GROUPS for one in declarations_of(group) if verb in one.verbs}
