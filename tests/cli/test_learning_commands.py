"""The commands ``train``, ``infer`` and ``reconstruct --start``, end to end."""

import json
import signal
import time

import pytest

import ptycho_core
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

QUICK = {"network_width": 8, "update_steps": 4, "threads": 1, "batch_size": 12}


def test_a_network_learns_a_scan_and_infers_another(scans, tmp_path):
    model = ptycho_core.train(scans[0], tmp_path / "run", validation=[scans[1]], epochs=8, **QUICK)
    rows = load_model(tmp_path / "run" / "last.ptycho").history
    assert rows[-1]["loss"] < 0.98 * rows[0]["loss"]
    assert rows[-1]["loss"] < 0.5 * rows[-1]["trivial_loss"]
    assert model.history[-1]["validation_loss"] == min(row["validation_loss"] for row in rows)
    ptycho_core.infer(scans[1], tmp_path / "run", tmp_path / "out", threads=1)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["misfit"] < 0.25
    assert ptycho_core.score(tmp_path / "out", scans[1]).correlation > 0.9


def test_the_command_stops_at_ctrl_c_with_a_checkpoint_and_status_130(scans, tmp_path, started):
    running = started("train", scans[0], "-o", tmp_path / "run", "--epochs", "100000")
    running.await_line("train")  # a line of progress: it is at work
    time.sleep(0.5)
    running.process.send_signal(signal.SIGINT)
    status, out, _ = running.end()
    assert status == 130
    assert f"continues from {tmp_path / 'run' / 'last.ptycho'}" in out
    load_model(tmp_path / "run" / "last.ptycho", training=True)


def test_a_fit_that_starts_with_a_trained_model_is_ahead_of_one_that_starts_flat(scans, tmp_path):
    ptycho_core.train(list(scans), tmp_path / "run", epochs=10, **QUICK)
    fit = {"epochs": 1, "iterations": 0, "coarse_start": False, "threads": 1}
    flat = ptycho_core.reconstruct(scans[1], **fit)
    warm = ptycho_core.reconstruct(scans[1], start=str(tmp_path / "run"), **fit)
    assert warm.history[0]["misfit"] < flat.history[0]["misfit"]
