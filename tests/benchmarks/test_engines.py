"""The script that runs engines of several programs over one scan: its clock, and engines that are absent."""

import sys
from pathlib import Path

import pytest

from ptycho_core.cli.main import main


@pytest.fixture
def engines(monkeypatch):
    """The script, which sets variables for the processes that it starts."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TQDM_DISABLE", "MPLBACKEND", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    import engines

    return engines


def test_levels_are_reached_in_order_on_a_clock_that_leaves_scoring_out(engines, tmp_path):
    path = tmp_path / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "64", "--whole-pixels", "--seed", "3"]) == 0
    watch = engines.by_ptycho("numpy", epochs=4, iterations=4)(path)
    reached = [at for at in watch.reached.values() if at is not None]
    assert watch.nrmse < 0.2
    assert reached == sorted(reached)
    assert watch.seconds > 0
    assert watch.scoring > 0


def test_an_engine_that_is_not_installed_is_named(engines, monkeypatch, capsys):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    monkeypatch.setattr(engines, "SCAN", ["--size", "16", "--frames", "9"])
    monkeypatch.setattr(sys, "argv", ["engines.py", "PtyLab"])
    engines.main()
    assert capsys.readouterr().out.splitlines()[-2:] == ["|---|---|---|---|---|---|", "| PtyLab mPIE | not installed |"]
