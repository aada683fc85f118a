"""The rules between settings: what contradicts something else, or could not act with it, is refused when it is asked for."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

from ptycho_core.errors import SettingsError
from ptycho_core.networks.u_net import Canvas
from ptycho_core.settings.components import logger, loss_weights, losses, networks
from ptycho_core.settings.data import RECONSTRUCT
from ptycho_core.settings.numbers import estimate_of
from ptycho_core.settings.resolution import REQUESTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.settings.resolution import Resolved, Sourced

__all__ = ["acts_only", "check_together"]

_METRES = ("photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")

_ACTS_WITH = {
    "amplitude_activation": ("output_form", ("amplitude-phase",)),
    "network_depth": ("network", ("deep",)),
    "network_width": ("network", ("compact", "deep", "canvas")),
    "weight_decay": ("optimizer", ("adamw",)),
    "adam_beta1": ("optimizer", ("adam", "adamw")),
    "adam_beta2": ("optimizer", ("adam", "adamw")),
    "adam_epsilon": ("optimizer", ("adam", "adamw")),
    "momentum": ("optimizer", ("sgd",)),
    "warmup_epochs": ("scheduler", ("warmup-cosine",)),
    "decay": ("scheduler", ("exponential",)),
    "plateau_factor": ("scheduler", ("plateau",)),
    "plateau_patience": ("scheduler", ("plateau",)),
    "min_learning_rate": ("scheduler", ("exponential", "warmup-cosine", "plateau")),
    "position_error": ("refine_positions", ("search",)),
    "position_radius": ("refine_positions", ("search",)),
}
"""Settings that act only while another one has one of these values."""

_ACTS_UNLESS = {"log_every": ("logger", "none")}
"""Settings that do not act while another one has this value."""

_ACTS_BESIDE = {
    "probe_mask_edge": "probe_mask_diameter",
    "gradient_clip_algorithm": "gradient_clip_val",
    "subsample_seed": "n_subsample",
}
"""Settings that act only where another one is given."""


def acts_only(name: str) -> str:
    """When a setting acts, in words; empty for one that always does."""
    if name in _ACTS_WITH:
        other, words = _ACTS_WITH[name]
        return f"only with {other} {' or '.join(words)}"
    if name in _ACTS_UNLESS:
        return "not with {} {}".format(*_ACTS_UNLESS[name])
    return f"only together with {_ACTS_BESIDE[name]}" if name in _ACTS_BESIDE else ""


def check_together(resolved: Resolved) -> None:
    """Hold the settings of a verb against each other. ``specs/options.md`` lists the rules.

    Raises:
        SettingsError: one was asked for that cannot act, or two contradict each other; the message names both.
    """
    values = resolved.values
    if resolved.verb != "train":  # each scan of a training may state some of them
        _check_metres(values)
    for name, (other, words) in _ACTS_WITH.items():
        if _asked(values, name) and values[name].value is not None and values[other].value not in words:
            now = f"{other} is {values[other].value} ({values[other].origin})"
            _refuse(values, name, f"{name} acts only with {other} {' or '.join(words)}, and {now}")
    for name, (other, word) in _ACTS_UNLESS.items():
        if _asked(values, name) and values[other].value == word:
            _refuse(values, name, f"{name} does not act with {other} {word} ({values[other].origin})")
    for name, other in _ACTS_BESIDE.items():
        if _asked(values, name) and values[other].value is None:
            _refuse(values, name, f"{name} acts only together with {other}, which is not given")
    if _asked(values, "prefetch") and values["prefetch"].value is not None and not values["num_workers"].value:
        _refuse(values, "prefetch", f"prefetch acts only with workers, and num_workers is {_show(values, 'num_workers')}")
    _check_settings_of_losses(values)
    _check_settings_of_networks(values)
    _check_logger(values)
    if "learning_rate" in values:
        _check_groups(values)
        _check_estimate(values)
        _check_subsample(values)
        _check_monitor(values)
        _check_losses(values)
        if _number(values, "min_learning_rate") > _number(values, "learning_rate"):
            message = (
                f"min_learning_rate {_show(values, 'min_learning_rate')} is above learning_rate {_show(values, 'learning_rate')}"
            )
            _refuse(values, "min_learning_rate" if _asked(values, "min_learning_rate") else "learning_rate", message)


def _check_metres(values: Mapping[str, Sourced]) -> None:
    """Photon energy, detector distance and pixel size make a scale only together."""
    asked = [name for name in _METRES if _asked(values, name) and values[name].value is not None]
    missing = [name for name in _METRES if name in values and values[name].value is None]
    if asked and missing:
        _refuse(values, asked[0], f"{asked[0]} gives a scale in metres only where {' and '.join(missing)} is known too")


def _check_groups(values: Mapping[str, Sourced]) -> None:
    """A group is drawn from its neighbours: there must be enough of them, and, for several draws, a choice."""
    frames = int(_number(values, "gridsize")) ** 2
    count = values["neighbor_count"].value
    blamed = next((name for name in ("neighbor_count", "oversampling", "gridsize") if _asked(values, name)), "gridsize")
    group = f"a group of gridsize {_show(values, 'gridsize')} is {frames} frame{'s' * (frames > 1)}"
    if count is not None and int(count) < frames:
        _refuse(values, blamed, f"{group}, and neighbor_count {count} offers fewer")
    if count is not None and frames == 1 and int(count) > 1:
        _refuse(values, blamed, f"{group}, so that neighbor_count {count} leaves nothing to draw")
    if _number(values, "oversampling") > 1 and (frames == 1 or (count is not None and int(count) == frames)):
        again = f"oversampling {_show(values, 'oversampling')} would draw the same group again"
        needed = f"neighbor_count above {frames}" if frames > 1 else "a gridsize above 1"
        _refuse(values, "oversampling", f"{group}: {again}; it needs {needed}")

    if values["n_groups"].value is not None and _number(values, "oversampling") > 1:
        both = f"n_groups {_show(values, 'n_groups')} and oversampling {_show(values, 'oversampling')}"
        blamed = "n_groups" if _asked(values, "n_groups") else "oversampling"
        _refuse(values, blamed, f"{both} both say how many groups an epoch has; give one of them")


def _check_estimate(values: Mapping[str, Sourced]) -> None:
    """A tile is a batch of neighboring frames, each its own group."""
    asked, network = values["estimate"].value, values["network"].value
    estimate = estimate_of(network) if asked is None else asked
    if network == Canvas.name and estimate != "tile":
        _refuse(values, "estimate", f"network {network} takes estimate tile, and estimate is {_show(values, 'estimate')}")
    for name, needed in (("gridsize", 1), ("merge", "batch")) if estimate == "tile" else ():
        if values[name].value != needed:
            what = "network" if asked is None else "estimate"
            blamed = name if _asked(values, name) else what
            _refuse(values, blamed, f"{what} {values[what].value} takes {name} {needed}, and {name} is {_show(values, name)}")


def _check_subsample(values: Mapping[str, Sourced]) -> None:
    """The first frames are some only of a subsample, and then nothing is drawn."""
    if not values["sequential_sampling"].value:
        return
    if _asked(values, "sequential_sampling") and values["n_subsample"].value is None:
        _refuse(values, "sequential_sampling", "sequential_sampling acts only together with n_subsample, which is not given")
    if _asked(values, "subsample_seed") and values["subsample_seed"].value is not None:
        _refuse(values, "subsample_seed", "subsample_seed draws nothing with sequential_sampling, which takes the first frames")


def _check_monitor(values: Mapping[str, Sourced]) -> None:
    """What is monitored must decide something, and a number of models to keep needs that any is kept."""
    off = next((name for name in ("enable_checkpointing", "checkpoint_save_top_k") if not values[name].value), None)
    top = values["checkpoint_save_top_k"]
    if off == "enable_checkpointing" and top.value and _asked(values, "checkpoint_save_top_k"):
        message = f"checkpoint_save_top_k {top.value} keeps models, and enable_checkpointing is false"
        _refuse(values, "checkpoint_save_top_k", f"{message} ({values[off].origin})")
    if off is None or values["early_stop_patience"].value is not None or values["scheduler"].value == "plateau":
        return
    for name in ("checkpoint_monitor", "checkpoint_mode"):
        if _asked(values, name):
            message = f"{name} decides nothing: {off} is {str(values[off].value).lower()} ({values[off].origin})"
            _refuse(values, name, f"{message}, there is no early_stop_patience, and scheduler is not plateau")


def _check_losses(values: Mapping[str, Sourced]) -> None:
    """Something must hold the network to its data, and what is asked for must act through it."""
    model_type = str(values["model_type"].value)
    weights = loss_weights({name: one.value for name, one in values.items()}, model_type)
    patterns = [*losses()]
    far = [f"{name}_weight" for name in patterns]
    if not any(weights[name] > 0 for name in (*patterns, "realspace")):
        blamed = next(name for name in (*far, "realspace_weight") if values[name].value == 0)
        blamed = next((name for name in (*far, "realspace_weight") if _asked(values, name)), blamed)
        _refuse(values, blamed, f"one of {', '.join(far)} and realspace_weight must be above 0, or no data are learned from")
    if model_type == "supervised" and not weights["realspace"] > 0:
        _refuse(values, "realspace_weight", "realspace_weight 0 leaves nothing supervised in a supervised model")
    if _asked(values, "labels") and values["labels"].value is not None and not weights["realspace"] > 0:
        _refuse(values, "labels", "labels act only with a realspace_weight above 0, or model_type supervised")
    for name in ("train_probe", "train_scale") if values["labels"].value == RECONSTRUCT else ():
        if values[name].value:
            message = f"labels {RECONSTRUCT} are made with the probe as it is, and {name} is {_show(values, name)}"
            _refuse(values, name if _asked(values, name) else "labels", message)
    if not any(weights[name] > 0 for name in patterns):
        for name in ("train_probe", "train_scale"):
            if _asked(values, name) and values[name].value:
                _refuse(values, name, f"{name} acts only through the patterns: with {', '.join(far)} all 0 nothing moves it")


def _check_settings_of_losses(values: Mapping[str, Sourced]) -> None:
    """A setting of a loss acts only where the loss does: as a term with a weight, or as the likelihood."""
    for kind in losses().values():
        own = [f"{kind.name}_{item.name}" for item in fields(kind) if item.name != "weight"]
        asked = next((name for name in own if _asked(values, name)), None)
        if asked is None:
            continue
        if "likelihood" in values and values["likelihood"].value != kind.likelihood:
            now = f"likelihood is {_show(values, 'likelihood')}"
            _refuse(values, asked, f"{asked} acts only with likelihood {kind.likelihood}, and {now}")
        if "learning_rate" in values and not _number(values, f"{kind.name}_weight") > 0:
            _refuse(values, asked, f"{asked} acts only with a {kind.name}_weight above 0")


def _check_settings_of_networks(values: Mapping[str, Sourced]) -> None:
    """A setting of a network acts only where that network is taken, and its layers are made."""
    for kind in networks().values():
        asked = next((name for item in fields(kind) if _asked(values, name := f"{kind.name}_{item.name}")), None)
        if asked is None:
            continue
        if values["network"].value != kind.name:
            _refuse(values, asked, f"{asked} acts only with network {kind.name}, and network is {_show(values, 'network')}")
        if values["network"].by_model and not values[asked].by_model:
            _refuse(values, asked, f"{asked} acts only where layers are made, and those of network {kind.name} are the model's")


def _check_logger(values: Mapping[str, Sourced]) -> None:
    """That the logger can be used: it and no other is imported, and nothing that it requires."""
    one = values.get("logger")
    if one is None or one.value == "none":
        return
    found = logger(str(one.value))
    if found.found is None:
        message = f"logger {found.name} cannot be used: {found.sentence}"
        raise SettingsError(message, remedy="Repair or uninstall it, or use --logger csv.", source=one.where)
    for package, distribution in found.found.requires.items():  # type: ignore[attr-defined]
        there = find_spec(package.partition(".")[0])
        if there is None or there.origin is None:  # a folder of that name in the working directory is no package
            remedy = f"Install it with 'pip install {distribution}', or use --logger csv."
            raise SettingsError(f"logger {found.name}: {distribution} is not installed.", remedy=remedy, source=one.where)


def _asked(values: Mapping[str, Sourced], name: str) -> bool:
    return name in values and values[name].origin in REQUESTING


def _number(values: Mapping[str, Sourced], name: str) -> float:
    return float(values[name].value or 0)


def _show(values: Mapping[str, Sourced], name: str) -> str:
    return f"{values[name].value} ({values[name].origin})"


def _refuse(values: Mapping[str, Sourced], name: str, why: str) -> NoReturn:
    where = values[name].where
    raise SettingsError(f"{where}: {why}." if where != "declaration" else f"{why[0].upper()}{why[1:]}.", source=where)
