"""From inputs to a frozen payload: validate, resolve, check against the manifest, freeze, import the one backend, its plan."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import CapabilityError, SettingsError
from ptycho_core.settings.audit import audit
from ptycho_core.settings.data import RECONSTRUCT
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.planning import plan_for, resolve_for
from ptycho_core.settings.resolution import REQUESTING, Facts, Resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ptycho_core.backends.loading import Backend
    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.contract import ExecutionPlan, Value
    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.settings.execution import ExecutionSettings
    from ptycho_core.settings.planning import Decided
    from ptycho_core.settings.sources import SettingsSource

__all__ = [
    "InferencePayload",
    "Payload",
    "ReconstructionPayload",
    "TrainingPayload",
    "create_inference_payload",
    "create_reconstruction_payload",
    "create_training_payload",
]


@dataclass(frozen=True, kw_only=True)
class Payload:
    """All that a job will do; nothing downstream resolves anything again.

    Attributes:
        resolved: every setting with its source.
        backend: the loaded backend.
        plan: its plan.
        audit: for each setting: requested, resolved, effective, origin, what it beat, disposition; JSON.
        config_file: the settings file, if one was given.
    """

    resolved: Resolved
    backend: Backend
    plan: ExecutionPlan
    audit: Mapping[str, Any]
    config_file: Path | None = None

    @property
    def groups(self) -> dict[str, dict[str, Value]]:
        """Plain values by group, *execution* as planned: a new copy each time, as jobs carry them from process to process."""
        return self.resolved.groups() | {"execution": dict(self.plan.execution)}

    @property
    def figures(self) -> bool:
        """Whether the job draws figures."""
        return bool(self.plan.execution["figures"])

    @property
    def said(self) -> str:
        """Which backend computes, and what its plan notes, as the first message of a job ends."""
        only = " (the only one installed)" if self.resolved.values["backend"].value is None else ""
        return "; ".join([f"backend {self.backend.spec.name}{only}", *self.plan.notes])


@dataclass(frozen=True, kw_only=True)
class ReconstructionPayload(Payload):
    """A reconstruction: the scan's opened file, the folder for the results or None, and the inference of its start or None."""

    file: ScanFile
    output_dir: Path | None
    first: InferencePayload | None

    @property
    def scan(self) -> Path:
        """The scan's file."""
        return self.file.path


@dataclass(frozen=True, kw_only=True)
class ResolutionPayload(ReconstructionPayload):
    """Reconstructions of two halves of a scan, which are compared."""


@dataclass(frozen=True, kw_only=True)
class TrainingPayload(Payload):
    """A training: files of the scans, of the validation scans, folder of the run, the checkpoint to continue from.

    Or, in ``start_model``, the model whose weights it begins with.
    """

    scans: tuple[Path, ...]
    validation: tuple[Path, ...]
    output_dir: Path
    resume: Path | None
    start_model: Path | None = None


@dataclass(frozen=True, kw_only=True)
class InferencePayload(Payload):
    """An inference: the scan's opened file; model file and folder for results, None where there is none."""

    file: ScanFile
    model_path: Path | None
    output_dir: Path | None

    @property
    def scan(self) -> Path:
        """The scan's file."""
        return self.file.path


def create_reconstruction_payload(
    scan: str | Path,
    output_dir: str | Path | None,
    overrides: Mapping[str, object] | None = None,
    execution_config: ExecutionSettings | Mapping[str, object] | None = None,
    *,
    config_file: str | Path | SettingsSource | None = None,
    environment: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
) -> ReconstructionPayload:
    """Decide everything about a reconstruction before any pattern is read.

    The order is fixed: validate and resolve (the scan's headers and scalars are read), check against the manifest, import the one
    backend, ask its plan, freeze the payload.

    Args:
        scan: path of the scan.
        output_dir: folder for the results, or None to write none.
        overrides: explicit settings by name, a backend's options as ``BACKEND.NAME``.
        execution_config: execution settings passed in code, one rank below.
        config_file: settings in TOML, or what takes the place of such a file.
        environment: variables; those of the process if None.
        allow_unsupported: continue without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan.
    """
    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.settings.facts import scan_facts

    sources, file = _sources(overrides, execution_config, environment, config_file), ScanFile(scan)
    common, rows = _decide(
        "reconstruct",
        sources,
        lambda data: Facts(scan_facts(file, data)),
        partial(_check_start, scan),
        allow_unsupported=allow_unsupported,
    )
    first = _first_inference(file, common, rows)
    if first is not None:
        common["audit"] = {**common["audit"], "start": first.audit}
    return ReconstructionPayload(file=file, output_dir=_folder(output_dir), first=first, **common)


