"""Figures and the result folder: they exist, have their size, and show something."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ptycho_core.formats.product import Reconstruction
from ptycho_core.imaging.figures import (
    figure_of_losses,
    figure_of_object,
    figure_of_probe,
    figure_of_score,
    flattened,
    save_figure,
)
from ptycho_core.imaging.metrics import score
from ptycho_core.imaging.report import write_json, write_results

HISTORY = [{"stage": "first" if n < 4 else "last", "epoch": n, "loss": 9.0 / (n + 1), "misfit": 0.5 / (n + 1)} for n in range(8)]


def image_of(path):
    from matplotlib.image import imread

    return imread(path)


def some_object():
    rows, columns = np.mgrid[:90, :100]
    return (1 + 0.3 * np.sin(rows / 4)) * np.exp(1j * np.cos(columns / 5))


@pytest.fixture
def reconstruction():
    rng = np.random.default_rng(0)
    positions = rng.uniform(5, 65, (30, 2))
    return Reconstruction(some_object(), rng.normal(size=(3, 24, 24)) + 0j, positions, history=HISTORY)


def test_each_figure_has_its_size_and_is_not_blank(tmp_path, reconstruction):
    one = reconstruction
    figures = {
        "object": figure_of_object(one.object, positions=one.positions, window=24),
        "metres": figure_of_object(one.object, pixel_size_m=(1e-8, 1e-8)),
        "probe": figure_of_probe(one.probe),
        "losses": figure_of_losses(HISTORY),
        "score": figure_of_score(score(one, one)),
    }
    for name, figure in figures.items():
        pixels = image_of(save_figure(figure, tmp_path / f"{name}.png", dpi=50))
        width, height = figure.get_size_inches()
        assert pixels.shape[:2] == (int(height * 50), int(width * 50)), name
        assert pixels[..., :3].std() > 0.02, name


def test_a_scale_bar_is_in_metres_only_with_a_pixel_size():
    def labels(figure):
        return [text.get_text() for text in figure.axes[0].texts]

    assert labels(figure_of_object(some_object())) == ["20 px"]
    assert labels(figure_of_object(some_object(), pixel_size_m=(1e-8, 1e-8))) == ["200 nm"]
    assert labels(figure_of_object(some_object(), pixel_size_m=(1e-7, 1e-7))) == ["2 µm"]


def test_the_phase_is_shown_without_ramp_and_median():
    rows, columns = np.mgrid[:80, :80]
    bump = 0.5 * np.exp(-((rows - 40) ** 2 + (columns - 40) ** 2) / 60)
    everywhere = (slice(None), slice(None))
    phase = np.angle(flattened(np.exp(1j * (bump + 0.7 * rows - 1.1 * columns + 2)), everywhere))
    assert np.median(phase) == pytest.approx(0, abs=1e-9)
    assert np.abs(phase - bump).max() < 0.05


def test_losses_without_any_row_still_give_a_figure(tmp_path):
    assert save_figure(figure_of_losses([]), tmp_path / "losses.png").stat().st_size > 1000


def test_a_result_folder_holds_everything(tmp_path, reconstruction):
    settings = {"modes": {"value": 3, "source": "default"}}
    (tmp_path / "out").mkdir()
    files = write_results(tmp_path / "out", reconstruction, settings=settings, metrics={"misfit": np.float32(0.5), "bad": np.nan})
    expected = {"reconstruction.h5", "settings.json", "metrics.json", "object.png", "probe.png", "losses.png"}
    assert {file.name for file in files} == {file.name for file in (tmp_path / "out").iterdir()} == expected
    assert json.loads((tmp_path / "out/settings.json").read_text()) == settings
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == {"misfit": 0.5, "bad": None, "notes": []}


def test_without_figures_folders_are_complete_and_nothing_that_draws_is_imported(tmp_path):
    scan, quick = str(tmp_path / "scan.npz"), ["--epochs", "1", "--iterations", "1", "--no-figures"]
    commands = [
        ["simulate", scan, "--object", "random-lines", "--size", "32", "--frames", "16"],
        ["reconstruct", scan, "-o", str(tmp_path / "one"), *quick, "--backend", "reference"],
        ["compare", scan, "-o", str(tmp_path / "two"), *quick, "--backends", "reference"],
    ]
    code = (
        "import json, sys; from ptycho_core.cli.main import main\n"
        "assert not any(main(words) for words in json.loads(sys.argv[1]))\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps(commands)], check=True, timeout=120)
    for seal in ("one/metrics.json", "two/reference/metrics.json", "two/comparison.json"):
        assert (tmp_path / seal).exists()
    assert not [*tmp_path.rglob("*.png")]


def test_json_is_replaced_whole(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    write_json(tmp_path / "a.json", {"path": tmp_path, "array": np.arange(2)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": str(tmp_path), "array": [0, 1]}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_drawing_leaves_nothing_in_the_home_folder_nor_among_temporary_files(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR" and not name.startswith("XDG_")}
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    code = (
        "import numpy as np; from pathlib import Path; from ptycho_core.imaging.figures import *; "
        f"save_figure(figure_of_object(np.ones((20, 20), complex)), Path({str(tmp_path / 'a.png')!r}))"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment | {"HOME": str(home), "TMPDIR": str(temporary)}, timeout=120
    )
    assert (tmp_path / "a.png").exists()
    assert not list(home.iterdir())
    assert not list(temporary.iterdir())
