"""What a command line or a settings file of PtychoPINN comes to, without running anything."""

import builtins

import pytest

from ptycho_core.compatibility.main import main, parsed
from ptycho_core.compatibility.table import entries
from ptycho_core.errors import DataError, SettingsError, UsageError
from ptycho_core.settings.groups import declarations

NEEDED = {"train": ["--train_data_file", "T.npz"], "inference": ["--model_path", "RUN", "--test_data", "V.npz"]}

TRAIN = [
    ("--backend pytorch", {"backend": "torch"}),
    ("--backend tensorflow", {"backend": "tensorflow"}),
    ("--backend torch", {"backend": "torch"}),
    ("--gridsize 2", {"gridsize": 2}),
    ("--n_filters_scale 1", {"network_width": 8}),
    ("--n-filters-scale=4", {"network_width": 32}),
    ("--model_type pinn", {"model_type": "physics-informed", "nll_weight": 1.0, "amplitude_weight": 0.0}),
    ("--model_type supervised", {"model_type": "supervised", "nll_weight": 0.0, "realspace_weight": None}),
    ("--architecture cnn", {}),
    ("--max_hidden_channels None --resnet_width none", {}),
    ("--generator_output_mode real_imag", {"output_form": "real-imaginary"}),
    ("--generator_output_mode amp_phase_logits", {"output_form": "amplitude-phase"}),
    ("--amp_activation sigmoid", {"amplitude_activation": "sigmoid", "output_form": "amplitude-phase"}),
    ("--object_big False", {"merge": "none"}),
    ("--object_big=True", {"merge": "batch"}),
    ("--object_big", {"merge": "batch"}),
    ("--no-object_big", {"merge": "none"}),
    ("--probe_big True --pad_object true --positions_provided=1", {}),
    ("--probe-mask --probe-mask-diameter 20 --probe-mask-sigma 2", {"probe_mask_diameter": 20.0, "probe_mask_edge": 5.0}),
    ("--probe_mask True --probe_mask_diameter 20", {"probe_mask_diameter": 20.0}),
    ("--no-probe-mask --probe_mask_diameter None", {"probe_mask_diameter": None}),
    ("--gaussian_smoothing_sigma 0.5", {"probe_smoothing": 0.5}),
    ("--nepochs 7", {"epochs": 7}),
    ("--max_epochs=7 --nepochs 7", {"epochs": 7}),
    ("--batch_size 4", {"batch_size": 4}),
    ("--learning-rate 5e-4 --torch-learning-rate 0.0005", {"learning_rate": 5e-4}),
    ("--mae_weight 1", {"mae_weight": 1.0, "nll_weight": 1.0, "amplitude_weight": 0.0}),
    ("--torch-loss-mode mae", {"mae_weight": 1.0, "nll_weight": 0.0, "amplitude_weight": 0.0}),
    ("--torch_loss_mode=poisson", {"mae_weight": 0.0, "nll_weight": 1.0, "amplitude_weight": 0.0}),
    ("--realspace_mae_weight 0.5", {"realspace_weight": 0.5}),
    ("--realspace_weight 0.5", {"realspace_weight": 0.5}),
    ("--n_subsample 20 --subsample_seed 0", {"n_subsample": 20, "subsample_seed": 0}),
    ("--n_subsample None --gradient_clip_val None", {"n_subsample": None, "gradient_clip_val": None}),
    ("--n_groups 8 --n-images=8", {"n_groups": 8}),
    ("--n_groups 99 --enable_oversampling True --gridsize 2", {"n_groups": 99}),
    ("--sequential_sampling True --n_subsample 9", {"sequential_sampling": True, "n_subsample": 9}),
    ("--adam_beta1 0.8 --adam-beta2=0.99", {"adam_beta1": 0.8, "adam_beta2": 0.99}),
    ("--gridsize 2 --neighbor_count 6", {"neighbor_count": 6}),
    ("--gridsize 2 --neighbor_pool_size 6 --enable_oversampling False", {"neighbor_count": 6}),
    ("--probe_trainable True", {"train_probe": True}),
    ("--probe_trainable False", {"train_probe": False}),
    ("--intensity_scale_trainable True", {"train_scale": True}),
    ("--gradient_clip_val 0.5 --gradient_clip_algorithm value", {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}),
    ("--optimizer sgd --momentum 0.5", {"optimizer": "sgd", "momentum": 0.5}),
    ("--optimizer adamw --weight_decay 0.01", {"optimizer": "adamw", "weight_decay": 0.01}),
    ("--scheduler Default", {"scheduler": "constant"}),
    ("--scheduler Exponential", {"scheduler": "exponential"}),
    ("--scheduler WarmupCosine", {"scheduler": "warmup-cosine", "warmup_epochs": 0.0}),
    ("--scheduler WarmupCosine --lr_warmup_epochs 3", {"scheduler": "warmup-cosine", "warmup_epochs": 3.0}),
    ("--scheduler ReduceLROnPlateau", {"scheduler": "plateau", "plateau_factor": 0.5, "plateau_patience": 2}),
    (
        "--torch-scheduler ReduceLROnPlateau --torch-plateau-factor 0.3 --torch-plateau-patience=4 --torch-plateau-min-lr 1e-6",
        {"scheduler": "plateau", "plateau_factor": 0.3, "plateau_patience": 4, "min_learning_rate": 1e-6},
    ),
    ("--torch-scheduler CosineAnnealing", {"scheduler": "warmup-cosine", "warmup_epochs": 0.0}),
    ("--accumulate-grad-batches 2 --torch-accumulate-grad-batches 2", {"accumulate_grad_batches": 2}),
    ("--num-workers 2 --torch-num-workers=2", {"num_workers": 2}),
    ("--early-stop-patience 5", {"early_stop_patience": 5}),
    ("--measurement-domain count_intensity --scale-contract-version ci_intensity_v2", {"signal": "counts"}),
    ("--measurement_domain normalized_amplitude", {"signal": "amplitude"}),
    ("--accelerator cpu", {"accelerator": "cpu"}),
    ("--torch-accelerator=gpu", {"accelerator": "cuda"}),
    ("--device cuda --accelerator gpu", {"accelerator": "cuda"}),
    ("--device=cpu", {"accelerator": "cpu"}),
    ("--no-deterministic", {"deterministic": "off"}),
    ("--torch-deterministic", {"deterministic": "on"}),
    ("--torch-logger=none", {"logger": "none"}),
    ("--logger tensorboard --torch-logger tensorboard", {"logger": "tensorboard"}),
    ("--disable_mlflow", {"logger": "none", "progress": False}),
    ("--disable-checkpointing", {"enable_checkpointing": False}),
    ("--torch-enable-checkpointing", {"enable_checkpointing": True}),
    ("--checkpoint-save-top-k 3 --torch-checkpoint-save-top-k=3", {"checkpoint_save_top_k": 3}),
    ("--checkpoint-save-top-k -1", {"checkpoint_save_top_k": -1}),
    (
        "--checkpoint-monitor val_loss --checkpoint-mode min",
        {"checkpoint_monitor": "validation_loss", "checkpoint_mode": "min"},
    ),
    ("--N 128", {"size": 128}),
    ("--N=32", {"size": 32}),
    ("--nphotons 1e6", {"photons": 1e6}),
    ("--quiet", {"progress": False}),
    ("--verbose", {"progress": True}),
    ("--console-level ERROR", {"progress": False}),
    ("--console-level INFO", {"progress": True}),
    ("--seed 5 --min_learning_rate 1e-5 --scheduler Exponential", {"seed": 5, "min_learning_rate": 1e-5}),
]

