"""``--margin`` widens the window around a detector in the near field: the real commands, twice each."""

import pytest
from liveness_table import VERBS
from quick import QUICK

from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize("verb", VERBS)
def test_the_margin_acts(verb, backend, tmp_path, capsys):
    scan = str(tmp_path / "scan.npz")
    assert main(["simulate", scan, "--regime", "near", "--size", "32", "--frames", "36", "--step", "6", "--seed", "8"]) == 0
    found = []
    for word in ("0", "8"):
        words = [verb, scan, "--backend", backend, *QUICK[verb], "--quiet", "-o", str(tmp_path / word), "--margin", word]
        assert main(words) == 0, capsys.readouterr().err
        found.append(
            load_model(tmp_path / word / "last.ptycho").size if verb == "train" else load_reconstruction(tmp_path / word).N
        )
    assert found == [32, 48]
