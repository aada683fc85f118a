"""A result is scored with its scan as that was read."""

import json

import numpy as np
import pytest
import tifffile

from ptycho_core.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "36", "--seed", "2"]) == 0
    with np.load(folder / "scan.npz") as file:
        tifffile.imwrite(folder / "scan.tif", file["intensity"].astype(np.uint32), photometric="minisblack")
        np.savetxt(folder / "where.csv", file["positions_px"] * 1e-7, delimiter=",", header="y_m,x_m")
    words = ["--positions", str(folder / "where.csv"), "--object-pixel-m", "1e-7", "--probe", str(folder / "scan.npz")]
    quick = ["--backend", "reference", "--epochs", "1", "--iterations", "0", "--quiet", "--no-figures"]
    assert main(["reconstruct", str(folder / "scan.tif"), "-o", str(folder / "run"), *words, *quick]) == 0
    return folder


@pytest.mark.parametrize("name", ["scan.tif", "scan.npz"])
def test_the_misfit_is_that_of_the_scan_as_it_was_read(name, folder, capsys):
    """That of another file of the same scan too, which is of another format."""
    words = ["--reference", str(folder / "scan.npz"), "--scan", str(folder / name), "--json"]
    assert main(["score", str(folder / "run"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["misfit"] > 0


def test_a_scan_that_cannot_be_read_says_why(folder, tmp_path, capsys):
    (tmp_path / "a.tif").write_bytes((folder / "scan.tif").read_bytes()[:500])
    words = ["--reference", str(folder / "scan.npz"), "--scan", str(tmp_path / "a.tif")]
    assert main(["score", str(folder / "run"), *words]) == 5
    assert "a.tif" in capsys.readouterr().err
