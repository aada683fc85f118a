"""The inference that a reconstruction begins with where its ``start`` is a model: who does it, and in which process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import CapabilityError, SettingsError, UnknownBackendError
from ptycho_core.settings.resolution import REQUESTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.backends.loading import Backend
    from ptycho_core.backends.states import Row
    from ptycho_core.contract import ExecutionPlan, Value
    from ptycho_core.settings.payload import InferencePayload
    from ptycho_core.settings.resolution import Resolved

__all__ = ["FirstInference", "first_inference"]


@dataclass(frozen=True, kw_only=True)
class FirstInference:
    """An inference that is decided on.

    Attributes:
        scan: the scan's file.
        model: what ``start`` names.
        settings: explicit settings of the inference by name, its backend among them.
        said: one sentence on who infers and why; empty where it is the backend that reconstructs.
        payload: the frozen inference; None if it is done in a process of its own, where it is decided on again in the same way.
        audit: of the inference: settings, device, backend and how it was chosen.
    """

    scan: Path
    model: Path
    settings: Mapping[str, Value]
    said: str
    payload: InferencePayload | None
    audit: Mapping[str, Any]


def first_inference(
    scan: str | Path, resolved: Resolved, backend: Backend, plan: ExecutionPlan, sources: Mapping[str, Any]
) -> FirstInference | None:
    """Decide on the inference of a reconstruction whose ``start`` is a model; None if it is not.

    The backend that reconstructs infers too, if it can. Else it is that of ``start_backend``, or the only usable one that
    infers. Where its framework may not share a process with that of the reconstruction, it gets a process of its own.

    Args:
        scan: path of the scan.
        resolved: settings of the reconstruction.
        backend: which reconstructs.
        plan: how it does.
        sources: of the settings; the file among them says which backends may be used.

    Raises:
        SettingsError: ``start_backend`` was asked for, and there is no model to start with.
        CapabilityError: the backend named does not infer, or none does.
        UnknownBackendError: several could infer.
        BackendUnusableError, DataError: as ``create_inference_payload``.
    """
    from ptycho_core.backends.states import family
    from ptycho_core.settings.facts import is_model

    start, named = resolved.values["start"].value, resolved.values["start_backend"]
    if start is None or not is_model(Path(str(start))):
        if named.value is not None and named.origin in REQUESTING:
            found = "none is given" if start is None else f"{start} is none"
            raise SettingsError(
                f"{named.where}: start_backend acts only where start is a model, and {found}.", source=named.where
            )
        return None
    row, why = _who_infers(resolved, backend, sources)
    other = row.name != backend.name
    settings = _settings(resolved, plan, row, backend)
    frameworks = {family(row.spec), family(backend.spec)} - {""}
    apart = other and len(frameworks) > 1 and not resolved.values["allow_mixed_frameworks"].value
    said = f"the start is inferred from {start} by backend {row.name} ({why})" if other else ""
    if said and apart:
        said += ", in a process of its own"
    payload = None
    if apart:
        from ptycho_core.backends.worker import Worker

        with Worker(row.name) as worker:
            audit = worker.call("ptycho_core.inference.apart:decide", str(start), str(scan), dict(settings))
    else:
        from ptycho_core.settings.payload import create_inference_payload

        payload = create_inference_payload(str(start), scan, None, settings, environment={})
        audit = payload.audit
    audit = {**audit, "backend": {**audit["backend"], "chosen_by": why}, "process": "its own" if apart else "that of the fit"}
    return FirstInference(scan=Path(scan), model=Path(str(start)), settings=settings, said=said, payload=payload, audit=audit)


def _who_infers(resolved: Resolved, backend: Backend, sources: Mapping[str, Any]) -> tuple[Row, str]:
    """The backend of the inference, and why it is that."""
    from ptycho_core.backends.registry import find_backends, those_that
    from ptycho_core.settings.planning import chosen_backend, lists_of

    named = resolved.values["start_backend"]
    if named.value is not None:
        row = chosen_backend(named, sources)
        if row.spec is None or "infer" not in row.spec.capabilities:
            told = f"backend '{row.name}' does not provide 'infer', which start_backend is for."
            raise CapabilityError(told, remedy=those_that(_infers), source=named.where, backend=row.name)
        return row, "start_backend"
    if _infers(backend.spec):
        return chosen_backend(resolved.values["backend"], sources), "it reconstructs too"
    able = [
        row
        for row in find_backends(lists_of(sources))
        if row.state == "ok" and not row.only_by_name and row.spec and _infers(row.spec)
    ]
    told = f"backend '{backend.name}' does not provide 'infer', which a start from a model needs"
    if len(able) > 1:
        names = ", ".join(row.name for row in able)
        raise UnknownBackendError(f"{told}, and several do: {names}.", remedy="Choose one with --start-backend NAME.")
    if not able:
        raise CapabilityError(f"{told}, and no usable backend does.", remedy=those_that(_infers), backend=backend.name)
    return able[0], "the only usable one that infers"


def _infers(spec: Any) -> bool:  # noqa: ANN401 - a BackendSpec
    return "infer" in spec.capabilities


def _settings(resolved: Resolved, plan: ExecutionPlan, row: Row, backend: Backend) -> dict[str, Value]:
    """Scan and execution are those of the reconstruction: as planned for the same backend, as asked for of another."""
    from ptycho_core.settings.groups import declarations

    groups, taken = resolved.groups(), declarations("infer")
    asked = {name: value for name, value in groups["data"].items() if name in resolved.requested}
    same = row.name == backend.name
    execution = plan.execution if same else {k: v for k, v in groups["execution"].items() if k in resolved.requested}
    name = row.name if row.claim is None else f"{row.name}@{row.claim.distribution}"
    named = str(resolved.values["backend"].value or backend.name) if same else name
    return asked | {key: value for key, value in execution.items() if key in taken} | {"backend": named}
