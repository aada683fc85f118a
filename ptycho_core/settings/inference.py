"""The *inference* settings: what a model file leaves open when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.settings.declare import setting

__all__ = ["InferenceSettings"]


@dataclass(frozen=True)
class InferenceSettings:
    """What a model file leaves open."""

    GROUP: ClassVar[str] = "inference"

    inference_batch_size: int | None = setting(
        None, minimum=1, verbs=("infer",),
        help="groups in one pass through the network; auto takes the batch size of its training. Changes time and memory only.",
    )  # fmt: skip
