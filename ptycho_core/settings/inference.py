"""The *inference* settings: what a pass over a scan computes next to what a model fixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.settings.declare import declared_by, setting
from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["InferenceSettings"]


@dataclass(frozen=True)
class InferenceSettings:
    """What an inference computes."""

    GROUP: ClassVar[str] = "inference"

    refine_probe: bool = setting(
        False, verbs=("infer",),
        help="fit the probe to the frames of two tiles before the pass, as reconstruct would. Turn on where it is only a guess; "
        "it costs about as much as a pass over 2000 patterns. Not with a model, which has learned its probe.",
    )  # fmt: skip
    background: str = setting(
        "none", choices=("none", "constant", "pixel"), verbs=("infer",),
        help="fit counts that do not come from the sample to the frames of two tiles before the pass, which takes them into "
        "account: none, one number, or one for each pixel of the detector. Not with a model, which has learned without.",
    )  # fmt: skip
    refine_flux: bool | None = setting(
        None, verbs=("infer",),
        help="fit the dose of each frame before the pass, by a short reconstruction of all frames, and divide the counts "
        "by it. auto does so where the counts of the frames vary by more than photon noise and the object explain. Turn off "
        "where monitor values (--flux) are exact.",
    )  # fmt: skip
    saturation: float | None = declared_by(ReconstructionSettings, "saturation", ("infer",))
