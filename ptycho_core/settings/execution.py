"""The *execution* settings: how a job is run, not what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ptycho_core.contract import PRECISIONS
from ptycho_core.settings.declare import setting

__all__ = ["ExecutionSettings"]


@dataclass(frozen=True)
class ExecutionSettings:
    """How a job is run."""

    GROUP: ClassVar[str] = "execution"

    backend: str | None = setting(
        None, help="the engine that computes; auto takes the only usable one. Name it where several are ('ptycho backends list')."
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
        "on", choices=("on", "off", "strict"), truths=("on", "off"),
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
        help="processor threads; auto lets the backend choose. Set it where jobs share a machine.",
    )  # fmt: skip
    inference_batch_size: int | None = setting(
        None, minimum=1, verbs=("infer",),
        help="groups in one pass through the network; auto takes the batch size of its training. Changes time and memory only.",
    )  # fmt: skip
    allow_mixed_frameworks: bool = setting(
        False,
        help="load the backend although this process has imported another framework. They share threads badly; turn it "
        "on in a notebook that needs both.",
    )
    progress: bool = setting(
        True, flags=("--quiet",), help="show progress on stderr; --quiet is --no-progress. Turn it off in scripts."
    )
