"""What ``config explain``, the payload, the run folder and the model file say of each setting is one and the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import read_model_manifest
from ptycho_core.settings.payload import create_inference_payload, create_reconstruction_payload, create_training_payload

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

ASKED = ["--seed", "3", "--accelerator", "cpu", "--precision", "float64", "--no-deterministic", "--quiet"]
SMALL = ["--epochs", "1", "--network-width", "4", "--update-steps", "2", "--batch-size", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, backend: str) -> Path:
    """A scan, a trained model and a settings file, in a process whose framework has started: what it fixes then is fixed."""
    folder = tmp_path_factory.mktemp("audit")
    assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "36", "--seed", "8"]) == 0
    words = [str(folder / "scan.npz"), "-o", str(folder / "run"), "--backend", backend, *SMALL, "--quiet"]
    assert main(["train", *words]) == 0
    (folder / "run.toml").write_text(f"[execution]\nbackend = '{backend}'\nthreads = 1\nseed = 9\n[reconstruction]\nepochs = 1\n")
    return folder


Printed = Callable[..., dict[str, Any]]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    def printed(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        status = main(list(words))
        out, err = capsys.readouterr()
        assert status == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    return printed


def as_typed(audit: Any, explained: dict[str, Any]) -> dict[str, Any]:
    """The audit of a payload made from a dictionary, with the flags of the command line as the places of what was asked."""
    plain: dict[str, Any] = json.loads(json.dumps(audit))
    for name, entry in plain["settings"].items():
        if entry["origin"] == "override":
            assert entry["where"] == f"override '{name}'"
            entry["where"] = explained["settings"][name]["where"]
    return plain


OVERRIDES = {"seed": 3, "accelerator": "cpu", "precision": "float64", "deterministic": False, "progress": False}


@pytest.mark.parametrize("verb", ["train", "infer", "reconstruct"])
def test_four_places_say_the_same(verb: str, folder: Path, tmp_path: Path, printed: Printed) -> None:
    scan, run, config, out = folder / "scan.npz", folder / "run", folder / "run.toml", tmp_path / "out"
    model = ["--model", str(run)] if verb == "infer" else []
    small = SMALL if verb == "train" else []
    words = [str(scan), *model, "-o", str(out), "--config", str(config), *ASKED, *small]
    explained = printed("config", "explain", verb, *words, "--json")

    asked = dict(OVERRIDES) | ({"epochs": 1, "network_width": 4, "update_steps": 2, "batch_size": 12} if small else {})
    make: dict[str, Callable[[], Any]] = {
        "train": lambda: create_training_payload([scan], out, asked, config_file=config),
        "infer": lambda: create_inference_payload(run, scan, out, asked, config_file=config),
        "reconstruct": lambda: create_reconstruction_payload(scan, out, asked, config_file=config),
    }
    assert as_typed(make[verb]().audit, explained) == explained

    planned = printed(verb, *words, "--dry-run", "--json")
    assert not out.exists()
    assert main([verb, *words]) == 0
    kept = json.loads((out / "settings.json").read_text())
    scans = kept.pop("scans", [])
    assert kept == explained
    if verb == "train":
        for name in ("best.ptycho", "last.ptycho"):
            stored = dict(read_model_manifest(out / name)["settings"])
            assert stored.pop("scans") == scans
            assert stored == explained
    else:
        assert load_reconstruction(out).settings == explained
    assert sorted(planned["writes"]) == sorted(path.name for path in out.iterdir())

    seed, threads = explained["settings"]["seed"], explained["settings"]["threads"]
    assert (seed["value"], seed["effective"], seed["origin"], seed["where"]) == (3, 3, "override", "--seed 3")
    assert next(one["origin"] for one in seed["beat"]) == "file"
    assert (threads["value"], threads["origin"], threads["requested"]) == (1, "file", True)
    for entry in explained["settings"].values():
        assert (entry["disposition"] is not None) == entry["requested"]
        if entry["requested"] and entry["disposition"]["kind"] == "applied":
            assert entry["effective"] == entry["value"] or entry["value"] == "auto"


@pytest.mark.parametrize("verb", ["train", "infer", "reconstruct"])
def test_a_dry_run_reads_no_pattern(verb: str, folder: Path, tmp_path: Path, printed: Printed, backend: str) -> None:
    with np.load(folder / "scan.npz") as file:
        arrays = {name: file[name] for name in file.files}
    counts = max(arrays.values(), key=lambda one: one.ndim * 1000 + one.size)
    path = tmp_path / "scan.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    place = content.index(counts.tobytes())
    content[place + counts.nbytes - 1] ^= 0xFF  # its checksum no longer holds
    path.write_bytes(content)
    model = ["--model", str(folder / "run")] if verb == "infer" else []
    words = [verb, str(path), *model, "-o", str(tmp_path / "out"), "--backend", backend]
    assert printed(*words, "--dry-run", "--json")["backend"]["name"] == backend
    assert [one.name for one in tmp_path.iterdir()] == ["scan.npz"]
