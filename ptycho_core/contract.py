"""What crosses the border between the core and a backend: plain, frozen data; arrays as NumPy, never as tensors.

The text that binds is ``specs/backend-contract.md``. Importing this module imports neither NumPy nor any framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.engine.losses import Loss
    from ptycho_core.model import Model
    from ptycho_core.scan.scan import Scan
    from ptycho_core.training.data import TrainingData

    ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]
    FloatArray: TypeAlias = NDArray[np.floating[Any]]

CONTRACT: Final[tuple[int, int]] = (2, 0)
"""Version of the contract (major, minor). A backend's major must be the same and its minor not newer."""

CAPABILITIES: Final[frozenset[str]] = frozenset(
    {
        "train", "infer", "reconstruct", "evaluate",
        "positions", "position-search", "background", "flux", "saturation", "near-field",
    }
)  # fmt: skip
"""Words a manifest may claim: the four verbs, what ``reconstruct`` can do besides object and probe, and in which regime."""

VERBS: Final[tuple[str, ...]] = ("train", "infer", "reconstruct", "evaluate")
ACCELERATORS: Final[tuple[str, ...]] = ("cpu", "cuda", "mps", "tpu")
PRECISIONS: Final[tuple[str, ...]] = ("float32", "float64", "bf16-mixed", "fp16-mixed")

Value: TypeAlias = bool | int | float | str | None
"""What a setting can hold once it is resolved (paths travel as text)."""


@dataclass(frozen=True)
class OptionSpec:
    """An option of one backend, given as ``--opt BACKEND.NAME=VALUE`` or under ``[backend.BACKEND]`` in a file."""

    name: str
    type: Literal["bool", "int", "float", "str"]
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    verbs: tuple[str, ...] = ()
    """The verbs that it acts in; empty: all that the backend claims."""
    network: bool = False
    """Whether it acts in the layers of a network alone: without one it is refused."""


@dataclass(frozen=True)
class Framework:
    """The framework behind a backend; ``minimum`` is inclusive, ``below`` exclusive, empty means unbounded.

    ``title`` is what people call it; empty: as its distribution. ``requires`` are further packages that must be installed, as
    an installer takes them (``optax>=0.2``). ``builds_on`` is the module of another framework that this one computes with: the
    two may share a process.
    """

    module: str
    distributions: tuple[str, ...]
    minimum: str = ""
    below: str = ""
    builds_on: str = ""
    title: str = ""
    requires: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        return self.title or self.distributions[0]


