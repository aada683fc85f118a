"""The probe that a model is given for a scan, and what does not fit the scans that the model was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.errors import DataError
from ptycho_core.reconstruction.modes import add_probe_modes
from ptycho_core.scan.scan import empty_counts, scaled_probe
from ptycho_core.training.probe import probe_in_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.model import Model
    from ptycho_core.scan.scan import Scan

__all__ = ["ChosenProbe", "choose_probe", "own_probe", "probe_overlap"]

_ALIKE = 0.9
"""Overlap of a probe with a training probe below which a note says that they differ."""

_FEW = 0.1
"""Share of the lowest mean counts of the training below which a scan is said to be too dark."""


@dataclass(frozen=True, eq=False)
class ChosenProbe:
    """A probe for one scan.

    Attributes:
        probe: (mode, N, N), complex64, in counts.
        origin: where it is from, in a few words.
        counts: mean counts in good pixels of a pattern.
        notes: what does not fit the training, a sentence each.
    """

    probe: NDArray[np.complex64]
    origin: str
    counts: float
    notes: tuple[str, ...] = ()


def choose_probe(scan: Scan, model: Model, *, given: str | None, seed: int) -> ChosenProbe:
    """The probe for a scan: the one given, else the model's if it was trained or the scan has none, else the scan's own.

    The scan's is masked and smoothed as those of the training were. One that is stated in counts gets the training's
    ``probe_scale``; any other is scaled as if the scan let through as much light as those of the training. The patterns are read
    once, for their mean counts.

    Args:
        scan: the scan, opened with the probe that was given.
        model: a trained model.
        given: the file of that probe, for messages; None if none was given.
        seed: of modes that are added where the probe has fewer than the model.

    Raises:
        DataError: the probe has more modes than the model, is dark, or the patterns hold no counts.
    """
    modes, transmission = int(model.facts["modes"] or 1), model.scaling.get("transmission", 1.0)
    if given is None and (scan.probe is None or model.facts.get("train_probe")):
        number = _place_in_training(scan, model)
        origin = "the model's" + (" for this scan" if number is not None else "")
        probe, _ = scaled_probe(scan, model.physics["probe"][number or 0])
        counts = empty_counts(scan, probe)
    else:
        origin = f"that of {given}" if given is not None else "the scan's own"
        if scan.probe is not None and len(scan.probe) > modes:
            raise DataError(
                f"{given or scan.source}: the probe has {len(scan.probe)} modes; the model was trained with {modes}.",
                remedy="Give a probe with so many modes with --probe FILE, or use a model trained with as many.",
            )
        probe, counts = probe_in_counts(scan, model.facts)
        if scan.probe_scaled:  # else the share of light that the training let through has the factor in it
            transmission = float(model.facts.get("probe_scale") or 1) ** -2
    complete = add_probe_modes(probe / np.sqrt(transmission), modes, seed).astype(np.complex64)
    return ChosenProbe(complete, origin, counts, _differences(model, probe, counts))


def own_probe(scan: Scan, asked: Mapping[str, Value], *, given: str | None) -> ChosenProbe:
    """The probe for a scan where there is no model: the one given, else the scan's own, with all its modes.

    Args:
        scan: the scan, opened with the probe that was given; its patterns are read once, for their mean counts.
        asked: the *model* settings, for mask and smoothing.
        given: the file of that probe, for messages; None if none was given.

    Raises:
        DataError: there is no probe, it is dark, or the patterns hold no counts.
    """
    probe, counts = probe_in_counts(scan, asked)
    return ChosenProbe(probe.astype(np.complex64), "the scan's own" if given is None else f"that of {given}", counts)


def probe_overlap(first: NDArray[Any], second: NDArray[Any]) -> float:
    """``max |<p, q>| / (|p| |q|)`` over all cyclic shifts by whole pixels, of the strongest modes; 1 for probes that agree.

    Args:
        first: (mode, N, N), complex.
        second: the same.
    """
    strongest = [one[int(np.argmax((np.abs(one) ** 2).sum(axis=(1, 2))))].astype(np.complex128) for one in (first, second)]
    norm = float(np.prod([np.linalg.norm(one) for one in strongest]))
    p, q = (np.fft.fft2(one) for one in strongest)
    return float(np.abs(np.fft.ifft2(p.conj() * q)).max()) / norm if norm > 0 else 0.0


def _differences(model: Model, probe: NDArray[Any], counts: float) -> tuple[str, ...]:
    """What the model has not met in training."""
    notes = []
    best = max(probe_overlap(probe, one) for one in model.physics["probe"])
    if best < _ALIKE:
        notes.append(
            f"The probe differs from every probe of the training (overlap {best:.2f} at most, 1 is equal): the model has not"
            " learned it. Train with scans that have this probe."
        )
    lowest = model.scaling.get("lowest_mean_counts", 0.0)
    if counts < _FEW * lowest:
        notes.append(
            f"The patterns have {counts:.3g} counts on average, those of the training had {lowest:.3g} or more: the model has not"
            " learned such noise. Train with scans of such a dose."
        )
    return tuple(notes)


def _place_in_training(scan: Scan, model: Model) -> int | None:
    """The number of the scan among those of the training, by name, frames and N; None if it was not among them."""
    mine = (scan.source.name, len(scan), scan.size)
    for number, record in enumerate(model.settings.get("scans", [])[: len(model.physics["probe"])]):
        if (record["name"], record["frames"], record["size"]) == mine:
            return number
    return None
