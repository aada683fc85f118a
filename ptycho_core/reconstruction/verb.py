"""The verb ``reconstruct`` as a whole: where the start is a model, the inference of the scan comes first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ptycho_core.contract import Observer, Value
    from ptycho_core.events import EventHub
    from ptycho_core.formats.product import Reconstruction, StoredObject
    from ptycho_core.settings.payload import InferencePayload, ReconstructionPayload

__all__ = ["reconstruct", "run_reconstruction"]


def reconstruct(
    scan: str | Path,
    output_dir: str | Path | None = None,
    *,
    config_file: str | Path | None = None,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    **settings: Value,
) -> Reconstruction:
    """Reconstruct object and probe of a scan.

    Args:
        scan: path of the scan file.
        output_dir: folder for the results, see ``specs/result-folder.md``; None writes nothing.
        config_file: settings in TOML.
        overwrite: whether results that are already in ``output_dir`` may be replaced.
        observers: functions that are called with each ``ptycho_core.contract.Event``.
        settings: any setting by name, such as ``backend="torch"``, ``modes=2``, ``refine_positions=True``
            (``docs/reference/settings.md``).

    Returns:
        The reconstruction; if it was interrupted, the best so far.

    Raises:
        SettingsError: for an unknown or impossible setting.
        BackendUnusableError: if the backend cannot be used.
        CapabilityError: if the backend does not provide what was asked for.
        DataError: if scan, probe or start cannot be used.
        OutputError: if ``output_dir`` cannot be.
    """
    from ptycho_core.settings.payload import create_reconstruction_payload

    payload = create_reconstruction_payload(scan, output_dir, settings, config_file=config_file)
    return run_reconstruction(payload, overwrite=overwrite, observers=observers)[0]


def run_reconstruction(
    payload: ReconstructionPayload, *, overwrite: bool = False, observers: Sequence[Observer] = ()
) -> tuple[Reconstruction, dict[str, Any]]:
    """Run a frozen payload, its inference first if it has one; returns the reconstruction and its metrics (``metrics.json``).

    Raises:
        DataError: if scan, probe or start cannot be used.
        OutputError: if the output folder cannot be.
        KeyboardInterrupt: it was asked to stop while the start was inferred.
    """
    from ptycho_core.reconstruction.run import run_payload

    infer = None if payload.first is None else partial(_inferred, payload.first)
    return run_payload(payload, overwrite=overwrite, observers=observers, infer=infer)


def _inferred(first: InferencePayload, hub: EventHub) -> tuple[StoredObject, list[str]]:
    """The object, and the probe it goes with, that a model gives for the scan; and the notes of the inference."""
    from ptycho_core.formats.product import StoredObject
    from ptycho_core.inference.run import infer_payload

    found, metrics = infer_payload(first, hub, announce="message")
    return StoredObject(found.object, found.probe, found.positions, found.origin), metrics["notes"]
