"""What is automatic among the settings of a job, and follows from the others: no job holds None for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ptycho_core.networks.u_net import Canvas
from ptycho_core.settings.components import resolved_weights

if TYPE_CHECKING:
    from ptycho_core.contract import Value

__all__ = ["estimate_of", "numbered"]

BATCH_SIZE: Final = 32
CANVAS_BATCH_SIZE: Final = 128
"""Groups in a step; a network on the canvas learns from tiles like those that it will be given."""


def estimate_of(network: Value) -> str:
    """The estimate before a network that nothing else was asked for."""
    return "tile" if network == Canvas.name else "group"


def numbered(verb: str, groups: dict[str, dict[str, Value]]) -> dict[str, dict[str, Value]]:
    """The groups of a verb with the estimate of a network, a number for each weight of a loss, and both batch sizes."""
    found = dict(groups)
    model = groups.get("model", {})
    if model.get("estimate", "") is None:
        found["model"] = {**model, "estimate": estimate_of(model["network"])}
    if "training" in groups:
        found["training"] = resolved_weights(groups["training"], str(model["model_type"]))
        if found["training"]["batch_size"] is None:
            found["training"]["batch_size"] = CANVAS_BATCH_SIZE if model["network"] == Canvas.name else BATCH_SIZE
    execution = groups.get("execution", {})
    if "inference_batch_size" in execution and execution["inference_batch_size"] is None:
        size = found["training"]["batch_size"] if verb == "train" else 1
        found["execution"] = {**execution, "inference_batch_size": size}
    return found
