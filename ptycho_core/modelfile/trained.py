"""What a model file says of its training: settings, scans, epochs. It may say anything; what a job uses is checked here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "check_history",
    "check_scaling",
    "check_state",
    "recorded_flux",
    "recorded_saturation",
    "told_next_to_untrained",
    "trained_scans",
    "trained_settings",
]

_RECORD: Final[dict[str, type]] = {"name": str, "frames": int, "size": int}
"""What every record of a scan has, by which it is known again."""

_MORE: Final[dict[str, type]] = {"part": str, "digest": str}
"""What a training needs to continue."""

_FIGURES: Final = ("loss", "misfit", "validation_loss", "validation_misfit", "learning_rate", "output_deviation", "seconds")
_SCALES: Final = ("mean_counts", "lowest_mean_counts", "transmission")


def trained_settings(audit: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """The settings that a model was trained with, each with its ``value`` and its source; of the backend the one that was taken.

    Args:
        audit: the field ``settings`` of a model file.
        where: the file, for messages.

    Raises:
        DataError: they are no table of entries with a value.
    """
    table = audit.get("settings", {})
    if not isinstance(table, dict):
        raise DataError(f"{where}: the settings of its training are {_short(table)}; an object is expected.")
    for name, entry in table.items():
        key = "effective" if name == "backend" else "value"
        if not isinstance(entry, dict) or key not in entry:
            raise DataError(f"{where}: the setting '{name:.60}' of its training is {_short(entry)}; it has no '{key}'.")
        if not isinstance(entry[key], bool | int | float | str | None):
            stated = f"'{key}' of the setting '{name:.60}' of its training is {_short(entry[key])}"
            raise DataError(f"{where}: {stated}; a number, a truth, text or null is expected.")
    return table


def trained_scans(audit: Mapping[str, Any], where: str, *, all_of_them: bool = False) -> list[dict[str, Any]]:
    """The records of the scans that a model was trained with.

    Args:
        audit: the field ``settings`` of a model file.
        where: the file, for messages.
        all_of_them: whether a training is to continue, which needs more of each record.

    Raises:
        DataError: they are no list of records.
    """
    records = audit.get("scans", [])
    if not isinstance(records, list):
        raise DataError(f"{where}: the scans of its training are {_short(records)}; a list is expected.")
    wanted = _RECORD | (_MORE if all_of_them else {})
    for number, record in enumerate(records, 1):
        for name, kind in wanted.items():
            if not isinstance(record, dict) or type(record.get(name)) is not kind:
                stated = _short(record.get(name)) if isinstance(record, dict) else _short(record)
                noun = "text" if kind is str else "a whole number"
                raise DataError(f"{where}: '{name}' of scan {number} of its training is {stated}; {noun} is expected.")
    return records


def recorded_saturation(record: Mapping[str, Any], where: str) -> float | None:
    """Counts at which pixels of a scan ended when it was learned from; None where none did.

    Raises:
        DataError: they are no number above 0.
    """
    level = record.get("saturation")
    if level is not None and not _is_above_zero(level):
        raise DataError(f"{where}: 'saturation' of {_short(record['name'])} is {_short(level)}; a number above 0 is expected.")
    return None if level is None else float(level)


def recorded_flux(record: Mapping[str, Any], frames: int, where: str) -> NDArray[np.float64] | None:
    """The flux (frame,), float64, that was fitted to a scan of so many ``frames`` before it was learned from; else None.

    Raises:
        DataError: it is no number above 0 for each frame.
    """
    import numpy as np

    flux = record.get("flux")
    if flux is None or frames != record["frames"]:  # which is refused as another scan
        return None
    if not isinstance(flux, list) or len(flux) != frames or not all(_is_above_zero(one) for one in flux):
        told = f"'flux' of {_short(record['name'])} is {_short(flux)}"
        raise DataError(f"{where}: {told}; {frames} numbers above 0 are expected, one a frame.")
    return np.array(flux, dtype=np.float64)


def check_scaling(scaling: Mapping[str, Any], where: str) -> None:
    """Refuse numbers that no counts can be scaled with.

    Raises:
        DataError: one is not above 0.
    """
    for name in _SCALES:
        if name in scaling and not 0 < scaling[name] < math.inf:
            raise DataError(f"{where}: '{name}' in 'scaling' is {_short(scaling[name])}; a number above 0 is expected.")


def check_history(rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Refuse epochs whose figures are no numbers.

    Raises:
        DataError: one is not; null stands for what was not measured.
    """
    for number, row in enumerate(rows, 1):
        for name in _FIGURES:
            value = row.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise DataError(f"{where}: '{name}' of epoch {number} in 'history' is {_short(value)}; a number is expected.")


def check_state(state: Mapping[str, Any], epochs: int, where: str) -> None:
    """Refuse the state of a training that does not fit its history.

    Args:
        state: of the checkpoint.
        epochs: rows of the history.
        where: the file or the model, for messages.

    Raises:
        DataError: an entry is missing, of another type, or not the one after the history.
    """
    if type(epoch := state.get("epoch")) is not int or epoch != epochs + 1:
        raise DataError(f"{where}: the state of the training is at epoch {_short(epoch)}; its history has {epochs}.")
    if type(steps := state.get("steps")) is not int or steps < 0:
        raise DataError(f"{where}: 'steps' of the training is {_short(steps)}; a whole number from 0 is expected.")
    for name in ("seconds", "trivial_loss"):
        value = state.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"{where}: '{name}' of the training is {_short(value)}; a finite number is expected.")
    if not isinstance(stated := state.get("collapse_told"), bool):
        raise DataError(f"{where}: 'collapse_told' of the training is {_short(stated)}; a truth is expected.")


def told_next_to_untrained(untrained: Mapping[str, Any]) -> str:
    """What a network is worth, a sentence, of the figures that a model file keeps."""
    if not untrained:
        return "The network was not compared with the untrained pass, which takes validation frames."
    where = f"on {untrained['frames']} frames of {', '.join(untrained['scans'])} that it did not learn from"
    as_long, as_many = untrained["untrained"], untrained["same_steps"]
    rival = f"{as_long:.4g} after as long ({untrained['steps']} steps)"
    if as_many is not None and as_many < as_long:  # with few counts more steps may spoil
        rival = f"{as_many:.4g} after as many steps"
    figures = f"error {untrained['network']:.4g}, untrained {rival}"
    if untrained["better"]:
        return f"The network is better than untrained: {figures}, {where}."
    if untrained["network"] < min(untrained[name] for name in ("untrained", "same_steps") if untrained[name] is not None):
        but = f"its error is lower ({figures}) next to the {untrained['compared_with']}"
        return f"The network is no better than untrained: {but}, but patterns left out are predicted less well, {where}."
    return f"The network is no better than untrained: {figures}, {where}."


def _is_above_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
