"""The *reconstruction* settings: what is computed when object and probe are fitted to a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.settings.declare import setting

__all__ = ["ReconstructionSettings"]

_VERBS = ("reconstruct",)


@dataclass(frozen=True)
class ReconstructionSettings:
    """What a reconstruction computes."""

    GROUP: ClassVar[str] = "reconstruction"

    modes: int = setting(
        1, minimum=1, maximum=64, verbs=_VERBS,
        help="probe modes. More than one for a partially coherent beam, a vibrating sample or a fly scan; each costs time.",
    )  # fmt: skip
    start: str | None = setting(
        None, path=True, verbs=_VERBS,
        help="result folder or file whose object (and probe, unless --probe) is the start, in place of a flat object; or a model "
        "file or folder of ptycho train, which infers one.",
    )  # fmt: skip
    epochs: int | None = setting(
        None, minimum=0, verbs=_VERBS,
        help="passes over the scan in small batches (rPIE) before the joint fit; auto takes more where positions are "
        "refined or pixels saturate.",
    )  # fmt: skip
    iterations: int = setting(
        80, minimum=0, verbs=_VERBS,
        help="largest number of iterations of each stage of the joint fit of object and probe, which stops by itself; 0 leaves "
        "it out.",
    )  # fmt: skip
    batch_size: int = setting(
        16, minimum=1, verbs=_VERBS,
        help="frames in one update of the first stage. Smaller converges in fewer epochs, larger keeps a GPU busy.",
    )  # fmt: skip
    object_alpha: float = setting(
        0.02, above=0, maximum=1, verbs=_VERBS,
        help="regularisation of the first stage's object updates (rPIE). Raise it if the first epochs diverge.",
    )  # fmt: skip
    likelihood: str = setting(
        "auto", choices=("auto", "amplitude", "poisson"), verbs=_VERBS,
        help="what the joint fit minimises. auto takes Poisson where counts are few, else the amplitude misfit.",
    )  # fmt: skip
    total_variation: float | None = setting(
        None, minimum=0, verbs=_VERBS,
        help="weight of the object's total variation, relative to the photon noise; auto looks for it with frames held out "
        "where counts are few, else none; 0 for none.",
    )  # fmt: skip
    coarse_start: bool | None = setting(
        None, verbs=_VERBS,
        help="begin with the middle half of the detector, at half the resolution; auto does so from a flat object, not with "
        "--start. Turn off if the coarse epochs diverge.",
    )  # fmt: skip
    refine_probe: bool = setting(
        True, verbs=_VERBS, help="fit the probe too. Turn off for a probe known better than the scan can tell."
    )
    refine_positions: str = setting(
        "off", choices=("off", "on", "search", "affine"), switch_words=("on", "off"), verbs=_VERBS,
        help="fit the positions too, where the stage is not to be trusted to a pixel. on moves them by parts of a pixel at a "
        "time; search first looks for each frame many pixels around, where the stage jumps or drifts; affine first finds the "
        "scale, rotation and shear of the whole scan.",
    )  # fmt: skip
    position_error: float | None = setting(
        None, above=0, unit="pixels", verbs=_VERBS,
        help="error of the positions that a search expects, rms along each axis; auto takes the step of the scan, and at most "
        "0.3 of the probe's width.",
    )  # fmt: skip
    position_radius: float | None = setting(
        None, above=0, unit="pixels", verbs=_VERBS,
        help="how far a search looks for a frame around its stated position; auto takes three times the position error. It must "
        "reach the frame that is off most.",
    )  # fmt: skip
    refine_flux: bool | None = setting(
        None, verbs=_VERBS,
        help="fit the dose of each frame too. auto does so where the counts of the frames vary by more than photon noise and the "
        "object explain. Turn off where monitor values (--flux) are exact.",
    )  # fmt: skip
    saturation: float | None = setting(
        None, minimum=0, unit="counts", verbs=_VERBS,
        help="counts at which the detector ends: pixels that have reached it count at least so much. auto finds it where pixels "
        "of many frames end at one value; 0 for none.",
    )  # fmt: skip
    background: str = setting(
        "none", choices=("none", "constant", "pixel"), verbs=_VERBS,
        help="fit counts that do not come from the sample: none, one number, or one for each pixel of the detector.",
    )  # fmt: skip
    held_out: float | None = setting(
        None, minimum=0, maximum=0.5, verbs=_VERBS,
        help="share of the frames that take no part in the fit and check it. auto holds out 5 percent of 40 frames or more, "
        "and fits them too in the end; 0 for none.",
    )  # fmt: skip
    tolerance: float = setting(
        0.25, above=0, maximum=100, verbs=_VERBS,
        help="the joint fit ends when ten iterations change the object by less than this share of what photon noise leaves "
        "uncertain.",
    )  # fmt: skip
    memory_gib: float = setting(
        2.0, minimum=0, unit="GiB", verbs=_VERBS,
        help="patterns are kept in memory, on the device, up to this size; larger scans are read again batch by batch.",
    )  # fmt: skip

    @property
    def moves_positions(self) -> bool:
        """Whether positions are fitted."""
        return self.refine_positions != "off"