def create_resolution_payload(
    scan: str | Path,
    output_dir: str | Path | None,
    overrides: Mapping[str, object] | None = None,
    **more: Any,  # noqa: ANN401 - as named
) -> ResolutionPayload:
    """Decide everything about the comparison of two halves; arguments and errors are those of `create_reconstruction_payload`.

    Raises:
        SettingsError: a start, which both halves would share, or a logger, as two courses would make one log.
    """
    found = create_reconstruction_payload(scan, output_dir, overrides, **more)
    start, logger = (found.resolved.values[name] for name in ("start", "logger"))
    if start.value is not None:
        message = "Two halves that begin with the same object are not independent."
        raise SettingsError(message, remedy="Leave --start out.", source=start.where)
    if "logger" in found.resolved.requested and logger.value != "none":
        raise SettingsError("The course of two halves is not logged.", remedy="Leave --logger out.", source=logger.where)
    return ResolutionPayload(**{one.name: getattr(found, one.name) for one in fields(found)})


def create_training_payload(
    scans: Sequence[str | Path],
    output_dir: str | Path,
    overrides: Mapping[str, object] | None = None,
    execution_config: ExecutionSettings | Mapping[str, object] | None = None,
    *,
    validation: Sequence[str | Path] = (),
    resume: str | Path | None = None,
    start_model: str | Path | None = None,
    config_file: str | Path | SettingsSource | None = None,
    environment: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
) -> TrainingPayload:
    """Decide everything about a training before any pattern is read; the order is that of `create_reconstruction_payload`.

    Args:
        scans: paths of the scans to learn from, at least one.
        output_dir: folder of the run.
        overrides: explicit settings by name, a backend's options as ``BACKEND.NAME``.
        execution_config: execution settings passed in code, one rank below.
        validation: paths of validation scans.
        resume: a checkpoint to continue from. Its settings are facts; only ``epochs`` and, the seed aside, execution settings may
            differ.
        start_model: a model file, or the folder of a run, whose network and weights the training begins with.
        config_file: settings in TOML, or what takes the place of such a file.
        environment: variables; those of the process if None.
        allow_unsupported: continue without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting, or one that differs from the checkpoint's or the model's network.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan, or the checkpoint or the model cannot be used.
        UsageError: if no scan is given, or both a checkpoint and a model.
    """
    from ptycho_core.errors import UsageError
    from ptycho_core.formats.opening import scan_path
    from ptycho_core.model import model_file
    from ptycho_core.settings.facts import fine_tuning_facts, resumption_facts

    if not scans:
        raise UsageError("There is no scan to learn from.", remedy="Give at least one.")
    if resume is not None and start_model is not None:
        raise UsageError("--resume continues a training and --from begins one.", remedy="Give --resume or --from.")
    sources = _sources(overrides, execution_config, environment, config_file)
    stated: Callable[[Mapping[str, Value]], Facts] | None = None
    if resume is not None:
        stated = partial(_facts_of, resumption_facts, resume)
    elif start_model is not None:
        stated = partial(_facts_of, fine_tuning_facts, start_model)
    common, _ = _decide(
        "train", sources, stated, lambda found: _check_scans(found, scans, validation),
        allow_unsupported=allow_unsupported,
    )  # fmt: skip
    places, judging = (tuple(scan_path(scan) for scan in some) for some in (scans, validation))
    checkpoint = None if resume is None else Path(resume)
    start = None if start_model is None else model_file(Path(start_model))
    return TrainingPayload(
        scans=places, validation=judging, output_dir=Path(output_dir), resume=checkpoint, start_model=start, **common
    )


def _facts_of(
    facts: Callable[[str | Path], Facts],
    model: str | Path,
    _: Mapping[str, Value],
) -> Facts:
    """Facts of a model file, whatever is asked for of a scan."""
    return facts(model)


