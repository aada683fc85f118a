"""How good each result is: against a reference, and against the first result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ptycho_core.formats.product import StoredObject
    from ptycho_core.imaging.figures import Picture
    from ptycho_core.imaging.metrics import Score

__all__ = ["Scoring", "find_reference", "has_truth"]


@dataclass
class Scoring:
    """Scores results one after the other, and keeps what a figure shows of them.

    Attributes:
        reference: the object that is known, or None.
        label: what the reference is, in words; empty without one.
        first: name of the first result.
        pictures: the reference, if there is one, and the results, registered.
        pixel_size_m: object pixel (row, column) in metres of the first result that states one.
    """

    reference: StoredObject | None = None
    label: str = ""
    first: str = ""
    pictures: list[Picture] = field(default_factory=list)
    pixel_size_m: tuple[float, float] | None = None
    _first: StoredObject | None = None

    def add(self, name: str, result: StoredObject) -> tuple[dict[str, Any], dict[str, Any]]:
        """Score one result.

        Args:
            name: what tells it from the others.
            result: its object, with what is known next to it.

        Returns:
            Quality against the reference, and agreement with the first result; empty where there is nothing to compare with.

        Raises:
            DataError: it cannot be compared: no overlap, or nothing in it.
        """
        from ptycho_core.imaging.metrics import score

        fixed = self.reference or self._first or result
        found = score(result, fixed)
        if not self.pictures and self.reference is not None:
            self.pictures.append((self.label, found.reference, found.reference))
        self.pixel_size_m = self.pixel_size_m or result.pixel_size_m
        text = "" if fixed is result else f", NRMSE {found.nrmse:.3g}"
        self.pictures.append((f"{name}{text}", found.registration.aligned, found.reference))
        quality = {} if self.reference is None else _numbers(found)
        if self._first is None:
            self.first, self._first = name, result
            return quality, {}
        return quality, _numbers(found if self.reference is None else score(result, self._first))


def has_truth(scan: Path) -> bool:
    """Whether the file of a scan holds the object that it was simulated from."""
    from ptycho_core.formats.opening import ScanFile

    return ScanFile(scan).holds_any("object_true")


def find_reference(scan: Path | None, given: Path | None) -> Scoring:
    """A scoring with the object of a file, or else with the truth that a scan holds, or else without reference.

    Raises:
        DataError: the file cannot be used.
    """
    from ptycho_core.formats.product import read_object

    if given is not None:
        return Scoring(read_object(given, "reference"), "truth" if given.is_file() and has_truth(given) else given.name)
    if scan is not None and has_truth(scan):
        return Scoring(read_object(scan, "reference"), "truth")
    return Scoring()


def _numbers(found: Score) -> dict[str, Any]:
    return {name: value for name, value in found.as_dict().items() if name != "frc"}
