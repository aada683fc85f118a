"""The table of PtychoPINN's spellings is whole, and everything that it speaks of exists here."""

import subprocess
import sys
from pathlib import Path

import pytest

from ptycho_core.compatibility.main import main
from ptycho_core.compatibility.table import COMMANDS, entries, setting_defaults
from ptycho_core.settings.groups import declarations

ROOT = Path(__file__).parents[2]

MODEL = """
N gridsize n_filters_scale model_type architecture fno_modes fno_width fno_blocks fno_cnn_blocks learned_input_channels
max_hidden_channels resnet_width fno_input_transform generator_output_mode amp_activation object_big probe_big probe_mask
probe_mask_sigma probe_mask_diameter pad_object probe_scale gaussian_smoothing_sigma
"""

TRAINING = """
train_data_file test_data_file batch_size nepochs mae_weight nll_weight realspace_mae_weight realspace_weight nphotons
n_groups n_images n_subsample subsample_seed neighbor_count enable_oversampling neighbor_pool_size positions_provided
probe_trainable intensity_scale_trainable output_dir sequential_sampling backend torch_loss_mode
torch_mae_pred_l2_match_target gradient_clip_val gradient_clip_algorithm optimizer momentum weight_decay adam_beta1
adam_beta2 scheduler lr_warmup_epochs lr_min_ratio plateau_factor plateau_patience plateau_min_lr plateau_threshold
"""

OWN = """
--config --do_stitching --quiet --verbose --console-level --torch-accelerator --torch-deterministic --torch-num-workers
--torch-accumulate-grad-batches --torch-learning-rate --torch-scheduler --torch-plateau-factor --torch-plateau-patience
--torch-plateau-min-lr --torch-plateau-threshold --torch-logger --torch-recon-log-every-n-epochs
--torch-recon-log-num-patches --torch-recon-log-fixed-indices --torch-recon-log-stitch --torch-recon-log-max-stitch-samples
--torch-enable-checkpointing --torch-checkpoint-save-top-k
"""

NATIVE_TRAINING = """
--train_data_file --test_data_file --output_dir --max_epochs --n_images --gridsize --batch_size --log-patch-stats
--patch-stats-limit --device --disable_mlflow --quiet --torch-loss-mode --profile --scale-contract-version
--measurement-domain --probe-mask --no-probe-mask --probe-mask-sigma --probe-mask-diameter --accelerator --deterministic
--no-deterministic --num-workers --learning-rate --logger --enable-checkpointing --disable-checkpointing
--checkpoint-save-top-k --checkpoint-monitor --checkpoint-mode --early-stop-patience --scheduler --accumulate-grad-batches
--ptycho_dir --config
"""

INFERENCE = """
--model_path --test_data --output_dir --n_images --patch-weighting --varpro-scaling --device --quiet --log-patch-stats
--patch-stats-limit --probe-mask --no-probe-mask --probe-mask-sigma --probe-mask-diameter --scale-contract-version
--measurement-domain --accelerator --num-workers --inference-batch-size --run_id --infer_dir --file_index --config --debug
--comparison_plot --n_subsample --subsample_seed --phase_vmin --phase_vmax --debug_dump --backend --torch-accelerator
--torch-num-workers --torch-inference-batch-size
"""


def spellings(command):
    return {name for one in entries(command).values() for name in (one.name, *one.negatives)}


@pytest.mark.parametrize(
    ("command", "flags"),
    [("train", " ".join([MODEL, TRAINING, OWN, NATIVE_TRAINING])), ("inference", INFERENCE)],
    ids=["train", "inference"],
)
def test_every_flag_of_the_four_command_lines_has_an_entry(command, flags):
    assert {flag.removeprefix("--").replace("-", "_") for flag in flags.split()} <= spellings(command)


def test_every_field_of_the_settings_classes_may_stand_in_a_file():
    table = entries("train").values()
    assert {one.name for one in table if one.field == "model"} == set(MODEL.split())
    assert {one.name for one in table if one.field == "training"} == set(TRAINING.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_all_that_the_table_names_exists_and_each_value_is_one_of_ours(command):
    known = declarations(COMMANDS[command])
    assert len(entries(command)) > 20
    for one in entries(command).values():
        assert one.settings or one.argument or one.refused or one.needs, one.name
        for name in {*one.settings, *one.needs}:
            assert name in known, f"{one.name}: {name}"
        for word in one.values:
            for name, text in one.meaning(word, f"--{one.name}").items():
                if name in known:
                    known[name].parse(text, one.name)
    for name, text in setting_defaults(command, supervised=True).items():
        known[name].parse(text, name)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_deprecated_spelling_names_one_that_is_not(command):
    table = entries(command)
    assert [one for one in table.values() if one.deprecated]
    for one in table.values():
        for flag in one.deprecated.split():
            if flag.startswith("--"):
                assert not table[flag[2:]].deprecated


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_flag(command, capsys):
    assert main(command, ["--help"]) == 0
    out = capsys.readouterr().out
    for one in entries(command).values():
        assert f"--{one.name}" in out


def test_help_loads_neither_numpy_nor_a_framework_nor_yaml():
    code = (
        "import sys\nfrom ptycho_core.compatibility.main import main\n"
        "assert main('train', ['--help']) == 0\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert not loaded & {
        "numpy",
        "scipy",
        "h5py",
        "matplotlib",
        "rich",
        "torch",
        "tensorflow",
        "keras",
        "yaml",
        "ptycho_backend_torch",
    }