def create_inference_payload(
    model_path: str | Path | None,
    scan: str | Path,
    output_dir: str | Path | None,
    overrides: Mapping[str, object] | None = None,
    execution_config: ExecutionSettings | Mapping[str, object] | None = None,
    *,
    config_file: str | Path | SettingsSource | None = None,
    environment: Mapping[str, str] | None = None,
    allow_unsupported: bool = False,
) -> InferencePayload:
    """Decide everything about an inference before any pattern is read; the order is that of `create_reconstruction_payload`.

    What the model file states of the *model* settings is sealed: another value from any source is refused.
    ``payload.resolved.stated("model")`` is what it gave.

    Args:
        model_path: a model file, or the folder of a run; None for no model.
        scan: path of the scan.
        output_dir: folder for the results, or None to write none.
        overrides: explicit settings by name, a backend's options as ``BACKEND.NAME``.
        execution_config: execution settings passed in code, one rank below.
        config_file: settings in TOML, or what takes the place of such a file.
        environment: variables; those of the process if None.
        allow_unsupported: continue without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting, or one that contradicts the model.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan, or the model file cannot be used.
    """
    from ptycho_core.formats.opening import ScanFile

    sources = _sources(overrides, execution_config, environment, config_file)
    return _inference_payload(model_path, ScanFile(scan), output_dir, sources, allow_unsupported=allow_unsupported)


def _inference_payload(
    model_path: str | Path | None,
    file: ScanFile,
    output_dir: str | Path | None,
    sources: Mapping[str, Any],
    rows: tuple[BackendInfo, ...] | None = None,
    *,
    allow_unsupported: bool,
) -> InferencePayload:
    from ptycho_core.model import model_file
    from ptycho_core.settings.facts import inference_facts

    common, _ = _decide(
        "infer", sources, lambda data: inference_facts(file, model_path, data), partial(_check_network, model_path),
        rows=rows, allow_unsupported=allow_unsupported,
    )  # fmt: skip
    place = None if model_path is None else model_file(Path(model_path))
    return InferencePayload(file=file, model_path=place, output_dir=_folder(output_dir), **common)


def _check_network(model_path: str | Path | None, decided: Decided) -> None:
    """A network has learned its probe, and gets none that was fitted to the scan; where there is none, nothing acts in it."""
    resolved, spec = decided.resolved, decided.row.spec
    precision = resolved.values["precision"]
    if model_path is None and precision.value == "bf16-mixed":
        message = f"{precision.where}: bf16-mixed acts in the layers of a network, and there is no model."
        raise SettingsError(message, remedy="Take another precision, or give a model.", source=precision.where)
    if model_path is None and spec is not None:
        for option in spec.options:
            asked = resolved.options[f"{spec.name}.{option.name}"]
            if option.network and asked.value != option.default:
                message = f"{asked.where}: {option.name} acts in the layers of a network, and there is no model."
                raise SettingsError(message, remedy="Leave it out, or give a model.", source=asked.where)
    _check_flux(decided)
    for name, none in (("refine_probe", False), ("background", "none")):
        one = resolved.values[name]
        if one.value == none:
            continue
        if model_path is not None:
            message = (
                f"{one.where}: {name} acts only without a model; {model_path} has learned its probe, and without a background."
            )
            raise SettingsError(message, remedy="Give one of the two.", source=one.where)
        if spec is not None and "reconstruct" not in spec.capabilities:
            message = f"backend '{spec.name}' does not provide 'reconstruct', which {name} needs."
            remedy = "Leave it out; give a good probe with --probe FILE."
            raise CapabilityError(message, remedy=remedy, source=one.where, backend=spec.name)


def _check_flux(decided: Decided) -> None:
    """Before a training or an inference it is fitted by a reconstruction; auto does without."""
    one, spec = decided.resolved.values["refine_flux"], decided.row.spec
    if one.value and spec is not None and "reconstruct" not in spec.capabilities:
        message = f"backend '{spec.name}' does not provide 'reconstruct', which refine_flux needs."
        remedy = "Leave it out; give a monitor's values with --flux FILE."
        raise CapabilityError(message, remedy=remedy, source=one.where, backend=spec.name)


def _first_inference(file: ScanFile, fit: Mapping[str, Any], rows: tuple[BackendInfo, ...]) -> InferencePayload | None:
    """The inference that makes the start of a fit, by the same backend; None where the start is no model.

    Scan and execution are those of the fit: what is asked for of the scan and of its counts, and execution as planned.
    """
    from ptycho_core.settings.facts import is_model

    resolved: Resolved = fit["resolved"]
    start = resolved.values["start"].value
    if start is None or not is_model(Path(str(start))):
        return None
    groups = resolved.groups()
    of_scan = groups["data"] | {name: groups["reconstruction"][name] for name in ("refine_flux", "saturation")}
    asked = {name: value for name, value in of_scan.items() if name in resolved.requested}
    execution = {name: value for name, value in fit["plan"].execution.items() if name in declarations("infer")}
    named = str(resolved.values["backend"].value or fit["backend"].name)
    sources = _sources({**asked, **execution, "backend": named}, None, {}, None)
    return _inference_payload(str(start), file, None, sources, rows, allow_unsupported=False)


