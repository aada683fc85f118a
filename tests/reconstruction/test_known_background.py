"""A background that is known: in the model of every pattern, and no unknown of the fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.imaging.metrics import score
from ptycho_core.simulate import simulate_scan

FIT = {"threads": 1, "progress": False, "figures": False}
SIZE = 32


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """A scan without a background, the same with one, and that background, which leans."""
    folder = tmp_path_factory.mktemp("background")
    whole = simulate_scan(size=SIZE, frames=81, seed=5, photons=2e5)
    image = np.add.outer(np.linspace(1, 12, SIZE), np.linspace(0, 8, SIZE))
    arrays = {
        "positions_px": whole.positions, "probe_guess": whole.probe_guess, "probe_in_counts": np.array(True),
        "object_true": whole.object_true,
    }  # fmt: skip
    more = np.random.default_rng(0).poisson(np.broadcast_to(image, whole.intensity.shape))
    write_plain_npz(folder / "plain.npz", arrays | {"intensity": whole.intensity})
    write_plain_npz(folder / "more.npz", arrays | {"intensity": (whole.intensity + more).astype(np.uint32)})
    np.save(folder / "background.npy", image)
    return folder / "plain.npz", folder / "more.npz", image


def test_the_object_is_nearly_that_without_a_background(made: Any, tmp_path: Path, backend: str) -> None:
    plain, scan, image = made
    best = score(ptycho_core.reconstruct(plain, backend=backend, **FIT), plain).nrmse
    left_out = score(ptycho_core.reconstruct(scan, backend=backend, **FIT), scan).nrmse
    known = {"background_file": str(scan.parent / "background.npy")}
    found = ptycho_core.reconstruct(scan, tmp_path / "out", backend=backend, **FIT, **known)
    assert found.background == pytest.approx(image, rel=1e-5)
    assert found.facts["verdict"] == "good", found.facts["verdict_reasons"]
    reached = score(found, scan).nrmse
    assert reached < 2 * best
    assert reached < 0.3 * left_out


def test_one_pass_models_it_too(made: Any, backend: str) -> None:
    plain, scan, _ = made
    best, left_out = (score(ptycho_core.infer(one, backend=backend, **FIT), one).nrmse for one in (plain, scan))
    found = ptycho_core.infer(scan, backend=backend, background_file=str(scan.parent / "background.npy"), **FIT)
    assert score(found, scan).nrmse < best + 0.3 * (left_out - best)


def test_a_fit_of_each_pixel_begins_with_it(made: Any, backend: str) -> None:
    _, scan, image = made
    np.save(scan.parent / "half.npy", image / 2)
    asked = {"background_file": str(scan.parent / "half.npy"), "background": "pixel"}
    found = ptycho_core.reconstruct(scan, backend=backend, **FIT, **asked)
    assert np.abs(found.background - image).mean() < 0.3 * np.abs(image / 2 - image).mean()
    with pytest.raises(SettingsError, match="exclude each other"):
        ptycho_core.reconstruct(scan, backend=backend, **FIT, **asked | {"background": "constant"})


def test_it_follows_the_patterns(made: Any, tmp_path: Path) -> None:
    plain, _, image = made
    with np.load(plain) as file:
        arrays = {name: file[name] for name in ("intensity", "positions_px", "probe_guess")}
    write_plain_npz(tmp_path / "keyed.npz", arrays | {"background": image})
    path = tmp_path / "keyed.npz"
    assert ptycho_core.open_scan(path).background == pytest.approx(image)
    assert ptycho_core.open_scan(path, {"size": 16}).background == pytest.approx(image[8:24, 8:24])
    binned = ptycho_core.open_scan(path, {"bin": 2}).background
    assert binned[8, 8] == pytest.approx(image[16:18, 16:18].sum())
    assert ptycho_core.open_scan(path, {"size": 40}).background.sum() == pytest.approx(image.sum())
    scaled = ptycho_core.open_scan(path, {"photons": 1e4})
    assert scaled.background == pytest.approx(image * scaled.counts_factor)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda image: image[:-1], r"has shape \(31, 32\) but the patterns are 32 x 32"),
        (lambda image: image - 4, "holds -3 in the good pixel of row 0, column 0"),
        (lambda image: np.where(image > 18, np.nan, image), "holds nan in the good pixel"),
        (lambda image: image.astype(complex), "is of type complex128"),
    ],
    ids=["another shape", "negative", "no number", "complex"],
)
def test_what_is_no_background_is_refused(spoil: Any, said: str, made: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", spoil(made[2]))
    with pytest.raises(DataError, match=said):
        ptycho_core.open_scan(made[1], {"background_file": str(tmp_path / "bad.npy")})
