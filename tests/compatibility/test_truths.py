"""Every spelling of a truth means what it says, on the command line and in a settings file, for each flag that takes one."""

import pytest

from ptycho_core.compatibility.table import COMMANDS, entries
from ptycho_core.errors import SettingsError

REFUSED = None
NOTHING: dict[str, object] = {}

BOTH = {
    "object_big": ({"merge": "batch"}, {"merge": "none"}),
    "probe_big": (NOTHING, REFUSED),
    "probe_mask": (NOTHING, {"probe_mask_diameter": None}),
    "pad_object": (NOTHING, REFUSED),
    "deterministic": ({"deterministic": "on"}, {"deterministic": "off"}),
    "torch_deterministic": ({"deterministic": "on"}, {"deterministic": "off"}),
    "log_patch_stats": (REFUSED, NOTHING),
    "quiet": ({"progress": False}, NOTHING),
}
MEANT = {
    "train": BOTH
    | {
        "torch_mae_pred_l2_match_target": (REFUSED, NOTHING),
        "enable_oversampling": (NOTHING, NOTHING),
        "sequential_sampling": ({"sequential_sampling": True}, {"sequential_sampling": False}),
        "positions_provided": (NOTHING, REFUSED),
        "probe_trainable": ({"train_probe": True}, {"train_probe": False}),
        "intensity_scale_trainable": ({"train_scale": True}, {"train_scale": False}),
        "do_stitching": (REFUSED, NOTHING),
        "disable_mlflow": ({"logger": "none", "progress": False}, NOTHING),
        "enable_checkpointing": ({"enable_checkpointing": True}, {"enable_checkpointing": False}),
        "torch_enable_checkpointing": ({"enable_checkpointing": True}, {"enable_checkpointing": False}),
        "torch_recon_log_stitch": (REFUSED, NOTHING),
        "verbose": ({"progress": True}, NOTHING),
    },
    "inference": BOTH
    | {
        "debug": ({"progress": True}, NOTHING),
        "enable_oversampling": (REFUSED, NOTHING),
        "varpro_scaling": (REFUSED, NOTHING),
        "comparison_plot": (REFUSED, NOTHING),
    },
}
"""By command and flag: our settings that True and False ask for, worked out by hand."""

BESIDE = {
    "probe_mask": (["--probe_mask_diameter=20"], {"probe_mask_diameter": 20.0}),
    "enable_oversampling": (["--n_groups=8"], {"n_groups": 8}),
    "sequential_sampling": (["--n_subsample=9"], {"n_subsample": 9}),
}
"""What True needs next to it, and what that asks for."""

EVERY = [(command, name) for command, flags in MEANT.items() for name in flags]


def spelled(entry, truth):
    """All that a command line may say for a truth."""
    flag = f"--{entry.name}"
    joined, apart = (("True", "1"), ("true", "1")) if truth else (("False", "0"), ("FALSE", "0"))
    found = [[f"{flag}={word}"] for word in joined] + [[flag, word] for word in apart]
    return [*found, [flag]] if truth else [*found, *([f"--{name}"] for name in entry.negatives)]


def asked(found):
    return {name: found.values[name].value for name in found.requested}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_flag_that_takes_a_truth_is_here(command):
    assert {one.name for one in entries(command).values() if one.takes == "truth"} == set(MEANT[command])


@pytest.mark.parametrize(("command", "name"), EVERY)
@pytest.mark.parametrize("truth", [True, False])
def test_a_flag_means_what_it_says(command, name, truth, settle):
    meant = MEANT[command][name][0 if truth else 1]
    beside, more = BESIDE.get(name, ([], {})) if truth and meant is not REFUSED else ([], {})
    for words in spelled(entries(command)[name], truth):
        if meant is REFUSED:
            with pytest.raises(SettingsError, match=f"--{'' if truth else '(no[-_])?'}{name}.* is refused"):
                settle(command, *words)
        else:
            assert asked(settle(command, *words, *beside)) == meant | more, words


@pytest.mark.parametrize(("command", "name"), EVERY)
def test_what_is_no_truth_is_refused_by_name(command, name, settle):
    for word in ("yes", "2"):
        with pytest.raises(SettingsError, match=f"--{name} {word}: {name} is True or False"):
            settle(command, f"--{name}={word}")


FIELDS = [name for name, one in entries("train").items() if one.field and one.takes == "truth"]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("truth", [True, False])
def test_a_settings_file_means_the_same(name, truth, settle, tmp_path):
    one, meant = entries("train")[name], MEANT["train"][name][0 if truth else 1]
    default = (one.default == "True") == truth
    _, more = BESIDE.get(name, ([], {})) if truth else ([], {})
    beside = "".join(f"{key}: {value:g}\n" for key, value in more.items() if key != "probe_mask_diameter")
    inside = "".join(f"  {key}: {value:g}\n" for key, value in more.items() if key == "probe_mask_diameter")
    for word in ("true", "True", "yes", "on", "1", "'true'") if truth else ("false", "False", "no", "off", "0", "'False'"):
        line = f"{name}: {word}\n"
        text = f"{beside}model:\n  {line}{inside}" if one.field == "model" else f"{beside}{line}"
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        if meant is REFUSED:
            with pytest.raises(SettingsError, match=f"{name}: .* is refused"):
                settle("train", "--config", str(path))
        else:
            assert asked(settle("train", "--config", str(path))) == (more if default else meant | more), word
