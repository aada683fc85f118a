"""The probe of a job whose scan holds none: what the user states of the beam, completed by short fits of the job's backend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.contract import Event
from ptycho_core.errors import CapabilityError, DataError, SettingsError
from ptycho_core.notes import QuietEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ptycho_core.contract import EventSink, ReconstructJob, ReconstructResult
    from ptycho_core.physics.pupil import Pupil
    from ptycho_core.reconstruction.convention import FittedClass
    from ptycho_core.reconstruction.trials import Trials
    from ptycho_core.scan.doubt import Doubt
    from ptycho_core.scan.scan import Scan
    from ptycho_core.settings.payload import Payload

__all__ = [
    "UNCERTAIN",
    "Made",
    "beam_on_detector",
    "progress_of_trials",
    "trials_of",
    "with_made_probe",
    "with_stated_probe",
]

UNCERTAIN: Final = 0.1
"""Margin of a phase below which another one may be right."""

_STAGE: Final = "probe"


@dataclass(frozen=True, eq=False)
class Made:
    """A scan with a probe that was made for it.

    Attributes:
        scan: with the probe, of no known scale.
        record: how it was made, for ``metrics.json`` and the result.
        note: the same in a sentence.
        doubts: what is uncertain of it.
    """

    scan: Scan
    record: dict[str, Any]
    note: str
    doubts: tuple[Doubt, ...] = ()


def with_made_probe(scan: Scan, payload: Payload, hub: EventSink) -> Made:
    """Make the probe of a scan that has none, and say how.

    Its phase is the one that settings state, else that of the best of many short fits. The other classes of orientations are
    tried too, so that it is said where one of them fits clearly better.

    Args:
        scan: opened as the settings say.
        payload: of the job.
        hub: receives the events.

    Raises:
        CapabilityError: the backend does not fit, and nothing states the phase.
        DataError: the patterns hold no counts, or a length is stated and nothing says how wide a pixel is.
        KeyboardInterrupt: it was asked to stop meanwhile.
    """
    import numpy as np

    from ptycho_core.reconstruction.convention import CLASSES, fitted_classes
    from ptycho_core.reconstruction.curvature import phases
    from ptycho_core.scan.made_probe import stated_phase

    if scan.propagation is not None:
        return _made_of_image(scan, payload)
    pupil, stated = beam_on_detector(scan, payload), stated_phase(scan, _asked(payload, "probe_defocus"))
    if stated is not None and "reconstruct" not in payload.backend.spec.capabilities:
        return _made(scan, payload, pupil, stated)
    trials = trials_of(scan, pupil, payload, hub)
    shrunk = (trials.scan.size / scan.size) ** 2  # the phase grows with the square of the distance from the middle
    where = dict.fromkeys(CLASSES, phases(trials.pupil, 2.0))
    where[CLASSES[0]] = phases(trials.pupil)
    if stated is not None:
        where = dict.fromkeys(CLASSES, np.array([-stated, stated]) * shrunk)
        where[CLASSES[0]] = np.array([stated]) * shrunk
    found = fitted_classes(trials, progress_of_trials(hub), where)
    own = next(one for one in found if one.name == CLASSES[0])
    doubts = [*_doubts_of_phase(own, stated), *_doubts_of_class(found, own, payload)]
    made = _made(scan, payload, pupil, own.curve.best / shrunk if stated is None else stated, own)
    return replace(made, doubts=tuple(doubts))


def with_stated_probe(scan: Scan, payload: Payload) -> Made | None:
    """The scan with the probe that settings state, for a job that fits nothing; None where they state nothing of it.

    Raises:
        DataError: as `with_made_probe`.
        SettingsError: an aperture is stated, and not how far out of focus it is.
    """
    from ptycho_core.scan.made_probe import pupil_of, stated_phase

    probe, defocus = _asked(payload, "probe"), _asked(payload, "probe_defocus")
    if scan.propagation is not None:
        return _made_of_image(scan, payload) if probe is not None else None
    phase = stated_phase(scan, defocus)
    if phase is not None:
        return _made(scan, payload, beam_on_detector(scan, payload), phase)
    if pupil_of(scan, probe) is not None:
        message = f"probe = {probe} does not say how far the probe is out of focus, and an inference makes no fits to find it."
        raise SettingsError(message, remedy="Give --probe-defocus too.", source="data.probe")
    return None


def beam_on_detector(scan: Scan, payload: Payload) -> Pupil:
    """The modulus of the beam on the detector, as the settings state it, else by the mean pattern.

    Raises:
        DataError: the patterns hold no counts.
    """
    from ptycho_core.physics.pupil import Pupil
    from ptycho_core.scan.made_probe import mean_pattern, pupil_of

    known = pupil_of(scan, _asked(payload, "probe"))
    if known is not None:
        return known
    mean = mean_pattern(scan)
    if not mean[scan.mask].any():
        raise DataError(f"The patterns of {scan.source}, shape {scan.patterns.shape}, hold no counts at all.")
    return Pupil.of_patterns(mean, scan.mask)


def trials_of(scan: Scan, pupil: Pupil, payload: Payload, hub: EventSink) -> Trials:
    """Short fits of a part of a scan, by the backend of a job.

    Raises:
        CapabilityError: the backend does not fit.
    """
    from ptycho_core.reconstruction.trials import TRIAL, Trials
    from ptycho_core.settings.planning import plan_of_trial

    backend = payload.backend
    if "reconstruct" not in backend.spec.capabilities:
        message = f"{scan.source} holds no probe, and backend '{backend.name}' does not provide 'reconstruct', which finds one."
        remedy = "Give one with --probe FILE, or how far it is out of focus with --probe-defocus."
        raise CapabilityError(message, remedy=remedy, backend=backend.name)
    groups, plan = plan_of_trial(backend, payload.groups, payload.plan, TRIAL)
    quiet, plans = QuietEvents(hub), [plan]

    def fit(job: ReconstructJob) -> ReconstructResult:
        result = backend.reconstruct(job, plans[-1], quiet)
        if hub.stop_requested:
            raise KeyboardInterrupt
        if len(plans) == 1:
            # Several threads only wait for each other on arrays so small. A framework that fixes their number at the first fit
            # of a process has that of the job by now.
            plans.append(plan_of_trial(backend, payload.groups, payload.plan, {**TRIAL, "threads": 1})[1])
        return result

    return Trials.of(scan, pupil, fit, groups)


def progress_of_trials(hub: EventSink) -> Callable[[int, int], None]:
    """What tells the observers how many trials of how many are done."""
    return lambda done, total: hub.emit(Event("step", _STAGE, done, total))


def _asked(payload: Payload, name: str) -> str | None:
    value = payload.groups["data"][name]
    return None if value is None else str(value)


def _made_of_image(scan: Scan, payload: Payload) -> Made:
    """In the near field the mean pattern is the beam's image, and no fit is needed.

    Raises:
        DataError: the patterns hold no counts.
        SettingsError: settings state a beam on a detector in the far field.
    """
    from ptycho_core.scan.made_probe import check_made, image_probe

    check_made(scan, _asked(payload, "probe"), _asked(payload, "probe_defocus"))
    note = "Probe: made from the mean pattern, propagated back to the sample."
    made = replace(scan, probe=image_probe(scan), probe_scaled=False, notes=(*scan.notes, note))
    return Made(made, {"made_from": "the mean pattern"}, note)


def _made(scan: Scan, payload: Payload, pupil: Pupil, phase: float, own: FittedClass | None = None) -> Made:
    from ptycho_core.scan.made_probe import focus_distance_m
    from ptycho_core.settings.data import AUTO

    asked, distance = _asked(payload, "probe") or AUTO, focus_distance_m(scan, phase)
    origin = "the mean pattern" if asked == AUTO else asked
    record: dict[str, Any] = {"made_from": origin, "phase_rad": phase, "defocus_m": distance}
    found = f"{phase:.4g} rad at the edge of the detector" + ("" if distance is None else f" ({1e6 * distance:.4g} um)")
    if _asked(payload, "probe_defocus") is not None:
        note = f"Probe: made from {origin}, out of focus by {found}, as the settings state."
    else:
        assert own is not None
        record |= {"misfit": own.curve.lowest, "margin": own.curve.margin}
        note = (
            f"Probe: made from {origin}, out of focus by {found}, the best of {len(own.curve.phases)} short fits: R of frames"
            f" held out is {own.curve.lowest:.4f}, elsewhere at least {own.curve.margin:.0%} higher."
        )
    return Made(replace(scan, probe=pupil.probe(phase), probe_scaled=False, notes=(*scan.notes, note)), record, note)


def _doubts_of_phase(own: FittedClass, stated: float | None) -> Sequence[Doubt]:
    from ptycho_core.scan.doubt import Doubt

    if stated is not None or own.curve.margin >= UNCERTAIN:
        return ()
    text = (
        f"How far the probe is out of focus is uncertain: another phase fits {own.curve.margin:.0%} worse than the one that was"
        " taken. State it with --probe-defocus, or give a probe with --probe FILE."
    )
    return (Doubt("probe", "doubtful", text),)


def _doubts_of_class(found: Sequence[FittedClass], own: FittedClass, payload: Payload) -> Sequence[Doubt]:
    """Whether another class fits clearly better than the stated one."""
    from ptycho_core.reconstruction.convention import CLEAR, flags_of, turned_settings
    from ptycho_core.scan.doubt import Doubt

    best, data = found[0], payload.groups["data"]
    if own.misfit < (1 + CLEAR) * best.misfit:
        return ()
    turned = turned_settings(best.name, str(data["orientation"]), float(str(data["rotation_deg"])))
    text = (
        f"The scan's axes may run another way: with {flags_of(turned)} R of frames held out is {best.misfit:.3g} in place of"
        f" {own.misfit:.3g} in short fits. See 'ptycho find-convention'."
    )
    return (Doubt("orientation", "doubtful", text),)
