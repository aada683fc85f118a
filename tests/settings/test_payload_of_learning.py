"""Payloads of ``train`` and ``infer``: what a model file or a checkpoint fixes, and what is left to choose."""

import json
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.errors import CapabilityError, DataError, SettingsError, UsageError
from ptycho_core.model import Model, TrainingState, save_model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.payload import (
    create_inference_payload,
    create_reconstruction_payload,
    create_training_payload,
)

VERBS = ("train", "infer", "reconstruct", "evaluate")


@pytest.fixture
def scan(tmp_path):
    """A scan whose patterns cannot be read: their stored bytes are not those that the archive's checksum says."""
    path = tmp_path / "scan.npz"
    intensity = np.arange(3 * 128 * 128, dtype=np.uint32).reshape(3, 128, 128)
    np.savez(path, intensity=intensity, positions_px=np.zeros((3, 2)), photon_energy_ev=8000.0)
    content = bytearray(path.read_bytes())
    content[content.index(intensity.tobytes()) + intensity.nbytes - 1] ^= 0xFF
    path.write_bytes(content)
    return path


def test_a_scan_that_is_not_there_is_told_before_the_backend_is_loaded(acme, scan, tmp_path):
    plugin = acme(capabilities=VERBS)
    for rest in ({"scan": tmp_path / "none.npz"}, {"scan": scan, "validation": [tmp_path / "none.npz"]}):
        with pytest.raises(DataError, match=r"none\.npz"):
            training(folder=tmp_path / "run", **rest)
    assert plugin.requests == []


def training(scan, folder, overrides=None, **rest):
    return create_training_payload([scan], folder, {"backend": "acme", **(overrides or {})}, **{"environment": {}} | rest)


def checkpoint(folder, payload):
    """What a training with such a payload leaves."""
    asked = payload.groups["model"]
    network = describe(32, asked)
    modes = asked["modes"]
    model = Model(
        network=network,
        weights=initial_weights(network, 0),
        physics={"probe": np.ones((1, modes, 32, 32), np.complex64), "log_scale": np.zeros(1, np.float32)},
        facts={"size": 32, **asked},
        settings=payload.audit,
        training=TrainingState({"step": np.zeros(1)}, {"epoch": 1}),
    )
    folder.mkdir(exist_ok=True)
    save_model(folder / "best.ptycho", model)
    return save_model(folder / "last.ptycho", model)


@pytest.fixture
def run(acme, scan, tmp_path):
    """The folder of a training with gridsize 2, batch size 9, seed 5, in float64 with one thread."""
    acme(capabilities=VERBS)
    asked = {"gridsize": 2, "batch_size": 9, "seed": 5, "threads": 1, "precision": "float64", "acme.streams": 4, "epochs": 7}
    checkpoint(tmp_path / "run", training(scan, tmp_path / "run", asked))
    return tmp_path / "run"


def inference(run, scan, overrides=None, **rest):
    return create_inference_payload(run, scan, None, {"backend": "acme", **(overrides or {})}, **{"environment": {}} | rest)


def test_a_training_is_decided_without_reading_a_pattern(acme, scan, tmp_path):
    plugin = acme(capabilities=VERBS)
    payload = training(scan, tmp_path / "run", {"gridsize": 2}, validation=[scan])
    assert (payload.scans, payload.validation, payload.resume) == ((scan,), (scan,), None)
    assert set(payload.groups) == {"data", "model", "training", "execution"}
    assert set(plugin.requests[0].settings) == {"data", "model", "training"}
    assert plugin.requests[0].verb == "train"
    assert not (tmp_path / "run").exists()


def test_a_training_takes_no_geometry_for_a_fact(acme, scan, tmp_path):
    acme(capabilities=VERBS)
    assert training(scan, tmp_path / "run").groups["data"]["photon_energy_ev"] is None


def test_scans_are_needed_and_must_exist(acme, tmp_path):
    acme(capabilities=VERBS)
    with pytest.raises(UsageError, match="no scan"):
        create_training_payload([], tmp_path / "run", {"backend": "acme"}, environment={})
    with pytest.raises(DataError, match=r"none\.npz"):
        training(tmp_path / "none.npz", tmp_path / "run")


def test_labels_of_several_scans_and_two_ways_to_validate_are_refused(acme, scan, tmp_path):
    acme(capabilities=VERBS)
    sure = {"backend": "acme", "model_type": "supervised", "labels": "true.npz"}
    with pytest.raises(SettingsError, match="labels is the object of one scan, and there are 2"):
        create_training_payload([scan, scan], tmp_path / "run", sure, environment={})
    with pytest.raises(SettingsError, match="validation_split"):
        training(scan, tmp_path / "run", {"validation_split": 0.1}, validation=[scan])


