"""``--frame-axis`` decides how a file is read whose shape does not tell: the real commands, twice each."""

import numpy as np
import pytest
from liveness_table import VERBS
from quick import QUICK, scan_and_model

from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """As many frames as a frame has rows, in a layout that says not which axis counts them; and a model."""
    folder = tmp_path_factory.mktemp("axis")
    scan_and_model(folder, train)
    with np.load(folder / "scan.npz") as file:
        counts = next(file[name] for name in ("intensity", "diffraction") if name in file.files)[:32]
        rows, columns = file["positions_px"][:32].T
        np.savez(folder / "cube.npz", diffraction=counts, xcoords=columns, ycoords=rows, probeGuess=file["probe_guess"][0])
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_the_frame_axis_acts(verb, folder, backend, tmp_path, capsys):
    found = []
    for word in ("first", "last"):
        model = ["--model", str(folder / "model")] if verb == "infer" else []
        words = [verb, str(folder / "cube.npz"), *model, "--backend", backend, *QUICK[verb], "--quiet"]
        assert main([*words, "-o", str(tmp_path / word), "--frame-axis", word]) == 0, capsys.readouterr().err
        if verb == "train":
            found.append(np.concatenate([one.ravel() for one in load_model(tmp_path / word / "last.ptycho").weights.values()]))
        else:
            found.append(load_reconstruction(tmp_path / word).object)
    assert found[0].shape == found[1].shape
    assert not np.allclose(*found)
    assert main([*words, "-o", str(tmp_path / "neither")]) == 5
    assert "--frame-axis" in capsys.readouterr().err
