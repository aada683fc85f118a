"""The *execution* settings: how a job is run, not what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.contract import PRECISIONS
from ptycho_core.settings.declare import setting

__all__ = ["ExecutionSettings"]

_TRAIN = ("train",)


@dataclass(frozen=True)
class ExecutionSettings:
    """How a job is run."""

    GROUP: ClassVar[str] = "execution"

    backend: str | None = setting(
        None,
        help="the engine that computes; auto takes the only usable one, and the one that ptycho itself brings where no other is "
        "installed. Name it where several are ('ptycho backends list').",
    )
    accelerator: str = setting(
        "auto", choices=("auto", "cpu", "cuda", "mps", "tpu"), also=(("gpu", "cuda"),),
        help="the kind of device; auto takes a GPU (cuda, then mps) if there is one and says what it took; gpu means cuda. What "
        "the backend does not offer is refused. Name it to be sure.",
    )  # fmt: skip
    precision: str = setting(
        "float32", choices=PRECISIONS,
        help="number format. float64 to compare engines or to rule out rounding; it takes twice the time.",
    )  # fmt: skip
    deterministic: str = setting(
        "on", choices=("on", "off", "strict"), switch_words=("on", "off"),
        help="on: the same command gives the same bits again, with the same number of threads on the same machine; an operation "
        "that cannot be held to that is run with a warning. strict: it is refused. off: nothing is done for it. Turn it off on a "
        "GPU where speed matters more; PyTorch and TensorFlow on a CPU lose nothing by it.",
    )  # fmt: skip
    seed: int = setting(
        0, minimum=0, maximum=2**32 - 1,
        help="seed of everything random: initial weights, order of frames, frames held out, added modes. Change it to see what "
        "is chance.",
    )  # fmt: skip
    threads: int | None = setting(
        None, minimum=1, maximum=1024,
        help="processor threads; auto takes what OMP_NUM_THREADS or SLURM_CPUS_PER_TASK says, at most the processors that the "
        "job may use, and at most 8. Set it where jobs share a machine.",
    )  # fmt: skip
    num_workers: int = setting(
        0, minimum=0, maximum=1024, verbs=("train", "infer", "reconstruct"),
        help="threads that read patterns ahead while others are computed with; 0 reads them where they are wanted. Results do "
        "not depend on it. Set it where files are slow and a scan is read batch by batch: at inference, or too large to be kept.",
    )  # fmt: skip
    prefetch: int | None = setting(
        None, minimum=1, maximum=4096, verbs=("train", "infer", "reconstruct"),
        help="readings, a batch each, that the workers are ahead at most; auto takes two for each worker. Lower it where memory "
        "is short, raise it where the time of a reading varies.",
    )  # fmt: skip
    pin_memory: bool = setting(
        False, verbs=("train", "infer", "reconstruct"),
        help="copy what is read to the GPU through pinned memory, while it computes. Turn it on where such copies cost time.",
    )  # fmt: skip
    inference_batch_size: int | None = setting(
        None, minimum=1, verbs=("train", "infer"),
        help="groups in one pass through the network at inference, and at validation in a training, whose model keeps it as the "
        "default of infer; auto takes the batch size of the training. Lower it where memory is short. What is inferred does not "
        "depend on it; with merge batch a validation loss does.",
    )  # fmt: skip
    allow_mixed_frameworks: bool = setting(
        False,
        help="load the backend although this process has imported another framework. They share threads badly; turn it "
        "on in a notebook that needs both.",
    )
    enable_checkpointing: bool = setting(
        True, flags=("--disable-checkpointing",), verbs=_TRAIN,
        help="write models while the training runs, so that it can continue. Turn it off where only the last model counts and "
        "the disk is slow.",
    )  # fmt: skip
    checkpoint_save_top_k: int = setting(
        1, minimum=-1, verbs=_TRAIN,
        help="best epochs that are kept: 1 is best.ptycho alone, -1 keeps all, 0 writes nothing while it runs. More to compare "
        "epochs or to average them.",
    )  # fmt: skip
    checkpoint_monitor: str | None = setting(
        None, choices=("loss", "misfit", "validation_loss", "validation_misfit"), also=(("val_loss", "validation_loss"),),
        verbs=_TRAIN,
        help="figure by which the best epoch, early stopping and plateau are chosen; auto is validation_loss with "
        "validation data, else loss. A misfit where loss terms of other runs differ.",
    )  # fmt: skip
    checkpoint_mode: str = setting(
        "min", choices=("min", "max"), verbs=_TRAIN,
        help="whether a lower or a higher figure is better. All that is reported today is better when lower.",
    )  # fmt: skip
    early_stop_patience: int | None = setting(
        None, minimum=1, verbs=_TRAIN, help="stop after this many epochs that are no better; auto never does."
    )
    logger: str = setting(
        "csv", choices=("csv", "mlflow", "tensorboard", "none"), verbs=("train", "reconstruct"),
        help="where the course of the run is written, row by row: log.csv, TensorBoard's event file, an MLflow run, where an "
        "installed logger writes, or nowhere. tensorboard or mlflow where many runs are compared.",
    )  # fmt: skip
    log_every: int = setting(
        0, minimum=0, unit="steps", verbs=_TRAIN,
        help="steps between two rows of loss and learning rate besides those of the epochs; 0 writes epochs only. Use it where "
        "an epoch is long or the loss jumps within one.",
    )  # fmt: skip
    figures: bool = setting(
        True, verbs=("train", "infer", "reconstruct"),
        help="draw the figures of the result folder once all else is written. Turn it off where many small jobs run: drawing can "
        "take longer than the job.",
    )  # fmt: skip
    progress: bool = setting(
        True, flags=("--quiet",), help="show progress on stderr; --quiet is --no-progress. Turn it off in scripts."
    )