@pytest.mark.parametrize("verb", ["train", "infer"])
def test_a_backend_that_cannot_learn_is_refused_before_it_is_loaded(acme, run, scan, tmp_path, verb):
    from ptycho_core import backends

    backends.unregister("acme")
    plugin = acme(capabilities=("reconstruct", "evaluate"))
    with pytest.raises(CapabilityError, match=f"'{verb}'"):
        training(scan, tmp_path / "other") if verb == "train" else inference(run, scan)
    assert plugin.requests == []


def test_at_inference_the_model_states_its_settings(run, scan):
    payload = inference(run, scan)
    assert payload.model_path == run / "best.ptycho"
    assert payload.groups["model"]["gridsize"] == 2
    gridsize = payload.resolved.values["gridsize"]
    assert (gridsize.origin, gridsize.where) == ("model", f"{run / 'best.ptycho'}: gridsize")
    assert "gridsize" not in payload.resolved.requested
    assert payload.groups["data"]["photon_energy_ev"] == 8000.0
    json.dumps(payload.audit)


def test_the_batch_size_of_the_training_is_taken_unless_another_is_asked_for(run, scan):
    assert inference(run, scan).groups["execution"]["inference_batch_size"] == 9
    asked = inference(run, scan, {"inference_batch_size": 2}).resolved.values["inference_batch_size"]
    assert (asked.value, asked.losers[0].value, asked.losers[0].origin) == (2, 9, "model")


def test_the_inference_batch_size_of_the_training_goes_before_its_batch_size(acme, scan, tmp_path):
    acme(capabilities=VERBS)
    checkpoint(tmp_path / "run", training(scan, tmp_path / "run", {"inference_batch_size": 40, "batch_size": 9}))
    stated = inference(tmp_path / "run", scan).resolved.values["inference_batch_size"]
    place = tmp_path / "run" / "best.ptycho"
    assert (stated.value, stated.where) == (40, f"{place}: inference_batch_size of its training")
    assert inference(tmp_path / "run", scan, {"inference_batch_size": 2}).resolved.values["inference_batch_size"].value == 2
    assert resumed(tmp_path / "run", scan).groups["execution"]["inference_batch_size"] == 40


def test_how_the_training_was_run_does_not_bind_an_inference(run, scan):
    execution = inference(run, scan).groups["execution"]
    assert (execution["precision"], execution["seed"]) == ("float32", 0)


@pytest.mark.parametrize("name", [name for name, one in declarations("infer").items() if one.group == "model"])
def test_no_setting_of_a_model_can_be_changed_at_inference(run, scan, name):
    one = declarations("infer")[name]
    other = {"bool": True, "int": one.multiple or 3, "float": 0.5, "str": one.choices and one.choices[-1]}[one.kind]
    with pytest.raises(SettingsError) as caught:
        inference(run, scan, {name: other})
    assert f"override '{name}'" in str(caught.value)
    assert str(run / "best.ptycho") in str(caught.value)


@pytest.mark.parametrize("source", ["environment", "config_file"])
def test_no_source_overrules_a_model(run, scan, tmp_path, source):
    (tmp_path / "other.toml").write_text("[model]\ngridsize = 3\n", "utf-8")
    given = {"environment": {"PTYCHO_GRIDSIZE": "3"}, "config_file": tmp_path / "other.toml"}[source]
    with pytest.raises(SettingsError, match=r"gridsize = 3 contradicts .*best\.ptycho: gridsize, which fixes it at 2"):
        inference(run, scan, **{source: given})
    (tmp_path / "other.toml").write_text("[model]\ngridsize = 2\n", "utf-8")
    assert inference(run, scan, config_file=tmp_path / "other.toml").groups["model"]["gridsize"] == 2


def test_a_model_that_is_not_there_is_told_after_a_wrong_setting(acme, scan, tmp_path):
    acme(capabilities=VERBS)
    with pytest.raises(DataError, match=r"none\.ptycho"):
        inference(tmp_path / "none.ptycho", scan)
    with pytest.raises(SettingsError, match="inference_batch_size"):
        inference(tmp_path / "none.ptycho", scan, {"inference_batch_size": 0})


def resumed(run, scan, overrides=None, **rest):
    return create_training_payload([scan], run, overrides, resume=run / "last.ptycho", **{"environment": {}} | rest)


def test_a_training_goes_on_with_the_settings_of_its_checkpoint(run, scan):
    payload = resumed(run, scan)
    groups = payload.groups
    assert (groups["model"]["gridsize"], groups["training"]["batch_size"], groups["training"]["epochs"]) == (2, 9, 7)
    execution = groups["execution"]
    assert (payload.backend.name, execution["seed"], execution["threads"], execution["precision"]) == ("acme", 5, 1, "float64")
    assert payload.plan.options["streams"] == 4
    assert payload.resolved.requested == frozenset()
    assert payload.resume == run / "last.ptycho"