@dataclass(frozen=True)
class BackendSpec:
    """What a backend says of itself: the content of its manifest, and the answer of ``ptycho_backend_spec``.

    The fields are the manifest's keys, which ``specs/backend-contract.md`` explains.
    """

    name: str
    title: str
    contract: tuple[int, int]
    framework: Framework | None
    capabilities: tuple[str, ...]
    accelerators: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("float32",)
    options: tuple[OptionSpec, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    issues_url: str = ""
    only_by_name: bool = False
    only_alone: bool = False


@dataclass(frozen=True)
class Device:
    """One device that a framework can compute on: accelerator word, the framework's own name for it, a title."""

    accelerator: str
    name: str
    title: str = ""


@dataclass(frozen=True)
class ProbeReport:
    """Answer of ``ptycho_probe``: the framework was imported and this is what it found."""

    framework_version: str
    devices: tuple[Device, ...]
    precisions: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Disposition:
    """What became of one requested option: applied as asked, adjusted to another value, or not supported; ``why`` says so."""

    kind: Literal["applied", "adjusted", "unsupported"]
    value: Value = None
    why: str = ""


@dataclass(frozen=True)
class ExecutionRequest:
    """How a job is to be run.

    ``execution`` holds every resolved execution setting, ``settings`` the groups that say what is computed, ``options`` the
    backend's own options (without prefix); ``requested`` names those that the user asked for, a backend option as
    ``BACKEND.NAME``. A default is never in ``requested``.
    """

    verb: str
    execution: Mapping[str, Value]
    settings: Mapping[str, Mapping[str, Value]]
    options: Mapping[str, Value]
    requested: frozenset[str]


@dataclass(frozen=True)
class ExecutionPlan:
    """What will be done: the effective value of every execution setting and option, and one disposition for each requested one.

    ``device`` is the framework's own name. ``dispositions`` has exactly the keys of ``ExecutionRequest.requested``.
    """

    device: str
    execution: Mapping[str, Value]
    options: Mapping[str, Value]
    dispositions: Mapping[str, Disposition]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReconstructJob:
    """Fit object, probe and, if asked, positions, background and flux to one scan. A backend changes none of its arrays.

    Attributes:
        scan: the opened scan; its patterns are read when asked for.
        object: (rows, columns), complex64, what the fit begins with.
        probe: (mode, N, N), complex64, scaled to counts, what the fit begins with.
        positions: (frame, 2), float64, (row, column) of each window's ``[0, 0]`` corner in ``object``; all windows lie inside.
        flux: (frame,), float64, above 0, mean 1, the dose of each frame relative to the probe's, from a monitor of the beam: what
            the fit of it begins with, and taken as it is where it is not fitted; None for 1.
        settings: the groups *data*, *reconstruction* and *execution* by name.
        losses: the losses that compare patterns, by name, those of other distributions too; empty for ptycho's own.
    """

    scan: Scan
    object: ComplexArray
    probe: ComplexArray
    positions: NDArray[np.float64]
    settings: Mapping[str, Mapping[str, Value]]
    losses: Mapping[str, Loss] = field(default_factory=dict)
    flux: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class TrainJob:
    """Fit a network to scans.

    Attributes:
        data: the opened scans, those to learn from first, and which of their frames do what.
        model: initial weights and probes, or a checkpoint with its training state, from which the training continues as if it
            had not stopped.
        output_dir: an existing folder; checkpoints are written there and nowhere else.
        settings: the groups *data*, *model*, *training* and *execution* by name.
        losses: as of a `ReconstructJob`.
    """

    data: TrainingData
    model: Model
    output_dir: Path
    settings: Mapping[str, Mapping[str, Value]]
    losses: Mapping[str, Loss] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class InferJob:
    """Pass one scan through a trained network.

    Attributes:
        scan: the opened scan.
        model: the network with its weights.
        probe: (mode, N, N), complex64, scaled to the counts of this scan.
        positions: (frame, 2), float64, (row, column) of each window's ``[0, 0]`` corner on the scan's canvas.
        groups: (frame, C), int64, the frames that the network sees together for each frame, that frame first.
        settings: the groups *data* and *execution* by name, and *model* as the model file states it.
        background: (N, N), counts added to each pattern, or None; only estimates of tiles, without a network, come with one.
    """

    scan: Scan
    model: Model
    probe: ComplexArray
    positions: NDArray[np.float64]
    groups: NDArray[np.int64]
    settings: Mapping[str, Mapping[str, Value]]
    background: FloatArray | None = None


@dataclass(frozen=True)
class EvaluateJob:
    """Forward model, loss terms and gradients of one batch.

    Attributes:
        object: (rows, cols), complex128.
        probe: (mode, N, N), complex128, scaled to counts.
        positions: (frame, 2), float64, (row, column) of the windows' ``[0, 0]`` corners in ``object``.
        counts: (frame, N, N), detector counts, zero frequency at ``[N//2, N//2]``; in the near field pixel ``[r, c]`` lies
            behind that of the window.
        mask: (N, N), bool, True = good pixel, or None for all good.
        background: (N, N) counts added to each pattern, or None.
        weights: weight of each loss term by name (``nll``, ``amplitude``, ``mae``, ``tv``).
        gradients: whether gradients of the weighted sum are wanted.
        flux: (frame,), above 0, what multiplies the light of each frame, but not the background; None for 1.
        saturation: counts that have reached it are lower bounds: modelled counts beyond them are compared as if they were equal;
            None where there are none.
        propagation: the way to the detector in the near field: propagator, distance and wavelength as of
            `ptycho_core.physics.near_field.Propagation`; None in the far field.
    """

    object: ComplexArray
    probe: ComplexArray
    positions: FloatArray
    counts: FloatArray
    mask: NDArray[np.bool_] | None = None
    background: FloatArray | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: {"amplitude": 1.0})
    gradients: bool = True
    flux: FloatArray | None = None
    saturation: float | None = None
    propagation: tuple[str, float, float] | None = None


