"""A wrong distance in the near field is told, on its side, and a right one is not doubted."""

import json

import pytest

from ptycho_core.cli.main import main

pytestmark = pytest.mark.usefixtures("undrawn")

NEAR = ("--regime", "near", "--frames", "36", "--step", "10")
LINES = ("--object", "random-lines")


def reasons(folder, backend, simulated, asked):
    """The verdict of a fit of a scan in the near field, and what of its reasons is about the distance."""
    scan, out = str(folder / "scan.npz"), folder / "out"
    assert main(["simulate", scan, *NEAR, *simulated]) == 0
    assert main(["reconstruct", scan, "-o", str(out), "--backend", backend, "--threads", "1", "--quiet", *asked]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["regime"] == "near"
    return metrics["verdict"], [one for one in metrics["verdict_reasons"] if "distance from sample to detector" in one]


@pytest.mark.parametrize(("distance", "said"), [("0.095", "1.05 x"), pytest.param("0.105", "0.95 x", marks=pytest.mark.long)])
def test_a_distance_that_is_wrong_by_five_percent_is_told(distance, said, backend, tmp_path):
    verdict, told = reasons(tmp_path, backend, LINES, ["--detector-distance-m", distance])
    assert verdict == "doubtful"
    assert said in told[0]


@pytest.mark.parametrize(
    ("simulated", "asked"),
    [
        ((*LINES, "--saturation", "700"), ("--epochs", "10", "--iterations", "10")),  # with bounds that are taken as counts: 20
        (("--photons", "5e7"), ("--iterations", "10")),  # a fit that has not settled: 5
    ],
    ids=["saturated", "unsettled"],
)
def test_a_right_distance_is_not_doubted(simulated, asked, backend, tmp_path):
    assert not reasons(tmp_path, backend, simulated, asked)[1]