INFERENCE = [
    ("--backend pytorch", {"backend": "torch"}),
    ("--inference-batch-size 4 --torch-inference-batch-size=4", {"inference_batch_size": 4}),
    ("--num-workers 2 --torch-num-workers=2", {"num_workers": 2}),
    ("--torch-accelerator cpu", {"accelerator": "cpu"}),
    ("--debug", {"progress": True}),
    ("--quiet", {"progress": False}),
    ("--patch-weighting probe --n_images None", {}),
    ("--measurement-domain count_intensity", {"signal": "counts"}),
    ("--precision float64", {"precision": "float64"}),
]


@pytest.mark.parametrize(("words", "expected"), TRAIN, ids=[words for words, _ in TRAIN])
def test_training_flags_come_to_settings_of_ours(settle, words, expected):
    found = settle("train", *words.split())
    assert {name: found.values[name].value for name in expected} == expected
    assert {name for name, one in found.values.items() if one.origin == "override"} >= set(expected) - {
        "nll_weight", "amplitude_weight", "realspace_weight", "warmup_epochs", "plateau_factor", "plateau_patience",
    }  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), INFERENCE, ids=[words for words, _ in INFERENCE])
def test_inference_flags_come_to_settings_of_ours(settle, words, expected):
    found = settle("inference", *words.split())
    assert {name: found.values[name].value for name in expected} == expected


