"""What a worker process runs where an inference must not share a process with what comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.contract import Observer, Value

__all__ = ["decide", "infer"]


def decide(model: str, scan: str, settings: Mapping[str, Value]) -> dict[str, Any]:
    """The audit of an inference, which is decided on here and not run.

    Raises:
        PtychoError: as ``create_inference_payload``.
    """
    from ptycho_core.settings.payload import create_inference_payload

    return dict(create_inference_payload(model, scan, None, settings, environment={}).audit)


def infer(model: str, scan: str, settings: Mapping[str, Value], observers: Sequence[Observer] = ()) -> dict[str, Any]:
    """Infer; object (rows, columns), probe (mode, N, N), positions (frame, 2), origin (2,) and notes of the result.

    Raises:
        PtychoError: as ``infer_payload``.
    """
    from ptycho_core.events import EventHub
    from ptycho_core.inference.run import infer_payload
    from ptycho_core.settings.payload import create_inference_payload

    payload = create_inference_payload(model, scan, None, settings, environment={})
    found, metrics = infer_payload(payload, EventHub(observers), announce="message")
    arrays = {"object": found.object, "probe": found.probe, "positions": found.positions, "origin": found.origin}
    return {**arrays, "notes": metrics["notes"]}
