"""``--dry-run`` and ``config explain``: the payload is made, shown and dropped; no pattern is read and nothing written."""

import json

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.model import Model, save_model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.payload import create_inference_payload, create_reconstruction_payload, create_training_payload

VERBS = ("train", "infer", "reconstruct")


@pytest.fixture
def folder(acme, tmp_path):
    """A scan whose patterns cannot be read, a model, and a settings file; the backend is called acme."""
    acme(capabilities=VERBS)
    path = tmp_path / "scan.npz"
    intensity = np.arange(3 * 128 * 128, dtype=np.uint32).reshape(3, 128, 128)
    np.savez(path, intensity=intensity, positions_px=np.zeros((3, 2)), photon_energy_ev=8000.0)
    content = bytearray(path.read_bytes())
    content[content.index(intensity.tobytes()) + intensity.nbytes - 1] ^= 0xFF
    path.write_bytes(content)
    groups = create_training_payload([path], tmp_path / "run", {"backend": "acme"}, environment={}).groups
    network = describe(128, groups["model"])
    physics = {"probe": np.ones((1, 1, 128, 128), np.complex64), "log_scale": np.zeros(1, np.float32)}
    facts = {"size": 128, **groups["model"]}
    save_model(tmp_path / "model.ptycho", Model(network, initial_weights(network, 0), physics, facts))
    (tmp_path / "run.toml").write_text("[execution]\nthreads = 8\n[backend.acme]\nstreams = 5\n", "utf-8")
    return tmp_path


def command(folder, verb, *words):
    model = ["--model", str(folder / "model.ptycho")] if verb == "infer" else []
    given = ["--backend", "acme", "--config", str(folder / "run.toml"), "--seed", "0", *words]
    return [str(folder / "scan.npz"), *model, "-o", str(folder / "out"), *given]


def printed(capsys, words, status=0):
    assert main(words) == status, capsys.readouterr().err
    return capsys.readouterr()


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("verb", VERBS)
def test_a_dry_run_says_what_would_be_done_and_touches_nothing(folder, verb, capsys):
    before = contents(folder)
    text = printed(capsys, [verb, *command(folder, verb), "--dry-run"]).out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"{verb}: backend acme (registered in this process), named" in lines
    assert "device: cpu" in lines
    assert (
        f"threads 8 file {folder / 'run.toml'}, line 2: [execution] threads adjusted to 2: at most two; beat auto (core default)"
        in lines
    )
    assert "seed 0 override --seed 0 applied; beat 0 (core default)" in lines
    assert "accelerator auto core default effective cpu" in lines
    assert any(line.startswith(f"reads: {folder / 'scan.npz'}") for line in lines)
    assert any(line.startswith(f"writes to {folder / 'out'}: ") and "settings.json" in line for line in lines)
    assert contents(folder) == before


def test_what_files_state_is_listed_under_the_kind_of_file_and_plain_defaults_are_not(folder, capsys):
    text = printed(capsys, ["infer", *command(folder, "infer"), "--dry-run"]).out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    by_model = lines[lines.index("stated by the model file:") : lines.index("stated by the data file:")]
    by_scan = lines[lines.index("stated by the data file:") : lines.index("decided by the backend:")]
    assert any(line.startswith("gridsize 1 model ") for line in by_model)
    assert any(line.startswith("photon_energy_ev 8000.0 eV data ") for line in by_scan)
    assert not any(line.startswith("precision ") for line in lines)


@pytest.mark.parametrize("verb", VERBS)
def test_explain_and_dry_run_print_the_audit_of_the_payload(folder, verb, capsys):
    words = command(folder, verb)
    explained = json.loads(printed(capsys, ["config", "explain", verb, *words, "--json"]).out)
    planned = json.loads(printed(capsys, [verb, *words, "--dry-run", "--json"]).out)
    files = {name: planned.pop(name) for name in ("reads", "output_dir", "writes")}
    assert explained == planned
    assert files["output_dir"] == str(folder / "out")
    scan, model, out = folder / "scan.npz", folder / "model.ptycho", folder / "out"
    given = ({"backend": "acme", "seed": 0}, None)
    rest = {"config_file": folder / "run.toml", "environment": {}}
    payload = {
        "train": lambda: create_training_payload([scan], out, *given, **rest),
        "infer": lambda: create_inference_payload(model, scan, out, *given, **rest),
        "reconstruct": lambda: create_reconstruction_payload(scan, out, *given, **rest),
    }[verb]()
    typed = json.loads(json.dumps(payload.audit))
    for name, flag in (("backend", "--backend acme"), ("seed", "--seed 0")):  # the API names the key, the command the flag
        assert typed["settings"][name]["where"] == f"override '{name}'"
        typed["settings"][name]["where"] = flag
    assert explained == typed


@pytest.mark.parametrize("verb", VERBS)
def test_what_would_stop_the_run_stops_the_dry_run_with_the_same_status(folder, verb, capsys):
    for words, status, part in (
        (["--seed", "-1"], 2, "--seed -1"),
        (["--backend", "nonsense"], 2, "--backend nonsense"),
        (["--accelerator", "tpu"], 4, "--accelerator tpu"),
        (["--json"], 2, "--dry-run"),
    ):
        base = [verb, *command(folder, verb)]
        replaced = [word for word in base if word not in ("--seed", "0", "--backend", "acme")] if words[0] in base else base
        dry = ["--dry-run"] if words != ["--json"] else []
        assert part in printed(capsys, [*replaced, *words, *dry], status).err
    (folder / "out").mkdir()
    (folder / "out" / "something").write_text("")
    assert "not empty" in printed(capsys, [verb, *command(folder, verb), "--dry-run"], 2).err
    assert "writes to" in printed(capsys, [verb, *command(folder, verb), "--dry-run", "--overwrite"]).out
    (folder / "scan.npz").unlink()
    assert "scan.npz" in printed(capsys, [verb, *command(folder, verb), "--dry-run", "--overwrite"], 5).err


def test_what_is_unsupported_is_shown_where_it_is_allowed(folder, capsys):
    words = ["reconstruct", *command(folder, "reconstruct"), "--dry-run"]
    words[words.index("--seed") + 1] = "13"
    assert "unlucky" in printed(capsys, words, 4).err
    assert "unsupported: it is unlucky" in printed(capsys, [*words, "--allow-unsupported"]).out
    explained = ["config", "explain", *words[:-1], "--allow-unsupported"]
    assert "unsupported: it is unlucky" in printed(capsys, explained).out


@pytest.mark.parametrize("verb", VERBS)
def test_explain_without_files_gives_the_resolution_and_says_so(folder, verb, capsys):
    words = ["config", "explain", verb, "--backend", "acme", "--threads", "8", "--json"]
    found = json.loads(printed(capsys, words).out)
    assert set(found["settings"]) >= set(declarations(verb)) | {"acme.streams"}
    threads = found["settings"]["threads"]
    assert (threads["value"], threads["requested"], threads["effective"], threads["disposition"]) == (8, True, None, None)
    assert (found["backend"]["name"], found["device"]) == ("acme", None)
    assert "Resolved only" in found["notes"][0]
    assert "Resolved only" in printed(capsys, words[:-1]).out


def test_explain_without_a_backend_says_that_too(folder, capsys, monkeypatch):
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "nothing")
    found = json.loads(printed(capsys, ["config", "explain", "reconstruct", str(folder / "scan.npz"), "--json"]).out)
    assert (found["backend"], found["device"]) == (None, None)
    assert found["notes"][0].startswith("No backend")
