"""What files state about settings: scalars of a scan, the manifest of a model. Neither patterns nor weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.resolution import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ptycho_core.contract import Value
    from ptycho_core.formats.opening import ScanFile

__all__ = [
    "changeable",
    "data_keys",
    "fine_tuning_facts",
    "inference_facts",
    "inherited",
    "is_model",
    "resumption_facts",
    "scan_facts",
]


_NEEDED = ("neighbor_count", "probe_mask_diameter", "probe_mask_edge", "probe_smoothing")


def changeable() -> frozenset[str]:
    """What may differ when a training continues: how long and how it is run. The seed decides what is computed."""
    return frozenset({name for name, one in declarations("train").items() if one.group == "execution"} - {"seed"} | {"epochs"})


def inherited(name: str) -> bool:
    """Whether a resumed training takes a setting from its checkpoint; what is shown and drawn it does not."""
    return name not in ("figures", "progress")


def data_keys() -> dict[str, tuple[str, ...]]:
    """Under which keys an npz file states a setting; N it states by the shape of its patterns."""
    from ptycho_core.formats.npz_scan import STATED_KEYS

    return dict(STATED_KEYS)


def scan_facts(scan: ScanFile, data: Mapping[str, Value] | None = None) -> dict[str, tuple[Value, str]]:
    """N, and photons, energy, distance and pixel sizes where a scan states them, each with its place; no pattern is read.

    A value that is not positive is left to the reader of the scan, which refuses it unless a setting overrules it.

    Args:
        scan: the file.
        data: the *data* settings as far as they are known, by name: format, positions and others say how the file is read.

    Raises:
        DataError: the file does not exist or is damaged.
    """
    from ptycho_core.formats.opening import stated
    from ptycho_core.settings.data import data_settings

    return dict(stated(scan, data_settings(data or {})))


def inference_facts(scan: ScanFile | None, model: str | Path | None, data: Mapping[str, Value] | None = None) -> Facts:
    """What a scan and a model state for inference: every setting of the model, sealed, and a batch size.

    Without a model those settings are sealed that say what a network is. ``data`` is as `scan_facts` takes it.

    Raises:
        DataError: a file does not exist or cannot be used.
    """
    from ptycho_core.modelfile.trained import check_scaling, trained_scans

    stated: dict[str, tuple[Value, str]] = {}
    sealed: frozenset[str] = frozenset()
    if model is None:
        stated, sealed = _without_model()
    else:
        place, manifest = _manifest(model)
        # What the program that wrote the file did not know yet was as it is without being asked for.
        model_settings = [one for one in declarations("infer").values() if one.group == "model"]
        stated = {one.name: (one.default, f"{place}: {one.name}, which it does not state") for one in model_settings}
        stated |= {name: (value, f"{place}: {name}") for name, value in manifest["facts"].items()}
        sealed = frozenset(stated)
        _check_stated(place, manifest["facts"])
        check_scaling(manifest["scaling"], str(place))
        trained_scans(manifest["settings"], str(place))
        trained = _resolved(manifest, str(place))
        for name in ("inference_batch_size", "batch_size"):
            if trained.get(name) is not None:
                stated.setdefault("inference_batch_size", (trained[name], f"{place}: {name} of its training"))
    return Facts({} if scan is None else scan_facts(scan, data), _checked(stated, "infer"), sealed)


def _without_model() -> tuple[dict[str, tuple[Value, str]], frozenset[str]]:
    """The settings that say what a network is, at their defaults, and their names."""
    from ptycho_core.settings.model import WITHOUT_MODEL

    where = "an inference without --model"
    known = [one for one in declarations("infer").values() if one.group == "model" and one.name not in WITHOUT_MODEL]
    stated: dict[str, tuple[Value, str]] = {one.name: (one.default, where) for one in known}
    return stated | {"estimate": ("tile", where)}, frozenset(stated)


def fine_tuning_facts(model: str | Path) -> Facts:
    """What a model states for a training that begins with its weights: its *model* settings, sealed if they make the network.

    Raises:
        DataError: the file does not exist or cannot be used.
    """
    from ptycho_core.settings.model import OF_TRAINING

    place, manifest = _manifest(model)
    known = [name for name, one in declarations("train").items() if one.group == "model"]
    stated = {name: (value, f"{place}: {name}") for name, value in manifest["facts"].items() if name in known}
    return Facts({}, _checked(stated, "train"), frozenset(stated) - OF_TRAINING)


def resumption_facts(checkpoint: str | Path) -> Facts:
    """What a checkpoint states for a training that continues from it: all its settings, sealed but for how it runs and how long.

    Raises:
        DataError: the file does not exist, cannot be used, or is no checkpoint.
    """
    from ptycho_core.modelfile.archive import STATE
    from ptycho_core.modelfile.trained import check_history, check_scaling, trained_scans

    place, manifest = _manifest(checkpoint)
    check_history(manifest["history"], str(place))
    check_scaling(manifest["scaling"], str(place))
    trained_scans(manifest["settings"], str(place), all_of_them=True)
    trained = {name: value for name, value in _resolved(manifest, str(place)).items() if inherited(name)}
    off = trained.get("enable_checkpointing") is False or trained.get("checkpoint_save_top_k") == 0
    if off and STATE not in manifest["hashes"]:
        raise DataError(
            f"{place} is the result of a training without checkpoints: it holds no state that a training could continue from.",
            remedy="Train anew with checkpoints (--enable-checkpointing, --checkpoint-save-top-k 1).",
        )
    _check_losses(place, trained)
    stated = {name: (value, f"{place}: {name}") for name, value in trained.items()}
    sealed = frozenset(name for name in stated if "." not in name) - changeable()
    return Facts({}, _checked(stated, "train"), sealed)


def _check_losses(place: Path, trained: Mapping[str, Value]) -> None:
    """A term of the loss that is not there any more must not be dropped from a training that continues."""
    from ptycho_core.settings.components import why_left_out

    for name, value in trained.items():
        if name.endswith("_weight") and value and "." not in name and name not in declarations("train"):
            loss = name.removesuffix("_weight")
            why = why_left_out(name) or f"No loss '{loss}' is installed."
            message = f"{place} was trained with {name} {value}, and the training cannot continue without that loss."
            raise DataError(message, remedy=f"{why} Install what brings it.")


def is_model(path: Path) -> bool:
    """Whether a path is meant as a model: a file ``*.ptycho``, or the folder of a training run."""
    from ptycho_core.formats.opening import MODEL_SUFFIX
    from ptycho_core.training.checkpoints import BEST, LAST

    return path.suffix == MODEL_SUFFIX or any((path / name).is_file() for name in (BEST, LAST))


def _resolved(manifest: Mapping[str, Any], where: str) -> dict[str, Value]:
    """The values that a model was trained with; of the backend the one that was taken."""
    from ptycho_core.modelfile.trained import trained_settings

    table = trained_settings(manifest["settings"], where)
    return {name: entry["effective" if name == "backend" else "value"] for name, entry in table.items()}


def _checked(stated: Mapping[str, tuple[Value, str]], verb: str) -> dict[str, tuple[Value, str]]:
    """What a file states, each value as its declaration wants it; what is not declared is passed over later.

    Raises:
        DataError: a value is of a wrong type or range.
    """
    known = declarations(verb)
    try:
        return {
            name: (known[name].of_model.check(value, where) if name in known else value, where)
            for name, (value, where) in stated.items()
        }
    except SettingsError as error:
        raise DataError(error.message, remedy="The file is damaged, or of another program.") from error


def _check_stated(place: Path, facts: Mapping[str, Value]) -> None:
    """Refuse a model whose facts lack what an inference needs of them."""
    if lacking := next((name for name in _NEEDED if name not in facts), None):
        raise DataError(f"{place}: the facts lack '{lacking}', which an inference needs.", remedy="Train the model anew.")


def _manifest(model: str | Path) -> tuple[Path, Mapping[str, Any]]:
    from ptycho_core.model import model_file, read_model_manifest

    place = model_file(model)
    return place, read_model_manifest(place)