def some_word(entry):
    """A value that its setting takes; of a refused spelling, one that is refused."""
    if entry.takes == "truth":
        return "False" if "true" in entry.same else "True"
    declared = declarations("train").get(entry.setting)
    if declared is not None and declared.choices:
        return declared.choices[0]
    return "0.5" if declared is not None and 1 in (declared.below, declared.maximum) else "3"


@pytest.mark.parametrize("command", ["train", "inference"])
def test_every_entry_goes_somewhere_by_flag_or_is_refused_by_name(command, settle):
    """Its words, or a number; hyphens, and the value after '='."""
    assert len(entries(command)) > 20
    for one in entries(command).values():
        if one.argument:
            continue
        for word in one.values or [some_word(one)]:
            flag = f"--{one.name.replace('_', '-')}={word}"
            given = [flag] + [f"--{name}=20" for name in one.needs if word == "true"]
            meant = {} if one.refused else one.meaning(word, flag)
            if (one.refused and word not in one.same) or set(meant) - set(declarations("train") | declarations("infer")):
                with pytest.raises(SettingsError, match=f"--{one.name.replace('_', '-')} .* is refused: "):
                    parsed(command, [*NEEDED[command], *given])
            else:
                args = parsed(command, [*NEEDED[command], *given])
                for name in meant:
                    if hasattr(args, f"setting_{name}"):
                        assert getattr(args, f"setting_{name}")[-1].where.startswith(f"--{one.name.replace('_', '-')}")
        for word in one.refuses:
            with pytest.raises(SettingsError, match="is refused: "):
                parsed(command, [*NEEDED[command], f"--{one.name}", word])


def test_without_flags_the_defaults_of_ptychopinn_apply_and_are_no_request(settle):
    found = settle("train")
    expected = {
        "backend": "tensorflow", "gridsize": 1, "epochs": 50, "batch_size": 16, "scheduler": "constant", "nll_weight": 1.0,
        "amplitude_weight": 0.0, "warmup_epochs": 0.0, "plateau_patience": 2,
    }  # fmt: skip
    assert {name: one.value for name, one in found.values.items() if one.origin == "command default"} == expected
    assert found.requested == frozenset()
    assert {one.where for one in found.values.values() if one.origin == "command default"} == {"ptycho_train"}
    assert settle("inference").values["backend"].value == "tensorflow"


