"""The portable model file, ``*.ptycho``: a network's description and weights, and all that is needed to use them.

The text that binds is ``specs/model-file.md``. Nothing in such a file is ever executed, unpickled or taken out to disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.modelfile.archive import Archive

__all__ = [
    "BEST",
    "LAST",
    "Model",
    "TrainingState",
    "load_model",
    "load_with_manifest",
    "model_file",
    "read_model_manifest",
    "save_model",
]

BEST: Final = "best.ptycho"
LAST: Final = "last.ptycho"
"""In the folder of a training run: its best model so far, and the model as it is now, which a run continues from."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What a checkpoint has besides the model, so that training continues as if it had not stopped.

    Attributes:
        arrays: of the optimizer and of random generators, by name; finite; any type of whole, real or complex numbers.
        state: place in the order of the data and the like: anything JSON can hold; numbers must be finite.
    """

    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights, the physics it was trained with, and its origin.

    Attributes:
        network: neutral description of the network, see ``ptycho_core.networks``.
        weights: float32 by name, exactly those of ``tensor_shapes(network)``.
        physics: ``probe`` (scan, mode, N, N), complex64, one for each scan of the training, scaled to the counts of a pattern of
            an empty object; ``log_scale`` (scan,), float32, natural logarithm of the factor on the modelled intensity.
        facts: what inference may not change: ``size`` (N), ``gridsize``, ``modes`` and every other *model* setting as used.
        scaling: numbers that relate counts to the network's input and output, such as ``mean_counts`` of a pattern.
        settings: the audit of the training's settings, with provenance; anything JSON can hold.
        producer: names and versions of the programs that wrote it.
        history: one row for each epoch; what was not finite is None once it was stored.
        untrained: what the network is worth next to the untrained pass, as ``specs/model-file.md`` says; empty where that was
            not measured.
        training: the state of the training, in a checkpoint that was loaded with ``training=True``; else None.
    """

    network: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.float32]]
    physics: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Value]
    scaling: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[Mapping[str, Value]] = ()
    untrained: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingState | None = None

    @property
    def size(self) -> int:
        """Number of pixels across a pattern, N."""
        return int(self.facts["size"])  # type: ignore[arg-type]

    @property
    def gridsize(self) -> int:
        """Side of a group of frames: the network sees its square at once."""
        return int(self.facts["gridsize"])  # type: ignore[arg-type]


def save_model(path: str | Path, model: Model) -> Path:
    """Write a model file, or a checkpoint if there is a training state, whole or not at all; a file of that name is replaced.

    The same content gives the same bytes.

    Raises:
        DataError: the tensors are not those that network and facts ask for, a value is not finite, or JSON cannot hold one.
        OutputError: the file cannot be written; one of that name is then as it was.
    """
    from ptycho_core.files.whole import replace_file
    from ptycho_core.modelfile.archive import MANIFEST, OPTIMIZER, STATE, WEIGHTS, write_archive
    from ptycho_core.modelfile.manifest import FORMAT, VERSION, as_table, check_contents, check_layouts
    from ptycho_core.modelfile.tensors import encode, layouts
    from ptycho_core.modelfile.text import plain, to_json

    path = Path(path)
    where = f"The model for {path}"
    tensors = {f"network.{name}": array for name, array in model.weights.items()}
    tensors |= {f"physics.{name}": array for name, array in model.physics.items()}
    table = layouts(tensors, where)
    manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION, "tensors": as_table(table)}
    for name in ("network", "facts", "scaling", "settings", "producer", "untrained"):
        manifest[name] = plain(getattr(model, name), f"{where}: {name}")
    manifest["history"] = plain(list(model.history), f"{where}: history", nulls=True)
    check_contents(manifest, where)
    check_layouts(table, manifest["network"], manifest["facts"], where)
    members = {WEIGHTS: encode(tensors, where)}
    if model.training is not None:
        arrays, inside = model.training.arrays, f"{where}: training"
        state = {"arrays": as_table(layouts(arrays, inside)), "state": plain(model.training.state, f"{inside} state")}
        members |= {STATE: to_json(state), OPTIMIZER: encode(arrays, inside)}
    manifest["hashes"] = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    members = {MANIFEST: to_json(manifest)} | members
    replace_file(path, lambda temporary: write_archive(temporary, members))
    return path


def load_model(path: str | Path, *, training: bool | None = False) -> Model:
    """Read a model file, or the best one of a training run's folder; strictly.

    Args:
        path: the file or the folder.
        training: whether the training state is wanted, None if there is one; without, the ``training/`` members are not read.

    Raises:
        DataError: there is no such file, or anything in it is not as ``specs/model-file.md`` says: the message names the file,
            the member or tensor, and both sides of what does not fit.
    """
    return load_with_manifest(path, training=training)[1]


