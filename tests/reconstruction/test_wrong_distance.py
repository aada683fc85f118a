"""A wrong distance in the near field is told, on its side, and a right one is not doubted."""

import json

import pytest

from ptycho_core.cli.main import main

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(("factor", "said"), [(1.0, None), (0.95, "1.05 x"), (1.05, "0.95 x")])
def test_a_distance_that_is_wrong_by_five_percent_is_told(factor, said, backend, tmp_path):
    scan = str(tmp_path / "scan.npz")
    words = ["--regime", "near", "--object", "random-lines", "--frames", "36", "--step", "10"]
    assert main(["simulate", scan, *words]) == 0
    out = tmp_path / "out"
    distance = ["--detector-distance-m", str(0.1 * factor)]
    assert main(["reconstruct", scan, "-o", str(out), "--backend", backend, "--threads", "1", "--quiet", *distance]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    told = [one for one in metrics["verdict_reasons"] if "distance from sample to detector" in one]
    assert metrics["regime"] == "near"
    if said is None:
        assert not told
    else:
        assert metrics["verdict"] == "doubtful"
        assert said in told[0]
