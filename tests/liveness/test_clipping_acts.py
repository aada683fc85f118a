"""``--clip-negative`` takes counts that are refused without it: the real commands, twice each."""

import numpy as np
import pytest
from liveness_table import VERBS
from quick import QUICK, scan_and_model

from ptycho_core.cli.main import main
from ptycho_core.formats.opening import open_scan

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """A scan, the same with the noise of a detector round zero, and a model."""
    folder = tmp_path_factory.mktemp("clip")
    scan_and_model(folder, train)
    with np.load(folder / "scan.npz") as file:
        arrays = dict(file)
    arrays["intensity"] = arrays["intensity"] + np.random.default_rng(3).normal(0, 0.4, arrays["intensity"].shape)
    np.savez(folder / "noisy.npz", **arrays)
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_clipping_acts(verb, folder, backend, tmp_path, capsys):
    model = ["--model", str(folder / "model")] if verb == "infer" else []
    words = [verb, str(folder / "noisy.npz"), *model, "--backend", backend, *QUICK[verb], "--quiet"]
    assert main([*words, "-o", str(tmp_path / "refused")]) == 5
    assert "--clip-negative" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "clipped"), "--clip-negative"]) == 0, capsys.readouterr().err
    clipped = open_scan(folder / "noisy.npz", {"clip_negative": True}).patterns.read(slice(None))
    with np.load(folder / "noisy.npz") as file:
        np.testing.assert_allclose(clipped, np.maximum(file["intensity"], 0), rtol=1e-6)