@dataclass(frozen=True, eq=False)
class EvaluateBatchJob:
    """One batch of a training: what the network makes of it, its loss and its gradients. Nothing is trained or written.

    Attributes:
        data: the opened scans of the training, those to learn from first, then those of the validation.
        model: network, weights, probes and scales.
        settings: the groups of the training by name.
        scan: place of the scan in ``data``.
        groups: (group, C), int64, frames of that scan; the first of a group is its seed frame.
        gradients: whether gradients of the weighted sum are wanted.
        losses: as of a `ReconstructJob`.
    """

    data: TrainingData
    model: Model
    settings: Mapping[str, Mapping[str, Value]]
    scan: int
    groups: NDArray[np.int64]
    gradients: bool = True
    losses: Mapping[str, Loss] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class BatchRecipe:
    """A batch of a training as files, so that it can go to another process, which opens them.

    Attributes:
        scans: files of the scans to learn from.
        model_path: a model file.
        settings: the groups *data*, *model*, *training* and *execution* by name.
        scan: place of the scan among those to learn from, then those of the validation.
        groups: (group, C), int64, frames of that scan; the first of a group is its seed frame.
        validation: files of scans that only validate.
        gradients: whether gradients of the weighted sum are wanted.
    """

    scans: tuple[Path, ...]
    model_path: Path
    settings: Mapping[str, Mapping[str, Value]]
    scan: int
    groups: NDArray[np.int64]
    validation: tuple[Path, ...] = ()
    gradients: bool = True


Job: TypeAlias = "ReconstructJob | TrainJob | InferJob | EvaluateJob | EvaluateBatchJob"


@dataclass(frozen=True)
class TrainResult:
    """Answer of ``ptycho_train``.

    Attributes:
        model_path: the best model so far, or the last where none was best yet.
        last_path: the model as it is at the end; a checkpoint to resume from, unless checkpoints are turned off.
        history: one row for each finished epoch, see ``specs/training.md``.
        stopped_by: why it ended, in a few words.
        interrupted: True if it was asked to stop.
        facts: what was decided on the way (device, threads), for the run record.
    """

    model_path: Path
    last_path: Path
    history: Sequence[Mapping[str, Value]]
    stopped_by: str
    interrupted: bool = False
    facts: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class InferBatch:
    """One batch of ``ptycho_infer``: frame numbers (k,), int64, and their object patches (k, N, N), complex."""

    frames: NDArray[np.int64]
    patches: ComplexArray


@dataclass(frozen=True, eq=False)
class InferTile:
    """One tile of ``ptycho_infer``, whose frames share one picture, so that nothing is left to align or to merge among them.

    Attributes:
        frames: (k,), int64, frame numbers, those of one tile.
        object: (rows, columns), complex, the object; the windows of all frames lie inside.
        corner: (row, column), whole pixels, of its ``[0, 0]`` on the scan's canvas.
    """

    frames: NDArray[np.int64]
    object: ComplexArray
    corner: tuple[int, int]


def _no_frames() -> NDArray[np.int64]:
    import numpy as np

    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ReconstructResult:
    """Answer of ``ptycho_reconstruct``.

    Attributes:
        object: (rows, cols), complex.
        probe: (mode, N, N), complex, orthogonal, strongest first, scaled to counts.
        positions: (frame, 2), float64, in pixels of ``object``.
        background: (N, N), counts, or None if it was not asked for.
        history: one row for each epoch or iteration: ``stage``, ``epoch``, ``loss``, ``misfit``, ``held_out``,
            ``seconds``.
        held_out: numbers of the frames that were held out to check the fit by.
        stopped_by: why the fit ended, in a few words.
        interrupted: True if it was asked to stop; the arrays are then the best so far.
        facts: what was decided on the way (likelihood, weights, number of threads), for the record; anything JSON can hold.
        frame_sums: (frame, 2), float64: of each frame ``Σ|√I − √n|`` and ``Σ√n`` over good pixels, for the arrays of this answer,
            from which the core makes R; None leaves it to the core to model all patterns.
        held_out_sums: (k, 2), float64: the same of the frames ``held_out``, from before they were fitted too; None where they
            took no part to the end.
        flux: (frame,), float64, above 0, mean 1: the dose of each frame relative to the probe's, or None where all are alike.
    """

    object: ComplexArray
    probe: ComplexArray
    positions: FloatArray
    background: FloatArray | None = None
    history: Sequence[Mapping[str, Value]] = ()
    held_out: NDArray[np.int64] = field(default_factory=_no_frames)
    stopped_by: str = ""
    interrupted: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    frame_sums: FloatArray | None = None
    held_out_sums: FloatArray | None = None
    flux: FloatArray | None = None


