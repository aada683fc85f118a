"""``--start MODEL``: pty-chi does not infer, so another backend does, and pty-chi goes on from there."""

import json
from pathlib import Path

import numpy as np
import pytest

import ptycho_core
from ptycho_core.backends.discovery import forget
from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction

SMALL = ["--network-width", "4", "--update-steps", "1", "--epochs", "1", "--batch-size", "16", "--threads", "1", "--quiet"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, scan_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("model") / "run"
    assert main(["train", str(scan_file), "-o", str(folder), "--backend", "torch", *SMALL]) == 0
    return folder


def test_pty_chi_begins_with_what_the_network_gives(model, reconstruct, scan_file) -> None:
    inferred = ptycho_core.infer(scan_file, model, backend="torch", threads=1)
    folder, told = reconstruct("--start", str(model), "--epochs", "0")
    start = load_reconstruction(folder)
    rows, columns = inferred.object.shape
    row, column = (inferred.origin - start.origin).astype(int)
    assert np.allclose(start.object[row : row + rows, column : column + columns], inferred.object, atol=1e-5)
    assert f"the start is inferred from {model} by backend torch (the only usable one that infers)" in told
    audit = json.loads((folder / "settings.json").read_text())
    assert (audit["backend"]["name"], audit["start"]["backend"]["name"]) == ("ptychi", "torch")
    assert audit["start"]["process"] == "that of the fit"
    fitted, _ = reconstruct("--start", str(model), "--epochs", "3")
    metrics = [json.loads((place / "metrics.json").read_text())["misfit"] for place in (fitted, folder)]
    assert metrics[0] < metrics[1]


def test_a_framework_that_would_mix_with_pty_chis_infers_in_a_process_of_its_own(model, reconstruct, monkeypatch) -> None:
    import sys

    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "ptychi,tensorflow")
    forget()
    here, _ = reconstruct("--start", str(model), "--epochs", "0", "--quiet")
    assert "tensorflow" not in sys.modules
    audit = json.loads((here / "settings.json").read_text())["start"]
    assert (audit["backend"]["name"], audit["process"]) == ("tensorflow", "its own")
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "ptychi,torch,tensorflow")
    there, told = reconstruct("--start", str(model), "--epochs", "0", "--start-backend", "torch")
    assert "by backend torch (start_backend)" in told
    one, other = (load_reconstruction(place).object for place in (here, there))
    assert np.linalg.norm(one - other) < 1e-4 * np.linalg.norm(other)
    words = ["--backend", "ptychi", "--start", str(model), "-o", str(here.parent / "none")]
    assert main(["reconstruct", "sample:siemens-star", *words]) != 0
    assert not (here.parent / "none").exists()


def test_compare_tells_which_of_two_is_better(scan_file, tmp_path) -> None:
    quick = ["--epochs", "3", "--threads", "1", "--quiet"]
    words = ["compare", str(scan_file), "--backends", "torch,ptychi", "-o", str(tmp_path / "compared"), *quick]
    assert main(words) == 0
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())["entries"]
    assert [entry["state"] for entry in found] == ["ok", "ok"]
    assert all(entry["quality"]["nrmse"] < 0.4 for entry in found)
    assert found[1]["agreement"]["nrmse"] > 0