def test_only_epochs_and_execution_may_differ_when_a_training_goes_on(run, scan):
    asked = {"epochs": 20, "precision": "float32", "threads": 2, "deterministic": False, "accelerator": "cpu", "acme.streams": 2}
    payload = resumed(run, scan, asked)
    assert payload.groups["training"]["epochs"] == 20
    assert payload.groups["execution"]["precision"] == "float32"
    assert payload.plan.options["streams"] == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gridsize", 1),
        ("learning_rate", 0.1),
        ("batch_size", 10),
        ("seed", 6),
        ("signal", "counts"),
        ("n_subsample", 2),
        ("merge", "none"),
    ],
)
def test_anything_else_is_refused_and_named(run, scan, name, value):
    with pytest.raises(SettingsError, match=rf"{name} = {value!r} contradicts .*last\.ptycho: {name}"):
        resumed(run, scan, {name: value})
    with pytest.raises(SettingsError, match=f"PTYCHO_{name.upper()}"):
        resumed(run, scan, environment={f"PTYCHO_{name.upper()}": str(value)})


def test_progress_is_not_inherited(acme, scan, tmp_path):
    acme(capabilities=VERBS)
    checkpoint(tmp_path / "run", training(scan, tmp_path / "run", {"progress": False}))
    assert resumed(tmp_path / "run", scan).groups["execution"]["progress"] is True


def test_a_checkpoint_that_is_not_there_is_told(acme, scan, tmp_path):
    acme(capabilities=VERBS)
    with pytest.raises(DataError, match=r"last\.ptycho"):
        resumed(tmp_path / "none", scan)


@pytest.fixture
def fitting(acme):
    """A backend that reconstructs and does not infer, next to ``acme``, which does both."""
    return acme(name="fitting", capabilities=("reconstruct",))


def start(run, scan, **overrides):
    return create_reconstruction_payload(scan, None, {"backend": "fitting", "start": str(run)} | overrides, environment={})


def test_a_reconstruction_that_starts_with_a_model_decides_on_its_inference_too(run, scan):
    overrides = {"backend": "acme", "signal": "counts", "precision": "float64", "threads": 1}
    payload = start(run, scan, **overrides)
    first = payload.first
    assert (first.backend.name, first.model_path, first.scan, first.output_dir) == ("acme", run / "best.ptycho", scan, None)
    assert first.groups["data"]["signal"] == "counts"
    assert (first.groups["execution"]["precision"], first.groups["execution"]["threads"]) == ("float64", 1)
    assert payload.audit["start"] == first.audit
    assert start(run, scan, backend="acme", start="result.h5").first is None


def test_a_backend_that_does_not_infer_is_refused_with_the_two_commands_to_give(run, scan, fitting, monkeypatch):
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "acme,fitting,reference")
    with pytest.raises(CapabilityError, match="'fitting' does not provide 'infer'") as caught:
        start(run, scan)
    assert caught.value.source == "override 'start'"
    assert f"'ptycho infer {scan} --model {run} --backend acme -o DIR'" in caught.value.remedy
    assert f"'ptycho reconstruct {scan} --backend fitting --start DIR ...'" in caught.value.remedy
    assert caught.value.remedy.endswith("Installed ones that provide it: acme, reference.")
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "fitting")
    with pytest.raises(CapabilityError) as caught:
        start(run, scan)
    assert caught.value.remedy == "Installed ones that provide it: acme (blocked)."


def test_explain_shows_what_a_model_fixes_and_what_a_checkpoint_goes_on_with(run, scan, capsys):
    words = ["config", "explain", "infer", str(scan), "--backend", "acme", "--model", str(run), "-o", "anywhere"]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert f"model {run / 'best.ptycho'}: gridsize" in table
    assert main([*words, "--gridsize", "3"]) == 2
    assert f"--gridsize 3: gridsize = 3 contradicts {run / 'best.ptycho'}" in capsys.readouterr().err
    assert main(["config", "explain", "train", str(scan), "-o", str(run), "--resume", "--epochs", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["settings"]
    assert (found["epochs"]["value"], found["epochs"]["beat"][0]["value"]) == (9, 7)
    assert (found["gridsize"]["value"], found["gridsize"]["origin"]) == (2, "model")
    assert main(["config", "explain", "train", "--resume"]) == 2
    assert "--output-dir" in capsys.readouterr().err


def test_explain_train_shows_every_setting_with_its_default(acme, scan, capsys):
    acme(capabilities=VERBS)
    assert (
        main(["config", "explain", "train", str(scan), str(scan), "--backend", "acme", "--validation", str(scan), "--json"]) == 0
    )
    assert set(json.loads(capsys.readouterr().out)["settings"]) >= set(declarations("train"))


def test_the_flag_of_a_fixed_setting_is_hidden_but_answered_with_the_model_file(run, scan, tmp_path, capsys):
    words = ["infer", str(scan), "--model", str(run), "-o", str(tmp_path / "out"), "--backend", "acme", "--modes", "2"]
    assert main(words) == 2
    assert str(run / "best.ptycho") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_python_and_path_objects_are_taken_alike(run, scan):
    assert inference(str(run), str(scan)).scan == inference(Path(run), Path(scan)).scan == scan
