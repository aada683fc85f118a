"""A model file verified: the same batch through several backends, a process each, held against the reference and each other."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Final

from ptycho_core.conformance.limits import LIMITS
from ptycho_core.conformance.reference import NAME
from ptycho_core.errors import BackendUnusableError, DataError, PtychoError, SettingsError, UsageError
from ptycho_core.files.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.backends.worker import Worker
    from ptycho_core.conformance.batches import VerificationBatch
    from ptycho_core.conformance.limits import Limits
    from ptycho_core.conformance.parity import Difference
    from ptycho_core.contract import BatchRecipe, EvaluateResult
    from ptycho_core.model import Model

__all__ = ["Comparison", "Run", "Verification", "verify_model"]

SECONDS: Final = 600.0
"""What a backend may take for the batch, the start of its process included."""

_TRUTH_PRECISION: Final = "float64"
_NUDGES: Final = 2
_RAISED: Final = "Rounding the model's numbers once moves the answer so far that the limits are raised to"


@dataclass(frozen=True)
class Run:
    """What became of one backend: its name, who provides it, seconds with the start of its process, why it failed if it did."""

    backend: str
    source: str
    framework_version: str
    precision: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """How far the answer of one backend is from that of another."""

    backend: str
    against: str
    differences: tuple[Difference, ...]

    @property
    def within(self) -> bool:
        """Whether every limit is kept."""
        return all(one.within for one in self.differences)


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        file: the model file.
        batch: what was evaluated, in a few words.
        precision: of the backends that are verified; the reference computes in float64.
        runs: one for each backend, the reference first.
        comparisons: each backend against the reference, then those against each other.
        notes: what should be known of the batch, a sentence each.
    """

    file: Path
    batch: str
    precision: str
    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]

    @property
    def within(self) -> bool:
        """Whether every limit is kept by all that ran."""
        return all(one.within for one in self.comparisons)

    @property
    def complete(self) -> bool:
        """Whether every backend ran."""
        return not any(one.reason for one in self.runs)


