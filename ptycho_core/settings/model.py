"""The *model* settings: what a network is, and what it knows of the probe; facts of a model file once it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.networks import BUILT_IN
from ptycho_core.networks.u_net import Deep
from ptycho_core.settings.declare import declared_by, setting

__all__ = ["LATER", "OF_TRAINING", "WITHOUT_MODEL", "ModelSettings"]

LATER = ("estimate",)
"""Those that model files written before them do not state; what was done then is their default."""

WITHOUT_MODEL = ("update_steps", "probe_mask_diameter", "probe_mask_edge", "probe_smoothing")
"""Those that act in an inference without a model; the others are what a network is."""

OF_TRAINING = frozenset(
    ("model_type", "neighbor_count", "modes", "merge", "train_probe", "train_scale", "probe_scale", "probe_mask_diameter",
     "probe_mask_edge", "probe_smoothing")
)  # fmt: skip
"""Those that say how a network learns and of its probes; with the others alone a description and its weights go."""

_VERBS = ("train", "infer")
"""At inference the model file states them all, and no other value is accepted."""


@dataclass(frozen=True)
class ModelSettings:
    """What a model is."""

    GROUP: ClassVar[str] = "model"

    model_type: str = setting(
        "physics-informed", choices=("physics-informed", "supervised"), verbs=_VERBS,
        help="what it learns from: the patterns alone, through the physics, or the objects of its scans. supervised needs scans "
        "whose object is known.",
    )  # fmt: skip
    gridsize: int = setting(
        1, minimum=1, maximum=3, verbs=_VERBS,
        help="a network sees gridsize² neighbouring patterns at once. More helps where neighbours overlap much; each costs time.",
    )  # fmt: skip
    neighbor_count: int | None = setting(
        None, minimum=1, verbs=_VERBS,
        help="a group is chosen among so many nearest frames, the seed frame counted; auto is 4 gridsize². Fewer where the scan "
        "is sparse, more where it is dense: neighbours should overlap by about half.",
    )  # fmt: skip
    modes: int = setting(
        1, minimum=1, maximum=64, verbs=_VERBS,
        help="probe modes. More than one for a partially coherent beam, a vibrating sample or a fly scan; each costs time.",
    )  # fmt: skip
    merge: str = setting(
        "batch", choices=("batch", "group", "none"), verbs=_VERBS,
        help="which patches are merged where they overlap before they are compared with the patterns: those of a batch of "
        "neighbours, of a group, or none. none trains faster and generalises worse.",
    )  # fmt: skip
    update_steps: int | None = setting(
        None, minimum=0, maximum=1000, verbs=_VERBS, flags=("--steps",),
        help="update steps from a flat object, with the known probe, that make what the network sees; auto is 4 gridsize², "
        "10 with estimate tile, and 5 with network canvas. Without a model they make what infer gives. More helps where the "
        "probe is well known, and costs time.",
    )  # fmt: skip
    estimate: str | None = setting(
        None, choices=("group", "tile"), verbs=_VERBS,
        help="what the network sees of a pattern: what its own group of frames tells, or all neighbors of its tile, as infer "
        "without a model estimates them; auto is group, and tile with --network canvas. tile takes gridsize 1 and merge batch; "
        "its steps cost more and a network adds less.",
    )  # fmt: skip
    network: str = setting(
        "compact", choices=tuple(kind.name for kind in BUILT_IN), foreign=True, verbs=_VERBS,
        help="the network: compact, or deep, which sees twice as far and has more layers, or canvas, which sees a whole tile of "
        "neighbors. deep for many scans and the time to learn from them, canvas to halve the steps. Installed packages add "
        "others.",
    )  # fmt: skip
    network_depth: int = declared_by(Deep, "depth")
    network_width: int = declared_by(Deep, "width")
    output_form: str = setting(
        "real-imaginary", choices=("real-imaginary", "amplitude-phase"), verbs=_VERBS,
        help="what the network's two outputs mean. amplitude-phase where a bound on the amplitude is known.",
    )  # fmt: skip
    amplitude_activation: str = setting(
        "softplus", choices=("softplus", "sigmoid", "none"), verbs=_VERBS,
        help="what keeps the amplitude positive, with --output-form amplitude-phase: sigmoid also bounds it.",
    )  # fmt: skip
    train_probe: bool = setting(False, verbs=_VERBS, help="fit the probe of each scan too. Turn on where it is only a guess.")
    train_scale: bool = setting(
        False, verbs=_VERBS, help="fit a factor for the probe of each scan. Turn on where doses differ and no probe is in counts."
    )
    probe_scale: float = setting(
        1.0, above=0, maximum=1000, verbs=_VERBS,
        help="factor on the probe's amplitude at the start. Where the object's mean amplitude is known not to be 1: its inverse.",
    )  # fmt: skip
    probe_mask_diameter: float | None = setting(
        None, above=0, unit="px", verbs=_VERBS,
        help="the probe is set to 0 outside a disc of this diameter; auto keeps it whole. For a probe with light where none is.",
    )  # fmt: skip
    probe_mask_edge: float = setting(
        2.0, minimum=0, unit="px", verbs=_VERBS,
        help="width of that disc's soft edge. Wider where a hard edge would show in the far field.",
    )  # fmt: skip
    probe_smoothing: float = setting(
        0.0, minimum=0, maximum=16384, unit="px", verbs=_VERBS,
        help="sigma of a Gaussian that the probe is smoothed with at the start; 0 for none. For a noisy guess.",
    )  # fmt: skip
