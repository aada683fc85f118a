"""What is automatic among the settings of a job, and means a number: no job holds None for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_core.settings.components import resolved_weights

if TYPE_CHECKING:
    from ptycho_core.contract import Value

__all__ = ["numbered"]


def numbered(verb: str, groups: dict[str, dict[str, Value]]) -> dict[str, dict[str, Value]]:
    """The groups of a verb with a number for each weight of a loss and for the batch size of an inference."""
    found = dict(groups)
    if "training" in groups:
        found["training"] = resolved_weights(groups["training"], str(groups["model"]["model_type"]))
    execution = groups.get("execution", {})
    if "inference_batch_size" in execution and execution["inference_batch_size"] is None:
        size = groups["training"]["batch_size"] if verb == "train" else 1
        found["execution"] = {**execution, "inference_batch_size": size}
    return found
