"""What is refused because of another setting; the same values at rest, as defaults or facts, are fine."""

import re
from pathlib import Path

import pytest

from ptycho_core.errors import SettingsError
from ptycho_core.settings.components import loss_weights
from ptycho_core.settings.resolution import Facts, resolve
from ptycho_core.settings.rules import check_together

SPEC = (Path(__file__).parents[2] / "specs" / "options.md").read_text("utf-8")

REFUSED = {
    "amplitude_activation": ({"amplitude_activation": "sigmoid"}, {"output_form": "amplitude-phase"}, "output_form"),
    "network_depth": ({"network_depth": 3}, {"network": "deep"}, "network"),
    "weight_decay": ({"weight_decay": 0.1}, {"optimizer": "adamw"}, "optimizer"),
    "adam_beta1": ({"adam_beta1": 0.5, "optimizer": "sgd"}, {"optimizer": "adamw"}, "optimizer"),
    "adam_beta2": ({"adam_beta2": 0.5, "optimizer": "sgd"}, {"optimizer": "adam"}, "optimizer"),
    "adam_epsilon": ({"adam_epsilon": 1e-4, "optimizer": "sgd"}, {"optimizer": "adam"}, "optimizer"),
    "momentum": ({"momentum": 0.5}, {"optimizer": "sgd"}, "optimizer"),
    "warmup_epochs": ({"warmup_epochs": 2.0, "scheduler": "plateau"}, {"scheduler": "warmup-cosine"}, "scheduler"),
    "decay": ({"decay": 0.9}, {"scheduler": "exponential"}, "scheduler"),
    "plateau_factor": ({"plateau_factor": 0.1}, {"scheduler": "plateau"}, "scheduler"),
    "plateau_patience": ({"plateau_patience": 2}, {"scheduler": "plateau"}, "scheduler"),
    "min_learning_rate": ({"min_learning_rate": 1e-5, "scheduler": "constant"}, {"scheduler": "plateau"}, "scheduler"),
    "probe_mask_edge": ({"probe_mask_edge": 1.0}, {"probe_mask_diameter": 20.0}, "probe_mask_diameter"),
    "gradient_clip_algorithm": ({"gradient_clip_algorithm": "value"}, {"gradient_clip_val": 1.0}, "gradient_clip_val"),
    "subsample_seed": ({"subsample_seed": 3}, {"n_subsample": 10}, "n_subsample"),
    "sequential_sampling": ({"sequential_sampling": True}, {"n_subsample": 10}, "n_subsample"),
    "n_subsample": (
        {"subsample_seed": 3, "n_subsample": 9, "sequential_sampling": True}, {"sequential_sampling": False},
        "sequential_sampling",
    ),
    "n_groups": ({"n_groups": 9, "oversampling": 2, "gridsize": 2}, {"oversampling": 1}, "oversampling"),
    "prefetch": ({"prefetch": 3}, {"num_workers": 2}, "num_workers"),
    "labels": ({"labels": "true.npz"}, {"model_type": "supervised"}, "realspace_weight"),
    "estimate": ({"estimate": "group", "network": "canvas"}, {"estimate": "tile"}, "network canvas"),
    "merge": ({"merge": "none", "network": "canvas"}, {"merge": "batch"}, "network canvas"),
    "train_probe": ({"train_probe": True, "model_type": "supervised"}, {"amplitude_weight": 1.0}, "amplitude_weight"),
    "train_scale": ({"train_scale": True, "model_type": "supervised"}, {"nll_weight": 1.0}, "nll_weight"),
    "learning_rate": ({"learning_rate": 1e-3, "min_learning_rate": 0.1}, {"min_learning_rate": 1e-4}, "learning_rate"),
    "neighbor_count": ({"neighbor_count": 3, "gridsize": 2}, {"neighbor_count": 4}, "gridsize"),
    "gridsize": ({"gridsize": 1, "neighbor_count": 5}, {"gridsize": 2}, "neighbor_count"),
    "oversampling": ({"oversampling": 2, "gridsize": 2, "neighbor_count": 4}, {"neighbor_count": 6}, "neighbor_count"),
    "nll_weight": ({"amplitude_weight": 0.0, "tv_weight": 1.0}, {"mae_weight": 0.5}, "nll_weight"),
    "log_every": ({"log_every": 5, "logger": "none"}, {"logger": "csv"}, "logger"),
    "checkpoint_save_top_k": (
        {"checkpoint_save_top_k": 3, "enable_checkpointing": False}, {"checkpoint_save_top_k": 0}, "enable_checkpointing",
    ),
    "checkpoint_monitor": (
        {"checkpoint_monitor": "misfit", "checkpoint_save_top_k": 0}, {"early_stop_patience": 3}, "checkpoint_save_top_k",
    ),
    "checkpoint_mode": ({"checkpoint_mode": "max", "enable_checkpointing": False}, {"scheduler": "plateau"}, "scheduler"),
    "realspace_weight": (
        {"realspace_weight": 0.0, "model_type": "supervised", "nll_weight": 1.0}, {"realspace_weight": 0.1}, "supervised",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_act_or_contradicts_is_refused_with_both_names_and_its_remedy_accepted(name):
    wrong, remedy, other = REFUSED[name]
    with pytest.raises(SettingsError) as caught:
        check_together(resolve("train", overrides=wrong))
    assert other in str(caught.value)
    assert caught.value.source.startswith("override '")
    check_together(resolve("train", overrides=wrong | remedy))


@pytest.mark.parametrize("name", REFUSED)
def test_the_specification_lists_the_rule(name):
    listed = SPEC.partition("## 4.")[2].partition("## 5.")[0]
    assert f"`{name}`" in listed


def test_the_defaults_of_each_verb_go_together():
    for verb in ("train", "infer", "reconstruct", "evaluate"):
        check_together(resolve(verb))


def test_what_a_checkpoint_states_is_not_asked_for():
    stated = {"momentum": (0.5, "last.ptycho"), "optimizer": ("adam", "last.ptycho")}
    check_together(resolve("train", facts=Facts(model=stated)))
    with pytest.raises(SettingsError, match=r"momentum acts only with optimizer sgd, and optimizer is adam \(model\)"):
        check_together(resolve("train", overrides={"momentum": 0.5}, facts=Facts(model=stated)))


@pytest.mark.parametrize(
    ("environment", "blamed"),
    [({"PTYCHO_DECAY": "0.5"}, "PTYCHO_DECAY"), ({"PTYCHO_NEIGHBOR_COUNT": "9"}, "PTYCHO_NEIGHBOR_COUNT")],
)
def test_the_place_of_the_offending_value_is_named(environment, blamed):
    with pytest.raises(SettingsError, match=f"^{blamed}: ") as caught:
        check_together(resolve("train", environment=environment))
    assert caught.value.source == blamed


def test_the_weights_of_the_losses_depend_on_what_is_learned_from():
    def weights(**overrides):
        groups = resolve("train", overrides=overrides).groups()
        return loss_weights(groups["training"], groups["model"]["model_type"])

    none = dict.fromkeys(("nll", "amplitude", "mae", "tv", "realspace"), 0.0)
    assert weights() == none | {"amplitude": 1.0}
    assert weights(model_type="supervised") == none | {"realspace": 1.0}
    assert weights(model_type="supervised", amplitude_weight=0.5, tv_weight=2) == none | {
        "realspace": 1,
        "amplitude": 0.5,
        "tv": 2,
    }
    assert weights(realspace_weight=0.25) == none | {"amplitude": 1.0, "realspace": 0.25}


def test_the_specification_names_what_may_differ_when_a_training_goes_on():
    from ptycho_core.settings import facts

    text = re.sub(r"\s+", " ", SPEC)
    assert "sealed but `epochs` and, `seed` aside, those of *execution*" in text
    from ptycho_core.settings.groups import declarations

    free = {name for name, one in declarations("train").items() if one.group == "execution"} - {"seed"}
    assert facts.changeable() == free | {"epochs"}
