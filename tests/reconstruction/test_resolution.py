"""`ptycho resolution` reconstructs two halves of a scan, each by itself, and says where their Fourier ring correlation falls."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.reconstruction.halves import LEAST_FRAMES, split_in_halves
from ptycho_core.simulate import simulate_scan

QUICK = ("--quiet", "--threads", "1")
GEOMETRY = ("--photon-energy-ev", "8000", "--detector-distance-m", "1", "--detector-pixel-size-m", "75e-6")


def written(path: Path, **settings: object) -> Path:
    return simulate_scan(**{"size": 32, "frames": 144, "photons": 1e5, "seed": 4, **settings}).write(path)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("scan") / "scan.npz")


@pytest.mark.parametrize("number", [16, 17, 101])
def test_each_frame_is_in_one_half_and_neighbors_are_apart(number: int) -> None:
    first, second = split_in_halves(number, 3)
    assert sorted([*first, *second]) == list(range(number))
    assert abs(len(first) - len(second)) <= 1
    assert np.array_equal(first // 2, np.arange(number // 2))
    assert not np.array_equal(first, split_in_halves(number, 4)[0])


def test_the_correlation_of_two_halves_is_written_and_told_in_nanometers(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main(["resolution", str(scan), "-o", str(folder), *QUICK, *GEOMETRY]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = json.loads((folder / "resolution.json").read_text())
    assert {path.name for path in folder.iterdir()} == {"resolution.json", "resolution.png"}
    assert values["frames"] == [72, 72]
    assert values["verdicts"] == ["good", "good"]
    pixel = values["pixel_size_m"]
    assert pixel == pytest.approx(12.398419843320026e-7 / 8000 * 1 / (32 * 75e-6), rel=1e-6)
    for name, line in (("seventh", lines[0]), ("half", lines[1])):
        crossing = values[f"frc_{name}"]
        told = f"{1e9 * pixel / (crossing or 1):.3g} nm"
        assert told in line
    assert values["frc"]["correlation"][0] > 0.99
    assert main(["resolution", str(scan), "-o", str(folder), *QUICK]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_fewer_photons_correlate_less_far(scan: Path, tmp_path: Path) -> None:
    dim = written(tmp_path / "dim.npz", photons=3e3)
    bright, faint = (ptycho_core.resolution(path, threads=1, progress=False) for path in (scan, dim))
    nyquist = 1.0
    assert (faint.score.frc.crossing(1 / 2) or nyquist) < 0.8 * (bright.score.frc.crossing(1 / 2) or nyquist)
    noise = ptycho_core.resolution(dim, threads=1, progress=False, seed=1).score.frc.correlation
    assert not np.array_equal(noise, faint.score.frc.correlation), "other halves"


def test_what_makes_no_halves_is_refused(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = written(tmp_path / "small.npz", frames=LEAST_FRAMES - 1)
    assert main(["resolution", str(small), *QUICK]) == 5
    assert f"has {LEAST_FRAMES - 1} frames: too few for two halves" in capsys.readouterr().err
    assert main(["resolution", str(scan), *QUICK, "--start", str(scan)]) == 2
    assert "not independent" in capsys.readouterr().err
    assert main(["resolution", str(scan), *QUICK, "--logger", "csv"]) == 2
    assert "--logger" in capsys.readouterr().err


def test_its_plan_names_the_files_that_it_writes(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resolution", str(scan), "-o", str(tmp_path / "out"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["writes"] == ["resolution.json", "resolution.png"]
    inside = tmp_path / "resolution.png"
    inside.mkdir()
    assert main(["resolution", str(scan), "-o", str(tmp_path), "--overwrite", *QUICK]) == 2
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("refine", [True, False])
def test_a_row_for_each_frame_says_how_it_fits(refine: bool, tmp_path: Path) -> None:
    simulated = simulate_scan(size=32, frames=81, photons=1e5, seed=4)
    path = simulated.write(tmp_path / "scan.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["intensity"][30] = arrays["intensity"][31]
    arrays["intensity"][7] = 0
    np.savez(tmp_path / "bad.npz", **arrays)
    folder = tmp_path / "out"
    more = ["--refine-positions", "--epochs", "6"] if refine else []
    assert main(["reconstruct", str(tmp_path / "bad.npz"), "-o", str(folder), *QUICK, *more]) == 0
    rows = list(csv.DictReader((folder / "frames.csv").read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == [n for n in range(81) if n != 7], "without the one that holds no counts"
    result = ptycho_core.load_reconstruction(folder)
    places = np.array([[float(row["row"]), float(row["column"])] for row in rows])
    assert places == pytest.approx(result.positions + result.origin, abs=1e-9)
    shifts = np.array([[float(row["shift_row"]), float(row["shift_column"])] for row in rows])
    stated = np.delete(simulated.positions, 7, axis=0)
    assert places - shifts == pytest.approx(stated, abs=1e-9)
    counts = np.delete(arrays["intensity"].sum(axis=(1, 2)), 7)
    assert [float(row["counts"]) for row in rows] == pytest.approx(counts.tolist())
    misfits = np.array([float(row["misfit"]) for row in rows])
    assert shifts.any() == refine
    if not refine:
        assert rows[int(np.argmax(misfits))]["frame"] == "30"
    held_out = [place for place, row in enumerate(rows) if row["held_out"] == "1"]
    assert held_out == result.held_out.tolist()
    assert (folder / "frames.png").exists()
