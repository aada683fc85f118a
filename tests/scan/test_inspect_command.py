"""``ptycho inspect``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.simulate import simulate_scan


@pytest.fixture
def scan(tmp_path):
    return simulate_scan(size=32, frames=30, photons=1e4, seed=4).write(tmp_path / "scan.npz")


def test_inspect_says_what_is_in_a_file_and_writes_nothing(scan, tmp_path, capsys):
    assert main(["inspect", str(scan)]) == 0
    out, err = capsys.readouterr()
    for words in ("plain npz", "30 of 32 x 32 pixels, stored as uint16 counts", "linear", "in counts", "object pixels"):
        assert words in out
    assert err == ""
    assert list(tmp_path.iterdir()) == [scan]


def test_inspect_as_json_holds_the_numbers_of_the_file(scan, capsys):
    assert main(["inspect", str(scan), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    counts = np.load(scan)["intensity"]
    assert facts["patterns"] == {"shape": [30, 32, 32], "dtype": "uint16", "signal": "counts"}
    assert facts["counts"]["mean"] == pytest.approx(counts.sum() / 30)
    assert facts["counts"]["peak"] == counts.max()
    assert facts["counts"]["zeros"] == pytest.approx((counts == 0).mean())
    assert facts["probe"]["in_counts"] is True
    assert facts["probe"]["sum_of_squares"] == pytest.approx(1e4, rel=1e-5)
    assert 0.5 < facts["overlap"] < 0.9


def test_data_settings_change_what_inspect_reads(scan, capsys, tmp_path):
    good = np.ones((32, 32), bool)
    good[16, 16] = False
    np.save(tmp_path / "mask.npy", good)
    flags = ["--signal", "amplitude", "--mask", str(tmp_path / "mask.npy"), "--photon-energy-ev", "12398.41984"]
    flags += ["--detector-distance-m", "1", "--detector-pixel-size-m", "1e-4"]
    assert main(["inspect", str(scan), "--json", *flags]) == 0
    facts = json.loads(capsys.readouterr().out)
    counts = np.load(scan)["intensity"].astype(float)
    assert facts["patterns"]["signal"] == "amplitude"
    assert facts["counts"]["mean"] == pytest.approx((counts**2)[:, good].sum() / 30, rel=1e-5)
    assert facts["bad_pixels"] == 1
    assert facts["geometry"]["object_pixel_m"] == pytest.approx(1e-10 / (32 * 1e-4), rel=1e-6)


def test_frame_axis_is_passed_on(tmp_path, capsys):
    cube = np.arange(8.0**3, dtype=np.float32).reshape(8, 8, 8)
    np.savez(tmp_path / "cube.npz", diffraction=cube, xcoords=np.arange(8.0), ycoords=np.arange(8.0))
    faintest = []
    for word in ("first", "last"):
        assert main(["inspect", str(tmp_path / "cube.npz"), "--frame-axis", word, "--json"]) == 0
        faintest.append(json.loads(capsys.readouterr().out)["counts"]["faintest"])
    assert faintest == pytest.approx([(cube[0] ** 2).sum(), (cube[..., 0] ** 2).sum()])


def test_plot_is_a_picture_and_is_replaced_only_when_asked(scan, tmp_path, capsys):
    picture = tmp_path / "scan.png"
    assert main(["inspect", str(scan), "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["inspect", str(scan), "--plot", str(picture)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["inspect", str(scan), "--plot", str(picture), "--overwrite"]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"scan.npz", "scan.png"}


def test_plot_of_a_scan_without_probe_and_with_geometry_is_drawn(tmp_path):
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "scan.npz", intensity=random.poisson(3, (9, 16, 16)), positions_px=random.uniform(0, 9, (9, 2)),
        photon_energy_ev=9e3, detector_distance_m=1.0, detector_pixel_size_m=1e-4, mask=np.arange(256).reshape(16, 16) > 20,
    )  # fmt: skip
    assert main(["inspect", str(tmp_path / "scan.npz"), "--plot", str(tmp_path / "scan.png")]) == 0
    assert (tmp_path / "scan.png").stat().st_size > 10_000


def test_doubts_are_told_where_the_numbers_look_wrong(tmp_path, capsys):
    counts = np.zeros((5, 16, 16), np.float32)
    counts[1:, 0, 0] = 50
    np.savez(
        tmp_path / "scan.npz", diffraction=counts, xcoords=np.arange(5.0) * 100, ycoords=np.zeros(5), probeGuess=np.eye(16) + 0j
    )
    assert main(["inspect", str(tmp_path / "scan.npz")]) == 0
    out = capsys.readouterr().out
    for words in ("1 patterns hold no counts", "is zero frequency at the centre?", "hardly overlap", "give --signal counts"):
        assert words in out