def verify_model(
    path: str | Path,
    *,
    backends: Sequence[str] = (),
    scan: str | Path | None = None,
    precision: str = "float64",
    timeout: float = SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Run one batch of a model file through the reference and other backends, and compare the answers.

    Args:
        path: model file, or folder of a training run for its best one; it is checked whole first.
        backends: names; without any, all that are usable and can do it. The reference always runs: it is what counts as true.
        scan: file of the scan that the batch is taken from; None makes one from the model.
        precision: ``float64`` or ``float32``, of the backends; the limits follow from it.
        timeout: seconds for each backend.
        tell: gets what is done, a sentence each time.

    Returns:
        What was found; a backend that failed is a run with a reason.

    Raises:
        DataError: model file or scan cannot be used, or the reference's own answer is not finite.
        BackendError: the reference does not run, or there is no backend to compare with it.
        UsageError: a name or the precision is not known, or there is nothing to compare.
    """
    from ptycho_core.conformance.batches import batch_from_scan, made_batch
    from ptycho_core.formats.opening import scan_path
    from ptycho_core.model import load_with_manifest, model_file

    if precision not in LIMITS:
        raise SettingsError(f"precision is '{precision}'; limits are known for {', '.join(LIMITS)}.")
    rows = _chosen(backends)
    names = [row.name for row in rows]
    file = model_file(path).absolute()
    _, model = load_with_manifest(file, training=None)
    with scratch_folder() as folder:
        batch = made_batch(model, file, folder) if scan is None else batch_from_scan(model, file, scan_path(scan).absolute())
        with _worker(NAME) as worker:
            truth, first = _truth(worker, batch, timeout, tell)
            limits = _raised(worker, precision, truth, model, batch, timeout, tell)
        answers, bare = {NAME: truth}, set[str]()
        runs = [first]
        for row in rows:
            run, answer = _run(row, row.address if names.count(row.name) > 1 else row.name, batch, precision, timeout, tell)
            runs.append(run)
            if answer is not None:
                answers[run.backend] = answer
                bare |= set() if _trains(row) else {run.backend}
    notes = (*batch.notes, *_notes(truth, model))
    notes += tuple(f"{name} does not train: of its answer no gradients are compared." for name in sorted(bare))
    if limits != LIMITS[precision]:
        raised = f"{limits.forward:.1e} (patches, intensities), {limits.loss:.1e} (loss terms), {limits.gradient:.1e} (gradients)"
        notes += (f"{_RAISED} {raised}.",)
    return Verification(file, batch.text, precision, tuple(runs), _comparisons(answers, bare, limits), notes)


def _chosen(names: Sequence[str]) -> list[BackendInfo]:
    """The backends that are held against the reference, in whatever state where they were named."""
    from ptycho_core.backends.known import how_to_install
    from ptycho_core.backends.registry import find_backends, find_named
    from ptycho_core.backends.states import BackendInfo

    if not names:  # what merely infers may refuse an EvaluateBatchJob
        usable = [row for row in find_backends() if row.name != NAME and row.state == "ok"]
        found = [row for row in usable if row.spec is not None and {"evaluate", "train"} <= set(row.spec.capabilities)]
        if not found:
            raise BackendUnusableError(
                "There is no backend to compare with the reference.", state="missing", remedy=how_to_install()
            )
        return found
    rows: dict[str, BackendInfo] = {}
    for name in names:
        try:
            row = find_named(name)[0]
        except BackendUnusableError as error:  # known, but not installed
            row = BackendInfo(error.backend, error.backend, error.state, error.message, error.remedy)
        if row.name != NAME:
            rows.setdefault(row.address, row)
    if not rows:
        raise UsageError(f"'{NAME}' is what others are compared with.", remedy="Name another backend too.")
    return list(rows.values())


def _trains(row: BackendInfo) -> bool:
    """Whether a backend has gradients of what learns."""
    return row.spec is not None and "train" in row.spec.capabilities


def _worker(name: str) -> Worker:
    from ptycho_core.backends.worker import Worker

    return Worker(name, threads=1)


def _truth(worker: Worker, batch: VerificationBatch, timeout: float, tell: Callable[[str], None]) -> tuple[EvaluateResult, Run]:
    import numpy as np

    from ptycho_core.backends.registry import choose

    row = choose(NAME)
    tell(f"{row.name}: {batch.text}, {_TRUTH_PRECISION}")
    began = time.perf_counter()
    answer = _ask(worker, NAME, batch.recipe, _TRUTH_PRECISION, timeout)
    arrays = [answer.intensities, answer.patches, *answer.losses.values(), *answer.gradients.values()]
    if not all(np.isfinite(one).all() for one in arrays if one is not None):
        raise DataError(f"{batch.recipe.model_path}: what the model gives for {batch.text} is not finite.")
    return answer, Run(row.name, row.source, row.framework_version, _TRUTH_PRECISION, time.perf_counter() - began)


def _raised(
    worker: Worker,
    precision: str,
    truth: EvaluateResult,
    model: Model,
    batch: VerificationBatch,
    timeout: float,
    tell: Callable[[str], None],
) -> Limits:
    """The limits, no tighter than what the model's own numbers, rounded, make of the reference's answer."""
    from ptycho_core.conformance.rounding import limits_of, nudged
    from ptycho_core.model import save_model

    tell(f"{NAME}: how far rounding moves the answer")
    moved = []
    with scratch_folder() as scratch:
        for number in range(_NUDGES):
            path = save_model(scratch / f"{number}.ptycho", nudged(model, number))
            moved.append(_ask(worker, NAME, replace(batch.recipe, model_path=path), _TRUTH_PRECISION, timeout))
    return limits_of(LIMITS[precision], precision, truth, moved)


def _run(
    row: BackendInfo, label: str, batch: VerificationBatch, precision: str, timeout: float, tell: Callable[[str], None]
) -> tuple[Run, EvaluateResult | None]:
    """Ask one backend; whatever it does, the others continue."""
    tell(f"{label}: the same, {precision}")
    began, answer, reason = time.perf_counter(), None, ""
    if row.state != "ok":
        reason = f"{row.reason}. {row.remedy}".strip() if row.remedy else row.reason
    elif row.claim is None:
        reason = "registered in this process, so no other process can start it"
    else:
        try:
            recipe = replace(batch.recipe, gradients=_trains(row))
            with _worker(label) as worker:
                answer = _ask(worker, row.address, recipe, precision, timeout)
        except PtychoError as error:
            reason = str(error)
    seconds = time.perf_counter() - began
    if reason:
        tell(f"{label}: failed: {reason}")
    return Run(label, row.source, row.framework_version, precision, seconds, reason), answer


def _ask(worker: Worker, name: str, recipe: BatchRecipe, precision: str, timeout: float) -> EvaluateResult:
    """The limits are for a processor, so that is where it is computed."""
    from ptycho_core.contract import EvaluateResult

    answer = worker.call(
        "ptycho_core.evaluation:evaluate", recipe, timeout=timeout, backend=name, precision=precision, accelerator="cpu"
    )
    assert isinstance(answer, EvaluateResult)
    return answer


def _comparisons(answers: dict[str, EvaluateResult], bare: set[str], limits: Limits) -> tuple[Comparison, ...]:
    """All pairs; gradients where none of the two is ``bare`` of them."""
    from ptycho_core.conformance.parity import differences

    others = [name for name in answers if name != NAME]
    found = []
    for pair in [*((name, NAME) for name in others), *combinations(others, 2)]:
        one, other = (replace(answers[name], gradients={}) if bare & {*pair} else answers[name] for name in pair)
        found.append(Comparison(*pair, differences(one, other, limits)))
    return tuple(found)


def _notes(truth: EvaluateResult, model: Model) -> tuple[str, ...]:
    import numpy as np

    silent = [name for name, value in truth.gradients.items() if not np.any(value)]
    if not silent:
        return ()
    last = str(model.network["layers"][-1]["name"])
    number = f"{len(silent)} of {len(truth.gradients)} gradients are zero, {silent[0]} first: nothing of them is compared."
    untrained = not any(np.any(model.weights[name]) for name in _last_weights(model))
    why = f" The weights that feed '{last}' are zero, as in a network that was never trained." if untrained else ""
    return (number + why,)


def _last_weights(model: Model) -> list[str]:
    """Names of the weight and bias of the last convolution."""
    convolutions = [layer for layer in model.network["layers"] if layer["op"] == "convolution"]
    return [f"{convolutions[-1]['name']}.{part}" for part in ("weight", "bias")] if convolutions else []
