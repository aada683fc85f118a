"""What a worker process runs of a comparison: one job with one backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ptycho_core.contract import Observer

__all__ = ["RUN", "run_job"]

RUN = "run"
"""Folder of the training inside the folder of a result, where a comparison trains."""


def run_job(
    verb: str,
    scan: str,
    folder: Path,
    overrides: Mapping[str, Mapping[str, object]],
    *,
    model: Path | None = None,
    config: Path | None = None,
    overwrite: bool = False,
    allow_unsupported: bool = False,
    observers: Sequence[Observer] = (),
) -> dict[str, Any]:
    """Run one job and leave its result folder.

    Args:
        verb: ``reconstruct``, ``infer`` with ``model``, or ``train``, which trains and then infers the same scan.
        scan: path of the scan.
        folder: for the result; a training is put into ``run`` inside it.
        overrides: explicit settings by verb and name, the backend among them.
        model: a model file, or the folder of a run.
        config: settings in TOML.
        overwrite: whether what is in ``folder`` may be replaced.
        allow_unsupported: continue without the options that the backend does not support.
        observers: get the events.

    Returns:
        Misfit and what else ``metrics.json`` has, of a training under ``training``; what ran, under ``backend``.

    Raises:
        PtychoError: as the verbs.
    """
    from ptycho_core.inference.run import run_payload as infer
    from ptycho_core.reconstruction.verb import run_reconstruction
    from ptycho_core.settings.payload import (
        create_inference_payload,
        create_reconstruction_payload,
        create_training_payload,
    )
    from ptycho_core.training.run import run_payload as train

    how: dict[str, Any] = {"config_file": config, "allow_unsupported": allow_unsupported}
    if verb == "reconstruct":
        fit = create_reconstruction_payload(scan, folder, overrides[verb], **how)
        return {**run_reconstruction(fit, overwrite=overwrite, observers=observers)[1], "backend": fit.audit["backend"]}
    trained: dict[str, Any] = {}
    if verb == "train":
        training = create_training_payload([scan], folder / RUN, overrides[verb], **how)
        trained = {"training": train(training, overwrite=overwrite, observers=observers)[1]}
        # The folder holds the run now, and what an option does for a training need not mean anything in a single pass.
        model, overwrite, how["allow_unsupported"] = folder / RUN, True, True
    assert model is not None
    single = create_inference_payload(model, scan, folder, overrides["infer"], **how)
    metrics = infer(single, overwrite=overwrite, observers=observers)[1]
    return {**trained, **metrics, "backend": single.audit["backend"]}