@dataclass(frozen=True)
class EvaluateResult:
    """Answer of ``ptycho_evaluate``.

    Attributes:
        intensities: (frame, N, N), float64, modelled counts; of a batch of a training its frames in the order of the groups.
        losses: each loss term's value, unweighted, by name; of a batch of a training those with a weight above 0.
        gradients: by name: derivative of the weighted sum, as d/d Re + i d/d Im for complex arrays; empty if not wanted. Of an
            `EvaluateJob` ``object``, ``probe``, ``positions``, ``background``, ``flux``; of a batch of a training what learns,
            named, shaped and in the units of ``specs/network.md``: ``network.NAME``, ``physics.probe`` (of q, complex (scan,
            mode, N, N)), ``physics.log_scale`` (scan,).
        patches: (frame, N, N), complex, the object patches of a batch of a training, merged as the loss sees them; else None.
    """

    intensities: FloatArray
    losses: Mapping[str, float]
    gradients: Mapping[str, Any]
    patches: ComplexArray | None = None


@dataclass(frozen=True)
class Event:
    """One thing that happened in a running job.

    ``kind``: ``started``, ``epoch`` (end of an epoch or iteration, ``values`` is the history row), ``step`` (now and then inside
    one), ``checkpoint`` (a model was saved at ``path``), ``message`` (a sentence for the user), ``finished``. ``total`` is the
    number of epochs planned, 0 if unknown. ``specs/events.md`` binds.
    """

    kind: Literal["started", "epoch", "step", "checkpoint", "message", "finished"]
    stage: str = ""
    epoch: int = 0
    total: int = 0
    values: Mapping[str, Value] = field(default_factory=dict)
    message: str = ""
    path: str = ""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """How far a running job is, for observers that draw it. Its arrays are copies.

    Attributes:
        stage: as of the `Event` of the same epoch.
        epoch: number of the epoch or iteration in its stage, from 1; of an inference the number of frames done.
        object: (rows, columns), complex.
        probe: (mode, N, N), complex, scaled to counts.
        positions: (frame, 2), float64, in pixels of ``object``.
        origin: (2,), float64: ``positions + origin`` are positions as the scan's file states them. The core fills it in.
        frames: (frame,), int64, ascending, the number that the scan's file gives each frame; None where they are 0, 1, 2 …. The
            core fills it in.
    """

    stage: str
    epoch: int
    object: ComplexArray
    probe: ComplexArray
    positions: NDArray[np.float64]
    origin: NDArray[np.float64] | None = None
    frames: NDArray[np.int64] | None = None


class EventSink(Protocol):
    """Given to a backend with a job: where it reports, and how it learns that it should stop."""

    def emit(self, event: Event) -> None:
        """Pass an event on to the observers. Never raises."""

    @property
    def stop_requested(self) -> bool:
        """True once the user asked to stop: finish the epoch or iteration, save, and return what there is, ``interrupted=True``.

        A single pass (``ptycho_infer``) ends at the next batch.
        """

    @property
    def snapshot_due(self) -> bool:
        """True when an observer wants to see the present state: then `show` it. Without such an observer it is never True."""

    def show(self, snapshot: Snapshot) -> None:
        """Hand the present state out to the observers that want it now. Never raises."""


Observer: TypeAlias = Callable[[Event], None]
