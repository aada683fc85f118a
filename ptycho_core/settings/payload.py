"""From inputs to a frozen payload: validate, resolve, check against the manifest, freeze, import the one backend, its plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import SettingsError
from ptycho_core.settings.audit import audit
from ptycho_core.settings.first import FirstInference, first_inference
from ptycho_core.settings.planning import plan_for, resolve_for
from ptycho_core.settings.resolution import REQUESTING, Facts, Resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ptycho_core.backends.loading import Backend
    from ptycho_core.contract import ExecutionPlan, Value
    from ptycho_core.settings.execution import ExecutionSettings
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
    """A reconstruction: the scan's file, the folder for the results or None, and the inference that it starts with or None."""

    scan: Path
    output_dir: Path | None
    first: FirstInference | None


@dataclass(frozen=True, kw_only=True)
class TrainingPayload(Payload):
    """A training: files of the scans, of the scans that only judge, folder of the run, and the checkpoint to go on from."""

    scans: tuple[Path, ...]
    validation: tuple[Path, ...]
    output_dir: Path
    resume: Path | None


@dataclass(frozen=True, kw_only=True)
class InferencePayload(Payload):
    """An inference: files of the scan and of the model, and the folder for the results, or None."""

    scan: Path
    model_path: Path
    output_dir: Path | None


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
        allow_unsupported: go on without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan.
    """
    from ptycho_core.scan.opening import scan_path
    from ptycho_core.settings.facts import scan_facts

    sources = _sources(overrides, execution_config, environment, config_file)
    common = _decide("reconstruct", sources, lambda: Facts(scan_facts(scan)), allow_unsupported=allow_unsupported)
    first = first_inference(scan, common["resolved"], common["backend"], common["plan"], sources)
    if first is not None:
        common["audit"] = {**common["audit"], "start": first.audit}
    return ReconstructionPayload(scan=scan_path(scan), output_dir=_folder(output_dir), first=first, **common)


def create_training_payload(
    scans: Sequence[str | Path],
    output_dir: str | Path,
    overrides: Mapping[str, object] | None = None,
    execution_config: ExecutionSettings | Mapping[str, object] | None = None,
    *,
    validation: Sequence[str | Path] = (),
    resume: str | Path | None = None,
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
        validation: paths of scans that only judge.
        resume: a checkpoint to go on from. Its settings are facts; only ``epochs`` and, the seed aside, execution settings may
            differ.
        config_file: settings in TOML, or what takes the place of such a file.
        environment: variables; those of the process if None.
        allow_unsupported: go on without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting, or one that differs from the checkpoint's.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan, or the checkpoint cannot be used.
        UsageError: if no scan is given.
    """
    from ptycho_core.errors import UsageError
    from ptycho_core.scan.opening import scan_path
    from ptycho_core.settings.facts import resumption_facts

    if not scans:
        raise UsageError("There is no scan to learn from.", remedy="Give at least one.")
    sources = _sources(overrides, execution_config, environment, config_file)
    stated = Facts if resume is None else (lambda: resumption_facts(resume))
    common = _decide(
        "train", sources, stated, lambda found: _check_scans(found, scans, validation), allow_unsupported=allow_unsupported
    )
    places, judging = (tuple(scan_path(scan) for scan in some) for some in (scans, validation))
    checkpoint = None if resume is None else Path(resume)
    return TrainingPayload(scans=places, validation=judging, output_dir=Path(output_dir), resume=checkpoint, **common)


def create_inference_payload(
    model_path: str | Path,
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
        model_path: a model file, or the folder of a run.
        scan: path of the scan.
        output_dir: folder for the results, or None to write none.
        overrides: explicit settings by name, a backend's options as ``BACKEND.NAME``.
        execution_config: execution settings passed in code, one rank below.
        config_file: settings in TOML, or what takes the place of such a file.
        environment: variables; those of the process if None.
        allow_unsupported: go on without the options that the backend does not support.

    Raises:
        SettingsError: for an unknown or impossible setting, or one that contradicts the model.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if it does not provide what was asked for.
        DataError: if there is no such scan, or the model file cannot be used.
    """
    from ptycho_core.model import model_file
    from ptycho_core.scan.opening import scan_path
    from ptycho_core.settings.facts import inference_facts

    sources = _sources(overrides, execution_config, environment, config_file)
    common = _decide("infer", sources, lambda: inference_facts(scan, model_path), allow_unsupported=allow_unsupported)
    return InferencePayload(
        scan=scan_path(scan), model_path=model_file(Path(model_path)), output_dir=_folder(output_dir), **common
    )


def _decide(
    verb: str,
    sources: Mapping[str, Any],
    facts: Callable[[], Facts],
    check: Callable[[Resolved], None] | None = None,
    *,
    allow_unsupported: bool,
) -> dict[str, Any]:
    """What all payloads have in common; ``check`` sees the settings before the backend is imported."""
    resolved, row = resolve_for(verb, sources, facts)
    if check is not None:
        check(resolved)
    backend, plan = plan_for(resolved, row, allow_unsupported=allow_unsupported)
    found = {"resolved": resolved, "backend": backend, "plan": plan, "audit": audit(resolved, plan, row)}
    return {**found, "config_file": sources["file"] if isinstance(sources["file"], Path) else None}


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


def _check_scans(resolved: Resolved, scans: Sequence[str | Path], validation: Sequence[str | Path]) -> None:
    """That each scan is there, and the settings that depend on how many there are."""
    from ptycho_core.scan.opening import scan_path

    for scan in (*scans, *validation):
        scan_path(scan)
    labels, split = resolved.values["labels"], resolved.values["validation_split"]
    if labels.value is not None and len(scans) > 1:
        told = f"{labels.where}: labels is the object of one scan, and there are {len(scans)}."
        raise SettingsError(told, remedy="Store each object in its scan's file as 'object_true'.", source=labels.where)
    if split.value and split.origin in REQUESTING and validation:
        told = f"{split.where}: validation_split takes frames away to judge by, and there are scans that only judge."
        raise SettingsError(told, remedy="Give one of the two.", source=split.where)
    monitor = resolved.values["checkpoint_monitor"]
    if str(monitor.value).startswith("validation_") and not (validation or split.value):
        told = f"{monitor.where}: checkpoint_monitor = {monitor.value} needs data that only judge, and there are none."
        raise SettingsError(
            told, remedy="Give some with --validation or --validation-split, or monitor loss.", source=monitor.where
        )