def test_the_environment_goes_before_a_default_and_after_a_flag(settle):
    variables = {"PTYCHO_BACKEND": "torch", "PTYCHO_EPOCHS": "9"}
    found = settle("train", "--nepochs", "3", environment=variables)
    assert (found.values["backend"].value, found.values["epochs"].value) == ("torch", 3)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--n_subsample 8 --n-subsample 9", ("--n_subsample 8", "--n-subsample 9")),
        ("--n_groups 8 --n_images 16", ("--n_groups 8", "--n_images 16")),
        ("--nepochs 3 --max_epochs 4", ("--nepochs 3", "--max_epochs 4")),
        ("--device cpu --accelerator cuda", ("--device cpu", "--accelerator cuda")),
        ("--torch-learning-rate 1e-3 --learning-rate 1e-4", ("--torch-learning-rate 1e-3", "--learning-rate 1e-4")),
        ("--quiet --verbose", ("--quiet", "--verbose")),
        ("--no-deterministic --torch-deterministic", ("--no-deterministic", "--torch-deterministic")),
        ("--generator_output_mode real_imag --amp_activation sigmoid", ("--generator_output_mode real_imag", "--amp_activation")),
        ("--torch-loss-mode mae --nll_weight 1", ("--torch-loss-mode mae", "--nll_weight 1")),
        ("--no-probe-mask --probe-mask-diameter 8", ("--no-probe-mask", "--probe-mask-diameter 8")),
        ("--nepochs 3 --epochs 4", ("--nepochs 3", "--epochs 4")),
        ("--train_data_file other.npz", ("--train_data_file T.npz", "--train_data_file other.npz")),
    ],
)
def test_two_spellings_with_different_values_are_an_error_that_names_both(settle, words, named):
    with pytest.raises(SettingsError) as caught:
        settle("train", *words.split())
    assert "contradict each other" in str(caught.value)
    assert all(one in str(caught.value) for one in named)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--object_big maybe", "--object_big maybe"),
        ("--scheduler default", "Did you mean 'Default'?"),
        ("--architecture hybird", "Did you mean 'hybrid'?"),
        ("--nepochs three", "--nepochs three: epochs = 'three' must be a whole number"),
        ("--nepochs nan", "--nepochs nan"),
        ("--nepochs 0", "at least 1"),
        ("--learning-rate nan", "--learning-rate nan"),
        ("--learning-rate inf", "--learning-rate inf"),
        ("--nepochs", "--nepochs needs a value"),
        ("--nepochs --quiet", "--nepochs needs a value"),
        ("--no-probe-mask=True", "takes no value"),
        ("stray", "'stray' belongs to no flag"),
        ("--quiet stray", "'stray' belongs to no flag"),
        ("--nepoch 3", "Did you mean '--nepochs'?"),
        ("--probe-mask", "Give --probe_mask_diameter too."),
        ("--gridsize 2 --neighbor_count 3", "--neighbor_count 3: "),
        ("--momentum 0.9", "--momentum 0.9: momentum acts only with optimizer sgd"),
        ("--lr_min_ratio 0.1", "--min-learning-rate"),
        ("--enable_oversampling True", "--n_groups"),
        ("--sequential_sampling True", "acts only together with n_subsample"),
        ("--config settings.json", "is JSON"),
        ("--config nowhere.yaml", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_the_flag_as_typed(settle, words, told):
    with pytest.raises(UsageError) as caught:
        settle("train", *words.split())
    assert told in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_flag_that_nobody_knows_is_a_usage_error(capsys):
    assert main("train", ["--train_data_file", "T.npz", "--what-is-this", "3"]) == 2
    assert "there is no flag --what-is-this" in capsys.readouterr().err


def test_a_stray_word_after_a_flag_of_ours_is_no_further_scan(capsys):
    assert main("train", ["--train_data_file", "T.npz", "--overwrite", "other.npz"]) == 2
    assert "other.npz" in capsys.readouterr().err


def test_deprecated_spellings_are_told_once_and_only_when_used(settle, capsys):
    settle("train", "--device", "cpu", "--torch-learning-rate=1e-3", "--torch-learning-rate=1e-3")
    assert capsys.readouterr().err.splitlines() == [
        "ptycho_train: --device is deprecated; use --accelerator.",
        "ptycho_train: --torch-learning-rate is deprecated; use --learning_rate.",
    ]
    settle("train", "--accelerator", "cpu", "--learning-rate", "1e-3", "--torch-loss-mode", "mae")
    assert capsys.readouterr().err == ""


def test_without_the_framework_of_the_default_nothing_else_is_taken(pinn_scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PTYCHO_BACKENDS_BLOCK", "tensorflow")
    given = ["--train_data_file", str(pinn_scans / "T.npz"), "--output_dir", str(tmp_path / "run")]
    assert main("train", given) == 3
    err = capsys.readouterr().err
    assert "tensorflow" in err
    assert "It is the default of ptycho_train; --backend chooses another." in err
    assert main("train", [*given, "--backend", "tensorflow"]) == 3
    assert "default" not in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# ---- settings files


@pytest.fixture
def yaml_file(tmp_path):
    pytest.importorskip("yaml", reason="PyYAML is not installed")

    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_a_settings_file_ranks_below_flags_and_variables(settle, yaml_file):
    path = yaml_file(
        "nepochs: 30\nbatch_size: 8\nlearning_rate: 2e-3\n".replace("learning_rate: 2e-3\n", "") + "model:\n  gridsize: 2\n"
    )
    found = settle("train", "--config", path, "--nepochs", "3", environment={"PTYCHO_BATCH_SIZE": "4"})
    assert {name: found.values[name].value for name in ("epochs", "batch_size", "gridsize")} == {
        "epochs": 3, "batch_size": 4, "gridsize": 2,
    }  # fmt: skip
    assert (found.values["gridsize"].origin, found.values["gridsize"].where) == ("file", f"{path}: model.gridsize: 2")
    assert [(one.origin, one.value) for one in found.values["epochs"].losers[:2]] == [("file", 30), ("command default", 50)]


def test_a_file_with_every_field_at_its_default_asks_for_nothing(settle, yaml_file):
    table = [one for one in entries("train").values() if one.field in ("model", "training") and one.default]
    top, inside = ([one for one in table if one.field == kind] for kind in ("training", "model"))
    shown = {one.name: f"{one.name}: {one.default.replace('none', 'null')}" for one in table}
    text = "\n".join([*(shown[one.name] for one in top), "model:", *(f"  {shown[one.name]}" for one in inside)])
    assert settle("train", "--config", yaml_file(text)).requested == frozenset()


def test_paths_of_a_file_serve_a_training_and_numbers_are_read_as_typed(yaml_file):
    path = yaml_file(
        "train_data_file: T.npz\ntest_data_file: V.npz\noutput_dir: RUN\nplateau_min_lr: 1e-6\nscheduler: ReduceLROnPlateau\n"
    )
    args = parsed("train", ["--config", path, "--output_dir", "OTHER"])
    assert (args.scans, args.validation, args.output_dir) == (["T.npz"], ["V.npz"], "OTHER")
    assert args.config.file["min_learning_rate"].value == "1e-6"


def test_the_file_of_a_training_serves_an_inference(settle, yaml_file):
    found = settle(
        "inference",
        "--config",
        yaml_file("nepochs: 30\nn_subsample: 8\nbackend: pytorch\noutput_dir: RUN\nmodel:\n  gridsize: 2\n"),
    )
    assert found.requested == {"backend", "gridsize"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nepoch: 3", "PtychoPINN has no setting 'nepoch'. Did you mean 'nepochs'?"),
        ("gridsize: 2", "'gridsize' stands under 'model:'"),
        ("model:\n  nepochs: 2", "'nepochs' stands at the top"),
        ("nepochs: [1, 2]", "is a list"),
        ("nepochs: true", "nepochs: True: epochs = 'True' must be a whole number"),
        ("nepochs: .nan", "nepochs: nan"),
        ("model: 3", "no setting 'model'"),
        ("model:\n  fno_modes: 3", "model.fno_modes: 3 is refused"),
        ("mae_weight: 1\ntorch_loss_mode: mae\nnll_weight: 0.5", "contradict each other"),
        ("- 1\n- 2", "holds no keys"),
        ("a: [", "is no YAML"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_a_settings_file_that_cannot_be_is_refused_with_the_key(settle, yaml_file, text, told):
    with pytest.raises(SettingsError) as caught:
        settle("train", "--config", yaml_file(text))
    assert told in str(caught.value)


def test_without_pyyaml_the_pip_line_is_told(settle, yaml_file, monkeypatch):
    path = yaml_file("nepochs: 3")
    real = builtins.__import__

    def without(name, *rest):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=r"pip install 'ptycho-core\[compatibility\]'"):
        settle("train", "--config", path)


# ---- models


@pytest.mark.parametrize("inside", [True, False])
def test_an_archive_of_ptychopinn_is_refused_with_the_reason(tmp_path, capsys, inside):
    archive = tmp_path / "wts.h5.zip"
    archive.write_bytes(b"PK")
    words = ["--model_path", str(tmp_path if inside else archive), "--test_data", "V.npz"]
    assert main("inference", words) == DataError.exit_status
    err = capsys.readouterr().err
    assert "pickles" in err
    assert "ptycho_train" in err


@pytest.mark.parametrize("words", ["--phase_vmin two", "--phase_vmax nan", "--phase_vmin 1 --phase_vmax 1"])
def test_phases_that_bound_no_colours_are_refused(words, capsys):
    assert main("inference", [*NEEDED["inference"], *words.split()]) == 2
    assert "--phase_v" in capsys.readouterr().err
