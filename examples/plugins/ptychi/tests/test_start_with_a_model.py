"""``--start MODEL``: pty-chi does not infer, so another backend does by a command before, and pty-chi starts from its result."""

import json
from pathlib import Path

import pytest

from ptycho_core.cli.main import main

SMALL = ["--network-width", "4", "--update-steps", "1", "--epochs", "1", "--batch-size", "16", "--threads", "1", "--quiet"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, scan_file: Path) -> Path:
    folder = tmp_path_factory.mktemp("model") / "run"
    assert main(["train", str(scan_file), "-o", str(folder), "--backend", "torch", *SMALL]) == 0
    return folder


def test_a_model_as_the_start_is_refused_and_the_two_commands_that_are_named_do_it(model, scan_file, tmp_path, capsys) -> None:
    words = ["reconstruct", str(scan_file), "--backend", "ptychi", "-o", str(tmp_path / "none"), "--start", str(model)]
    assert main(words) == 4
    message = capsys.readouterr().err
    assert f"'ptycho infer {scan_file} --model {model} --backend torch -o DIR'" in message
    assert f"'ptycho reconstruct {scan_file} --backend ptychi --start DIR ...'" in message
    assert not (tmp_path / "none").exists()

    inferred, fitted = tmp_path / "inferred", tmp_path / "fitted"
    quick = ["--threads", "1", "--quiet"]
    first = ["infer", str(scan_file), "--model", str(model), "--backend", "torch", "-o", str(inferred), *quick]
    assert main(first) == 0
    second = ["reconstruct", str(scan_file), "--backend", "ptychi", "--start", str(inferred), "-o", str(fitted), *quick]
    assert main([*second, "--epochs", "3"]) == 0
    metrics = [json.loads((place / "metrics.json").read_text())["misfit"] for place in (fitted, inferred)]
    assert metrics[0] < metrics[1]


def test_compare_tells_which_of_two_is_better(scan_file, tmp_path) -> None:
    quick = ["--epochs", "3", "--threads", "1", "--quiet"]
    words = ["compare", str(scan_file), "--backends", "torch,ptychi", "-o", str(tmp_path / "compared"), *quick]
    assert main(words) == 0
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())["entries"]
    assert [entry["state"] for entry in found] == ["ok", "ok"]
    assert all(entry["quality"]["nrmse"] < 0.4 for entry in found)
    assert found[1]["agreement"]["nrmse"] > 0