def _decide(
    verb: str,
    sources: Mapping[str, Any],
    facts: Callable[[Mapping[str, Value]], Facts] | None,
    check: Callable[[Decided], None] | None = None,
    *,
    rows: tuple[BackendInfo, ...] | None = None,
    allow_unsupported: bool,
) -> tuple[dict[str, Any], tuple[BackendInfo, ...]]:
    """What all payloads have in common, and the backends that were found.

    ``check`` sees what is decided before the backend is imported.
    """
    decided = resolve_for(verb, sources, facts, rows)
    if check is not None:
        check(decided)
    backend, plan = plan_for(decided, allow_unsupported=allow_unsupported)
    record = audit(decided.resolved, plan, decided.row)
    common = {"resolved": decided.resolved, "backend": backend, "plan": plan, "audit": record}
    return {**common, "config_file": sources["file"] if isinstance(sources["file"], Path) else None}, decided.rows


def _sources(
    overrides: Mapping[str, object] | None,
    execution: ExecutionSettings | Mapping[str, object] | None,
    environment: Mapping[str, str] | None,
    config_file: str | Path | SettingsSource | None,
) -> dict[str, Any]:
    return {
        "overrides": overrides,
        "execution": execution,
        "environment": os.environ if environment is None else environment,
        "file": Path(config_file) if isinstance(config_file, str) else config_file,
    }


def _folder(output_dir: str | Path | None) -> Path | None:
    return None if output_dir is None else Path(output_dir)


def _check_scans(decided: Decided, scans: Sequence[str | Path], validation: Sequence[str | Path]) -> None:
    """That each scan is there, the settings that depend on how many there are, and that labels can be made."""
    from ptycho_core.formats.opening import scan_path

    resolved, spec = decided.resolved, decided.row.spec
    for scan in (*scans, *validation):
        scan_path(scan)
    _check_flux(decided)
    labels, split = resolved.values["labels"], resolved.values["validation_split"]
    if labels.value == RECONSTRUCT and spec is not None and "reconstruct" not in spec.capabilities:
        message = f"backend '{spec.name}' does not provide 'reconstruct', which labels {RECONSTRUCT} need."
        raise CapabilityError(message, remedy="Give an object with --labels FILE.", source=labels.where, backend=spec.name)
    if labels.value not in (None, RECONSTRUCT) and len(scans) > 1:
        message = f"{labels.where}: labels is the object of one scan, and there are {len(scans)}."
        raise SettingsError(message, remedy="Store each object in its scan's file as 'object_true'.", source=labels.where)
    if split.value and split.origin in REQUESTING and validation:
        message = f"{split.where}: validation_split takes frames away for validation, and there are validation scans."
        raise SettingsError(message, remedy="Give one of the two.", source=split.where)
    monitor = resolved.values["checkpoint_monitor"]
    if str(monitor.value).startswith("validation_") and not (validation or split.value):
        message = f"{monitor.where}: checkpoint_monitor = {monitor.value} needs validation data, and there are none."
        raise SettingsError(
            message, remedy="Give some with --validation or --validation-split, or monitor loss.", source=monitor.where
        )


def _check_start(scan: str | Path, decided: Decided) -> None:
    """Where the start is a model the backend must infer too; where it does not, another one can, by a separate command."""
    from ptycho_core.backends.registry import backends_that
    from ptycho_core.settings.facts import is_model

    start, spec = decided.resolved.values["start"], decided.row.spec
    if start.value is None or not is_model(Path(str(start.value))) or spec is None:
        return
    if "reconstruct" not in spec.capabilities or "infer" in spec.capabilities:  # the manifest is checked after this
        return
    able = [row for row in decided.rows if row.state == "ok" and row.spec is not None and "infer" in row.spec.capabilities]
    remedy = backends_that(lambda other: "infer" in other.capabilities, decided.rows)
    if able:
        name = min(able, key=lambda row: (row.only_by_name, row.only_alone)).name
        first = shlex.join(["ptycho", "infer", str(scan), "--model", str(start.value), "--backend", name])
        second = shlex.join(["ptycho", "reconstruct", str(scan), "--backend", decided.row.name])
        remedy = f"Infer first, '{first} -o DIR', then start from the result, '{second} --start DIR ...'. {remedy}"
    message = f"backend '{decided.row.name}' does not provide 'infer', which a start from the model {start.value} needs."
    raise CapabilityError(message, remedy=remedy, source=start.where, backend=decided.row.name)