def load_with_manifest(path: str | Path, *, training: bool | None) -> tuple[dict[str, Any], Model]:
    """The manifest and the model, both out of one opening of the file; ``training=None`` reads a training state if there is one.

    Raises:
        DataError: as `load_model`.
    """
    from ptycho_core.modelfile.archive import STATE, WEIGHTS, Archive
    from ptycho_core.modelfile.manifest import manifest_layouts
    from ptycho_core.modelfile.tensors import decode

    path = model_file(path)
    with Archive(path) as archive:
        manifest = _manifest(archive)
        if training and STATE not in archive.members:
            message = f"{path} holds a model but no training state, so that training cannot continue from it."
            raise DataError(message, remedy=f"Give a checkpoint, such as {LAST} of a run's folder.")
        table = manifest_layouts(manifest["tensors"], str(path))
        tensors = decode(archive.read(WEIGHTS, manifest["hashes"][WEIGHTS]), table, f"{path}: {WEIGHTS}")
        wanted = STATE in archive.members if training is None else training
        state = _training(archive, manifest["hashes"]) if wanted else None
    model = Model(
        network=manifest["network"],
        weights=_part(tensors, "network."),
        physics=_part(tensors, "physics."),
        facts=manifest["facts"],
        scaling=manifest["scaling"],
        settings=manifest["settings"],
        producer=manifest["producer"],
        history=tuple(manifest["history"]),
        untrained=manifest["untrained"],
        training=state,
    )
    return manifest, model


def read_model_manifest(path: str | Path) -> dict[str, Any]:
    """The checked manifest of a model file, or of the best one of a run's folder; the weights are not read.

    Returns:
        The fields of ``specs/model-file.md``: ``facts``, ``network``, ``settings``, ``scaling``, ``tensors`` and so on.

    Raises:
        DataError: as `load_model`, for all that can be determined without reading a tensor.
    """
    from ptycho_core.modelfile.archive import Archive

    with Archive(model_file(path)) as archive:
        return _manifest(archive)


def model_file(path: str | Path) -> Path:
    """The model file that a path stands for: itself, or in the folder of a training run ``best.ptycho``.

    A run without checkpoints leaves ``last.ptycho`` alone, which is then the model; one with a training state is not.

    Raises:
        DataError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        best, last = path / BEST, path / LAST
        if not best.is_file():
            if last.is_file() and not _is_checkpoint(last):
                return last
            other = "Give a model file or the folder of a training run."
            remedy = f"There is {last}; give that file itself." if last.is_file() else other
            raise DataError(f"The folder {path} has no {BEST}.", remedy=remedy)
        return best
    if not path.is_file():
        raise DataError(f"There is no file {path}." if not path.exists() else f"{path} is no plain file.")
    return path


def _is_checkpoint(path: Path) -> bool:
    from ptycho_core.modelfile.archive import STATE, Archive

    with Archive(path) as archive:
        return STATE in archive.members


def _manifest(archive: Archive) -> dict[str, Any]:
    """The manifest, after everything that can be checked without reading a tensor.

    The version goes first: a newer file may differ in anything else, and must be distinguished from a damaged one.
    """
    from ptycho_core.modelfile.archive import MANIFEST, WEIGHTS
    from ptycho_core.modelfile.manifest import (
        check_contents,
        check_fields,
        check_hashes,
        check_layouts,
        check_version,
        manifest_layouts,
    )
    from ptycho_core.modelfile.text import parse_json

    where = f"{archive.path}: {MANIFEST}"
    data = archive.read(MANIFEST)
    manifest = parse_json(data, where)
    check_version(manifest, where)
    archive.check_seal(data)
    archive.check_members()
    check_fields(manifest, where)
    check_contents(manifest, where)
    check_hashes(manifest["hashes"], [name for name in archive.members if name != MANIFEST], where)
    table = manifest_layouts(manifest["tensors"], where)
    check_layouts(table, manifest["network"], manifest["facts"], where)
    archive.check_room(WEIGHTS, sum(layout.size for layout in table.values()))
    return manifest


def _training(archive: Archive, hashes: Mapping[str, str]) -> TrainingState:
    from ptycho_core.modelfile.archive import OPTIMIZER, STATE
    from ptycho_core.modelfile.manifest import manifest_layouts
    from ptycho_core.modelfile.tensors import decode
    from ptycho_core.modelfile.text import parse_json

    where = f"{archive.path}: {STATE}"
    found = parse_json(archive.read(STATE, hashes[STATE]), where)
    for name in ("arrays", "state"):
        if not isinstance(found.get(name), dict):
            raise DataError(f"{where} lacks the object '{name}'; it has {', '.join(sorted(found)) or 'nothing'}.")
    table = manifest_layouts(found["arrays"], where)
    archive.check_room(OPTIMIZER, sum(layout.size for layout in table.values()))
    arrays = decode(archive.read(OPTIMIZER, hashes[OPTIMIZER]), table, f"{archive.path}: {OPTIMIZER}")
    return TrainingState(arrays, found["state"])


def _part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
