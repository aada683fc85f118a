"""``ptycho model inspect``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.model import save_model
from ptycho_core.modelfile.manifest import VERSION


def lines_of(capsys, *arguments):
    assert main(["model", "inspect", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_inspect_says_what_is_in_a_model(file, make, capsys):
    text = "\n".join(lines_of(capsys, file))
    model = make()
    parameters = sum(array.size for array in model.weights.values())
    for words in (
        f"file        {file}",
        f"ptycho model, version {VERSION}, model without training state, {file.stat().st_size} bytes",
        f"parameters  {parameters} in {len(model.weights)} tensors",
        "size = 32",
        "gridsize = 2",
        "mean_counts = 1234.5",
        "ptycho-core = 0.1.0",
        "2 epochs; the last: epoch = 2, loss = 1.25",
        "weights.safetensors is as the manifest says",
        f"scan 0: {np.sum(np.abs(model.physics['probe']) ** 2):.5g} counts in an empty pattern, intensity scale exp(0.25)",
        "untrained   The network was not compared with the untrained pass, which takes validation frames.",
        "training    -",
    ):
        assert words in text
    layers = model.network["layers"]
    convolutions = sum(layer["op"] == "convolution" for layer in layers)
    assert f"layers: {len(layers)} (" in text
    assert f"{convolutions} convolution, " in text
    for name in set(model.network) - {"layers"}:
        assert f" {name} = " in text


def test_every_tensor_is_listed_with_type_shape_and_size(file, make, capsys):
    lines = lines_of(capsys, file)
    model = make()
    for name, array in model.weights.items():
        found = next(line for line in lines if f"network.{name} " in line)
        rms = np.sqrt(np.mean(array.astype(float) ** 2))
        assert found.split(f"network.{name} ")[1].split() == f"float32 {array.shape} rms {rms:.4g}".split()
    assert any("physics.probe" in line and "complex64 (1, 2, 32, 32)" in line for line in lines)


def test_only_settings_that_are_no_default_are_shown_unless_all_are_asked_for(file, capsys):
    text = "\n".join(lines_of(capsys, file))
    assert "network_width = 4 (override: --network-width)" in text
    assert "epochs = 3 (file: run.toml: [training] epochs)" in text
    assert "batch_size" not in text
    assert "1 at their default; --all lists them" in text
    text = "\n".join(lines_of(capsys, file, "--all"))
    assert "batch_size = 32 (core default: declaration)" in text
    assert "at their default" not in text


def test_json_holds_the_numbers_of_the_model(file, make, tamper, capsys):
    found = json.loads("\n".join(lines_of(capsys, file, "--json")))
    model = make()
    assert (found["file"], found["bytes"], found["version"]) == (str(file), file.stat().st_size, VERSION)
    assert found["facts"] == model.facts
    assert found["network"] == json.loads(json.dumps(model.network))
    assert found["parameters"] == sum(array.size for array in model.weights.values())
    assert {one["name"] for one in found["tensors"]} == {
        *(f"network.{name}" for name in model.weights),
        "physics.probe",
        "physics.log_scale",
    }
    assert found["probes"][0]["counts"] == pytest.approx(np.sum(np.abs(model.physics["probe"]) ** 2), rel=1e-5)
    assert [(one["name"], one["value"], one["default"]) for one in found["settings"]] == [
        ("batch_size", 32, True), ("epochs", 3, False), ("network_width", 4, False),
    ]  # fmt: skip
    assert found["history"] == list(model.history)
    assert found["training"] is None
    assert found["hashes"] == {"weights.safetensors": hashlib.sha256(tamper.members_of(file)["weights.safetensors"]).hexdigest()}


def test_a_checkpoint_is_shown_with_its_training_state(tmp_path, make, state, capsys):
    path = save_model(tmp_path / "last.ptycho", make(training=state))
    text = "\n".join(lines_of(capsys, path))
    for words in (f"version {VERSION}, checkpoint", f"{len(state.arrays)} arrays; state: batch, best, epoch, generator",
                  "training/optimizer.safetensors is as the manifest says"):  # fmt: skip
        assert words in text
    found = json.loads("\n".join(lines_of(capsys, path, "--json")))
    assert found["training"]["state"] == state.state
    assert {one["name"]: one["shape"] for one in found["training"]["tensors"]} == {
        name: list(array.shape) for name, array in state.arrays.items()
    }


def test_a_run_folder_is_shown_by_its_best_model(tmp_path, make, capsys):
    run = tmp_path / "run"
    run.mkdir()
    save_model(run / "best.ptycho", make(producer={"who": "the best"}))
    save_model(run / "last.ptycho", make(producer={"who": "the last"}))
    text = "\n".join(lines_of(capsys, run))
    assert f"file        {run / 'best.ptycho'}" in text
    assert "the best" in text


def test_a_model_with_nothing_but_what_is_required_is_shown(tmp_path, make, capsys):
    path = save_model(tmp_path / "a.ptycho", make(scaling={}, settings={}, producer={}, history=()))
    lines = lines_of(capsys, path, "--all")
    for label in ("scaling", "producer", "history", "settings"):
        assert f"{label:<11} -" in lines


@pytest.mark.parametrize("settings", [{"settings": [1]}, {"settings": {"a": 3, "b": None}}, {"other": 1}])
def test_settings_of_an_unknown_form_are_no_failure(tmp_path, make, capsys, settings):
    path = save_model(tmp_path / "a.ptycho", make(settings=settings))
    text = "\n".join(lines_of(capsys, path))
    assert ("a = 3 (unknown: -)" in text) == ("a" in (settings.get("settings") or ()))


def test_damage_of_a_member_that_inference_ignores_is_found(tmp_path, make, state, tamper, capsys):
    path = save_model(tmp_path / "last.ptycho", make(training=state))
    members = tamper.members_of(path)
    changed = members["training/state.json"].replace(b'"batch": 7', b'"batch": 8')
    assert changed != members["training/state.json"]
    tamper.rewrite(path, members | {"training/state.json": changed}, hashed=False)
    assert main(["model", "inspect", str(path)]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "member 'training/state.json' was changed" in err


def test_text_out_of_a_file_does_not_steer_the_terminal(tmp_path, make, capsys):
    path = save_model(tmp_path / "a.ptycho", make(producer={"name": "\x1b[2J\ud800"}))
    assert r"producer    name = \x1b[2J\ud800" in lines_of(capsys, path)


def test_the_help_loads_no_numpy(tmp_path):
    code = (
        "import sys\n"
        "from ptycho_core.cli.main import main\n"
        "assert main(['model', 'inspect', '--help']) == 0\n"
        "assert not {'numpy', 'h5py', 'safetensors', 'zipfile'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "exit status 5" in " ".join(done.stdout.split())


def test_without_an_action_the_usage_error_says_what_is_missing(capsys):
    assert main(["model"]) == 2
    assert "ACTION" in capsys.readouterr().err
