"""Whole trainings through the real call, held against one that is written anew from the specification alone."""

import pytest
from replayed import BASE, Held, Network, write_scans
from toy import SPEC, Lesson, Toy

from ptycho_core import backends

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp("scans"))


@pytest.fixture
def toy():
    plugin = Toy()
    backends.register("toy", plugin, SPEC)
    yield plugin
    backends.unregister("toy")


# ---- a loss of three numbers, in every setting of a training

WAVERING = {"optimizer": "sgd", "learning_rate": 1.6, "momentum": 0.3}
"""Steps too wide, so that losses rise and fall."""

LOSS = WAVERING | {"checkpoint_monitor": "loss"}
"""Of which the first is the lowest for long."""

ONCE = [{}]
SGD = {"optimizer": "sgd", "learning_rate": 0.3}

CASES = {
    "adam": ({"epochs": 4, "gridsize": 2, "accumulate_grad_batches": 3}, ONCE),
    "last step shorter": (SGD | {"epochs": 3, "batch_size": 4, "accumulate_grad_batches": 3}, ONCE),
    "adamw": (
        {
            "epochs": 4, "optimizer": "adamw", "weight_decay": 0.3, "learning_rate": 0.05, "adam_beta1": 0.5, "adam_beta2": 0.7,
            "adam_epsilon": 1e-3,
        },
        [{"stop_in": 2}, {}],
    ),
    "clipped norm": (SGD | {"epochs": 3, "gradient_clip_val": 0.3}, ONCE),
    "clipped values": (SGD | {"epochs": 3, "gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, ONCE),
    "exponential": (
        {"epochs": 4, "scheduler": "exponential", "decay": 0.5, "min_learning_rate": 1e-3, "accumulate_grad_batches": 2},
        [{"stop_in": 2}, {"epochs": 6}],
    ),
    "cosine after a longer warm-up": (
        {"epochs": 5, "warmup_epochs": 2.5, "learning_rate": 0.1, "min_learning_rate": 0.03},
        [{"stop_in": 3}, {"epochs": 7}],
    ),
    "no warm-up": ({"epochs": 3, "warmup_epochs": 0.0}, ONCE),
    "a warm-up beyond the end": ({"epochs": 2, "warmup_epochs": 4.0}, ONCE),
    "constant": ({"epochs": 2, "scheduler": "constant"}, ONCE),
    "plateau": (
        WAVERING | {"epochs": 9, "scheduler": "plateau", "plateau_patience": 2, "plateau_factor": 0.6, "min_learning_rate": 0.5},
        [{"stop_in": 3}, {"stop_in": 6}, {}],
    ),
    "plateau of the greatest misfit": (
        WAVERING | {"epochs": 6, "scheduler": "plateau", "plateau_patience": 1}
        | {"checkpoint_monitor": "misfit", "checkpoint_mode": "max"},
        [{"stop_in": 3}, {}],
    ),
    "early stop": (WAVERING | {"epochs": 30, "early_stop_patience": 3, "validation_split": 0.3}, [{"stop_in": 2}, {}]),
    "early stop without checkpoints": (
        WAVERING | {"epochs": 30, "early_stop_patience": 4, "enable_checkpointing": False, "checkpoint_monitor": "loss"},
        ONCE,
    ),
    "all alike": (
        {"epochs": 9, "scheduler": "constant", "learning_rate": 1e-25, "early_stop_patience": 3, "checkpoint_save_top_k": 2},
        [{"stop_in": 2}, {}],
    ),
    "three best": (
        WAVERING | {"epochs": 9, "checkpoint_save_top_k": 3},
        [{"stop_in": 3}, {"checkpoint_monitor": "misfit", "stop_in": 6}, {"checkpoint_mode": "max"}],
    ),
    "an early stop that is asked for later": (LOSS | {"epochs": 9}, [{"stop_in": 5}, {"early_stop_patience": 3}]),
    "more models that are asked for later": ({"epochs": 4}, [{"stop_in": 2}, {"checkpoint_save_top_k": 2}]),
    "no files any more": ({"epochs": 3}, [{"stop_in": 2}, {"enable_checkpointing": False}]),
    "no files any more, and none better": (LOSS | {"epochs": 3}, [{"stop_in": 2}, {"enable_checkpointing": False}]),
    "another best by what is asked for later": (LOSS | {"epochs": 3}, [{}, {"checkpoint_mode": "max"}]),
    "all epochs": ({"epochs": 3, "checkpoint_save_top_k": -1}, ONCE),
    "split and subsample": ({"epochs": 3, "validation_split": 0.25, "n_subsample": 9, "batch_size": 3}, [{"stop_in": 1}, {}]),
    "the first frames": ({"epochs": 2, "n_subsample": 9, "sequential_sampling": True, "merge": "none"}, ONCE),
    "a subsample of another seed": ({"epochs": 2, "n_subsample": 9, "subsample_seed": 5, "seed": 3}, ONCE),
    "groups of nine, drawn": (
        {"epochs": 3, "gridsize": 3, "neighbor_count": 10, "oversampling": 2, "merge": "group"},
        [{"stop_in": 1}, {}],
    ),
    "a number of groups": ({"epochs": 3, "gridsize": 2, "n_groups": 25, "batch_size": 4}, [{"stop_in": 2}, {}]),
    "fewer groups than frames": ({"epochs": 3, "n_groups": 7}, ONCE),
    "nearest groups": ({"epochs": 2, "gridsize": 2, "neighbor_count": 4, "batch_size": 3}, ONCE),
    "flat patches": ({"epochs": 5, "flatness": 1e-4}, [{"stop_in": 4}, {}]),
    "patches flat for once": (SGD | {"epochs": 6, "learning_rate": 1.2, "flatness": 4.4e-4, "validation_split": 0.2}, ONCE),
    "nothing learned": (WAVERING | {"epochs": 11, "trivial": 0.4}, [{"stop_in": 9}, {}]),
    "hardly better than a flat object": (WAVERING | {"epochs": 9, "trivial": 0.607}, ONCE),
    "better than a flat object": (WAVERING | {"epochs": 9, "trivial": 0.62}, ONCE),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_rate_mean_step_and_file_is_as_specified(case, scans, toy, tmp_path):
    settings, calls = CASES[case]
    asked = {name: value for name, value in settings.items() if name not in ("flatness", "trivial")}

    def lesson(paths, groups):
        toy.lesson = Lesson(len(paths), **{name: settings[name] for name in settings.keys() - asked.keys()})
        return toy.lesson

    held = Held(tmp_path / "run", scans, {"backend": "toy"} | BASE | asked, lesson)
    for call in calls:
        held.go(**call)
    held.check()
    if case in SHOWN:
        assert SHOWN[case](held.replay), "the case does not show what it is for"


SHOWN = {
    "clipped norm": lambda replay: replay.optimizer.bounded > 1,
    "clipped values": lambda replay: replay.optimizer.bounded > 1,
    "exponential": lambda replay: replay.history[-1]["learning_rate"] == 1e-3 < replay.history[-3]["learning_rate"],
    "plateau": lambda replay: replay.history[0]["learning_rate"] > replay.history[-1]["learning_rate"] > 0.5,
    "plateau of the greatest misfit": lambda replay: len({row["learning_rate"] for row in replay.history}) > 2,
    "early stop": lambda replay: 4 < len(replay.history) < 30,
    "early stop without checkpoints": lambda replay: 3 < len(replay.history) < 30,
    "an early stop that is asked for later": lambda replay: len(replay.history) == 5,
    "another best by what is asked for later": lambda replay: replay.files["best.ptycho"] == 3,
    "no files any more": lambda replay: replay.files["best.ptycho"] == 3,
    "no files any more, and none better": lambda replay: replay.files["best.ptycho"] == 1,
    "all alike": lambda replay: (
        len(replay.history) == 4 and {"best.ptycho": 1, "checkpoints/epoch-0002.ptycho": 2}.items() <= replay.files.items()
    ),
    "three best": lambda replay: len(replay.files) == 5,
    "flat patches": lambda replay: ("collapse", 3) in replay.told,
    "patches flat for once": lambda replay: 0 < sum(row["output_deviation"] < 1e-3 for row in replay.history) < 3,
    "nothing learned": lambda replay: any(one[0] == "collapse" for one in replay.told),
    "hardly better than a flat object": lambda replay: ("collapse", 6) in replay.told,
    "better than a flat object": lambda replay: not any(one[0] == "collapse" for one in replay.told),
}
"""What the numbers of a case must bring about, or it would prove less than its name says."""


NETWORKS = {
    "all learns": (
        {
            "epochs": 2, "gridsize": 2, "train_probe": True, "train_scale": True, "accumulate_grad_batches": 2,
            "gradient_clip_val": 2.0,
        },
        [{"stop_in": 1}, {"checkpoint_monitor": "loss"}],
    ),
    "every term, sgd": (
        {
            "epochs": 2, "optimizer": "sgd", "learning_rate": 1e-3, "nll_weight": 0.2, "mae_weight": 0.5, "tv_weight": 2.0,
            "realspace_weight": 3.0, "validation_split": 0.3, "train_scale": True,
        },
        ONCE,
    ),
    "supervised": ({"epochs": 2, "model_type": "supervised", "optimizer": "adamw", "weight_decay": 0.1}, [{"stop_in": 1}, {}]),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_learns_as_specified(case, scans, tmp_path):
    settings, calls = NETWORKS[case]
    small = {"backend": "reference", "update_steps": 1, "n_subsample": 5, "batch_size": 3}
    held = Held(tmp_path / "run", scans, BASE | small | settings, Network)
    for call in calls:
        held.go(**call)
    held.check()
    held.check_exactly()
