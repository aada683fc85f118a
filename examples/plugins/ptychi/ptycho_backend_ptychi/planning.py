"""How a job will run, and what pty-chi makes of each setting that the user asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ptycho_core.backends.plans import make_plan
from ptycho_core.contract import Disposition, ExecutionPlan, ExecutionRequest, ProbeReport, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EPOCHS", "plan"]

EPOCHS: Final = 100
"""Epochs where ``epochs`` is auto: as many as pty-chi takes by itself."""

_STEPPING: Final = ("rpie", "epie", "autodiff")
_LIKELIHOOD: Final = ("lsqml",)
_ALL: Final = "dm takes all frames at once: batches are for the other engines"
_WHOLE: Final = "pty-chi begins with the whole detector"
_AT_ONCE: Final = "pty-chi is given all patterns before its first epoch"
_FIXED: Final[dict[str, tuple[Value, str]]] = {"num_workers": (0, _AT_ONCE)}
_ANYWAY: Final[dict[str, tuple[Value, str]]] = {"pin_memory": (False, _AT_ONCE)}
"""What cannot act because all patterns are read at once, before anything is computed."""

_HONOURED: Final = ("modes", "start", "refine_probe", "refine_positions", "background", "held_out", "deterministic")
"""What every engine honours; the others have their own answers below, and what is in neither list is not looked at."""

_Answer = Callable[[Value, str], Disposition]


def plan(request: ExecutionRequest, probe: ProbeReport) -> ExecutionPlan:
    """Resolve what is ``auto`` and say what became of each requested option; reads nothing and changes nothing."""
    found = make_plan(request, probe, "pty-chi", _FIXED, honours=_HONOURED, anyway=_ANYWAY)
    engine = str(request.options["engine"])
    dispositions = dict(found.dispositions)
    asked = request.settings["reconstruction"]
    for name in request.requested & _ANSWERS.keys():
        value = request.options[name.partition(".")[2]] if "." in name else asked[name]
        dispositions[name] = _ANSWERS[name](value, engine)
    for name in request.requested & {"ptychi.position_start", "ptychi.position_step"}:
        dispositions[name] = _of_positions(name, request, engine)
    return replace(found, dispositions=dispositions, notes=(*found.notes, *_notes(asked, engine, probe)))


def _notes(asked: Mapping[str, Value], engine: str, probe: ProbeReport) -> list[str]:
    epochs = EPOCHS if asked["epochs"] is None else asked["epochs"]
    notes = [f"pty-chi {probe.framework_version}, engine {engine}, {epochs} epochs"]
    if int(asked["modes"] or 1) > 1:
        notes.append("pty-chi shifts only the first probe mode by fractions of a pixel")
    return notes


def _never(why: str, *without: Value) -> _Answer:
    """Not supported, except the values that ask for nothing."""
    return lambda value, _: Disposition("applied", value) if value in without else Disposition("unsupported", None, why)


def _auto(means: Value, answer: _Answer, why: str) -> _Answer:
    """As ``answer``, but auto means something definite."""
    return lambda value, engine: Disposition("adjusted", means, why) if value in (None, "auto") else answer(value, engine)


def _only(engines: tuple[str, ...], why: str, *without: Value) -> _Answer:
    """Applied by some engines; the others leave it out."""

    def answer(value: Value, engine: str) -> Disposition:
        if engine in engines or value in without:
            return Disposition("applied", value)
        return Disposition("unsupported", None, f"{why}, and the engine is {engine}")

    return answer


def _likelihood(value: Value, engine: str) -> Disposition:
    if value == "auto" and engine not in _LIKELIHOOD:
        return Disposition("adjusted", "amplitude", f"engine {engine} knows no other")
    if value not in ("auto", "amplitude", "poisson"):
        return Disposition("unsupported", None, "pty-chi computes its own likelihoods, none that another distribution brings")
    return _only(_LIKELIHOOD, "only lsqml fits the Poisson likelihood", "auto", "amplitude")(value, engine)


def _of_positions(name: str, request: ExecutionRequest, engine: str) -> Disposition:
    value = request.options[name.partition(".")[2]]
    if request.settings["reconstruction"]["refine_positions"] == "off":
        return Disposition("unsupported", None, "positions are not fitted (--refine-positions)")
    if name == "ptychi.position_start" and engine == "autodiff" and value != 0:
        return Disposition("unsupported", None, "engine autodiff fits them from the first epoch or not at all")
    return Disposition("applied", value)


_ANSWERS: Final[dict[str, _Answer]] = {
    "epochs": _auto(EPOCHS, lambda value, _: Disposition("applied", value), f"auto means {EPOCHS} here"),
    "iterations": _never("pty-chi has no joint fit after its epochs; --epochs says how long it runs", 0),
    "tolerance": _never("it ends the joint fit, which pty-chi does not have: all epochs are run"),
    "memory_gib": _never("pty-chi keeps all patterns in memory"),
    "total_variation": _auto(
        0.0, _never("its weight is relative to the photon noise, which pty-chi does not know", 0), "pty-chi adds none"
    ),
    "coarse_start": _auto(False, _never(_WHOLE, False), _WHOLE),
    "batch_size": _only(("lsqml", *_STEPPING), _ALL),
    "object_alpha": _only(("rpie",), "it regularises rpie alone"),
    "likelihood": _likelihood,
    "ptychi.batching": _only(("lsqml", *_STEPPING), _ALL),
    "ptychi.momentum": _only(("lsqml",), "only lsqml has momentum", 0.0),
    "ptychi.step": _only(_STEPPING, "only rpie, epie and autodiff take a step of a given length"),
}  # fmt: skip
