"""The *training* settings: how a network learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.engine.losses import Amplitude, Mae, Nll
from ptycho_core.settings.data import RECONSTRUCT
from ptycho_core.settings.declare import declared_by, setting
from ptycho_core.settings.reconstruction import ReconstructionSettings

__all__ = ["TrainingSettings"]

_VERBS = ("train",)


@dataclass(frozen=True)
class TrainingSettings:
    """How a network learns."""

    GROUP: ClassVar[str] = "training"

    epochs: int = setting(50, minimum=1, verbs=_VERBS, help="passes over the scans. More while the validation loss still falls.")
    batch_size: int | None = setting(
        None, minimum=1, verbs=_VERBS,
        help="groups in one step; auto is 32, and 128 with network canvas, as of the tiles of an inference. Merging needs "
        "neighbours in a batch; larger keeps a GPU busy, smaller takes more steps.",
    )  # fmt: skip
    learning_rate: float = setting(
        1e-3, above=0, maximum=1e30, verbs=_VERBS,
        help="largest learning rate. Lower it where the loss jumps, raise it where it creeps.",
    )  # fmt: skip
    optimizer: str = setting(
        "adam", choices=("adam", "adamw", "sgd"), verbs=_VERBS,
        help="how weights follow their gradients; adamw is adam with weight decay, sgd has momentum.",
    )  # fmt: skip
    weight_decay: float = setting(
        0.0, minimum=0, verbs=_VERBS, help="of adamw. Raise it where the validation loss rises while the loss falls."
    )
    adam_beta1: float = setting(
        0.9, minimum=0, below=1, verbs=_VERBS,
        help="decay of the mean gradient in adam and adamw. Lower it where the loss swings, raise it where batches differ much.",
    )  # fmt: skip
    adam_beta2: float = setting(
        0.999, minimum=0, below=1, verbs=_VERBS,
        help="decay of the mean square of the gradient in adam and adamw. Lower it where gradients change their size in a run.",
    )  # fmt: skip
    adam_epsilon: float = setting(
        1e-8, minimum=1e-30, maximum=1, verbs=_VERBS,
        help="added to the root of that mean square. Raise it where weights with tiny gradients jump.",
    )  # fmt: skip
    momentum: float = setting(0.9, minimum=0, below=1, verbs=_VERBS, help="of sgd. Lower it where the loss swings; 0 for none.")
    scheduler: str = setting(
        "warmup-cosine", choices=("constant", "exponential", "warmup-cosine", "plateau"), verbs=_VERBS,
        help="how the learning rate changes. plateau where the number of epochs is not known beforehand.",
    )  # fmt: skip
    warmup_epochs: float = setting(
        1.0, minimum=0, verbs=_VERBS, help="epochs over which warmup-cosine raises the rate. More where the first steps diverge."
    )
    decay: float = setting(
        0.95,
        above=0,
        maximum=1,
        verbs=_VERBS,
        help="factor of the rate an epoch, of exponential. Nearer to 1 for long runs.",
    )
    plateau_factor: float = setting(
        0.5, above=0, below=1, verbs=_VERBS, help="factor of the rate whenever plateau finds that the loss no longer falls."
    )
    plateau_patience: int = setting(
        5,
        minimum=1,
        verbs=_VERBS,
        help="epochs without a lower loss before plateau lowers the rate. More for a noisy loss.",
    )
    min_learning_rate: float = setting(
        0.0, minimum=0, verbs=_VERBS, help="the rate never falls below it, constant aside. Raise it to keep learning at the end."
    )
    gradient_clip_val: float | None = setting(
        None, above=0, verbs=_VERBS, help="bound on the gradient; auto for none. Give one where single batches throw the loss up."
    )
    gradient_clip_algorithm: str = setting(
        "norm", choices=("norm", "value"), verbs=_VERBS, help="what is bounded: the norm of the whole gradient, or each value."
    )
    accumulate_grad_batches: int = setting(
        1, minimum=1, verbs=_VERBS, help="batches whose gradients make one step. More for larger steps than memory allows."
    )
    nll_weight: float = declared_by(Nll, "weight")
    amplitude_weight: float | None = declared_by(Amplitude, "weight")
    mae_weight: float = declared_by(Mae, "weight")
    tv_weight: float = setting(
        0.0, minimum=0, verbs=_VERBS, help="weight of the object's total variation. Raise it where the object is speckled."
    )
    realspace_weight: float | None = setting(
        None, minimum=0, verbs=_VERBS,
        help="weight of the difference from known objects; auto is 1 in a supervised model and with --labels reconstruct, else "
        "0. Needs scans with an object.",
    )  # fmt: skip
    validation_split: float = setting(
        0.0, minimum=0, maximum=0.5, verbs=_VERBS,
        help="fraction of each scan held out for validation (a region at its edge). Use it where there is no scan for "
        "--validation.",
    )  # fmt: skip
    oversampling: int = setting(
        1, minimum=1, verbs=_VERBS, help="groups drawn for each frame in an epoch. More for small scans with --neighbor-count."
    )
    n_groups: int | None = setting(
        None, minimum=1, verbs=_VERBS,
        help="groups drawn of each scan in an epoch; auto is one for each frame, times --oversampling. Fewer for short epochs on "
        "a large scan, or for scans of different size to count alike.",
    )  # fmt: skip
    n_subsample: int | None = setting(
        None, minimum=1, verbs=_VERBS, help="frames used of each scan, drawn at random; auto uses all. Fewer for a quick trial."
    )
    sequential_sampling: bool = setting(
        False, verbs=_VERBS,
        help="take the first --n-subsample frames instead. Turn on for a connected piece of a scan that was taken line by line.",
    )  # fmt: skip
    subsample_seed: int | None = setting(
        None, minimum=0, maximum=2**32 - 1, verbs=_VERBS,
        help="seed of that draw; auto takes the seed of the run. Set it to keep the frames while the seed changes.",
    )  # fmt: skip
    labels: str | None = setting(
        None, path=True, words=(RECONSTRUCT,), verbs=_VERBS,
        help="file with the object of the one scan, to compare with; none takes the object in each scan's own file. reconstruct "
        "makes one for each scan by a reconstruction with the probe as it is, and compares with nothing else.",
    )  # fmt: skip
    refine_flux: bool | None = setting(
        None, verbs=_VERBS,
        help="fit the dose of each frame before the first epoch, by a short reconstruction of each scan, and divide the counts "
        "by it. auto does so where the counts of the frames vary by more than photon noise and the object explain. Turn off "
        "where monitor values (--flux) are exact.",
    )  # fmt: skip
    saturation: float | None = declared_by(ReconstructionSettings, "saturation", _VERBS)
