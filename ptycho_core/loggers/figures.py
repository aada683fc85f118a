"""The numbers that are logged, and how they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ptycho_core.contract import Event

__all__ = ["Figures", "figures_of"]


class Figures(NamedTuple):
    """Numbers to log, by name, and the step that they belong to."""

    step: int
    values: dict[str, float]


def figures_of(event: Event) -> Figures | None:
    """The numbers of an event, or None if it has none to log.

    Those of an epoch of a training are ``epoch/NAME`` at the number of the epoch, those of a step ``step/NAME`` at the number of
    the step in the run; those of a stage of a reconstruction ``STAGE/NAME`` at the number within the stage.
    """
    if event.kind == "epoch":
        prefix, step = ("epoch" if event.stage == "train" else event.stage.replace(" ", "-")), event.epoch
    elif event.kind == "step" and "step" in event.values:
        prefix, step = "step", int(event.values["step"] or 0)
    else:
        return None
    left_out = ("epoch", "step")
    numbers = {
        f"{prefix}/{name}": float(value)
        for name, value in event.values.items()
        if name not in left_out and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Figures(step, numbers)
