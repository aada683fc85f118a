"""The probes of a model: masked and smoothed as asked, in counts, with as many modes as asked."""

from types import SimpleNamespace

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.scan.scan import Scan, empty_counts
from ptycho_core.settings.model import ModelSettings
from ptycho_core.training.prepare import initial_model
from ptycho_core.training.probe import probe_in_counts, shaped_probe

N = 32
ROWS, COLUMNS = np.indices((N, N))


def disc(row=16.0, column=16.0, width=20.0):
    return (np.hypot(ROWS - row, COLUMNS - column) < width / 2).astype(np.complex128)[None]


class Patterns:
    """Every pattern is that of an empty object times a transmission."""

    def __init__(self, pattern):
        self.shape, self.dtype, self.pattern = (10, N, N), np.dtype(np.float32), pattern

    def __len__(self):
        return 10

    def read(self, frames):
        return np.stack([self.pattern] * len(np.arange(10)[frames])).astype(np.float32)


def scan_of(probe, *, stated, transmission=0.5, mask=None, counts=1e4):
    scaled = probe * np.sqrt(counts / (np.abs(probe) ** 2).sum())
    good = np.ones((N, N), bool) if mask is None else mask
    far = (np.abs(np.fft.fftshift(np.fft.fft2(scaled, norm="ortho"), axes=(1, 2))) ** 2).sum(0)
    given = scaled if stated else probe
    positions = np.argwhere(np.ones((2, 5))).astype(float)
    return Scan(Patterns(transmission * far * good), positions, good, probe=given, probe_scaled=stated)


def asked(**changes):
    return {name: getattr(ModelSettings(), name) for name in ModelSettings.__dataclass_fields__} | changes


def test_a_mask_keeps_a_disc_around_the_centre_of_intensity():
    probe = disc(row=12, column=19)
    shaped = shaped_probe(probe, asked(probe_smoothing=0, probe_mask_diameter=10, probe_mask_edge=4))
    distance = np.hypot(ROWS - 12, COLUMNS - 19)
    assert np.array_equal(shaped[0, distance < 2.9], probe[0, distance < 2.9])
    assert np.abs(shaped[0, distance > 7.1]).max() == 0
    edge = np.abs(shaped[0, (distance > 3.5) & (distance < 6.5)])
    assert (edge > 0).all()
    assert (edge < 1).all()
    assert set(np.unique(np.abs(shaped_probe(probe, asked(probe_smoothing=0, probe_mask_diameter=10, probe_mask_edge=0))))) == {
        0.0,
        1.0,
    }


def test_smoothing_removes_noise_and_keeps_the_sum():
    rng = np.random.default_rng(1)
    noisy = disc() + 0.3 * (rng.standard_normal((1, N, N)) + 1j * rng.standard_normal((1, N, N)))
    smooth = shaped_probe(noisy, asked(probe_smoothing=1.5, probe_mask_diameter=None, probe_mask_edge=2))
    assert smooth.sum() == pytest.approx(noisy.sum())
    roughness = [np.abs(np.diff(one, axis=-1)).mean() for one in (noisy, smooth)]
    assert roughness[1] < 0.4 * roughness[0]


def test_a_probe_of_unknown_scale_is_scaled_to_the_mean_counts_after_the_mask():
    scan = scan_of(disc(), stated=False)
    probe, counts = probe_in_counts(scan, asked(probe_mask_diameter=8.0))
    assert counts == pytest.approx(5e3, rel=1e-5)
    assert (np.abs(probe) ** 2).sum() == pytest.approx(5e3, rel=1e-5)
    assert np.abs(probe[0, 16, 24]) == 0


def test_a_probe_stated_in_counts_keeps_its_power_under_a_mask():
    scan = scan_of(disc(), stated=True)
    probe, counts = probe_in_counts(scan, asked(probe_mask_diameter=8.0))
    assert counts == pytest.approx(5e3, rel=1e-5)
    assert (np.abs(probe) ** 2).sum() == pytest.approx(1e4)


def test_a_mask_that_leaves_nothing_is_refused():
    ring = disc(width=20) - disc(width=16)
    for stated in (True, False):
        with pytest.raises(DataError, match="probe"):
            probe_in_counts(scan_of(ring, stated=stated), asked(probe_mask_diameter=6.0, probe_mask_edge=0.0))


def model_of(*scans, judging=0, **changes):
    parts = [SimpleNamespace(scan=scan, train=np.arange(10 if n < len(scans) - judging else 0)) for n, scan in enumerate(scans)]
    settings = {"model": asked(**changes), "execution": {"seed": 3}}
    return initial_model(SimpleNamespace(scans=parts, size=N), settings, {}, {})


def test_every_scan_has_its_probe_and_the_scales_are_those_of_the_scans_that_teach():
    dim, bright = scan_of(disc(), stated=True, counts=1e3), scan_of(disc(), stated=True, transmission=0.8, counts=1e6)
    model = model_of(dim, bright, bright, judging=1, modes=2)
    assert model.physics["probe"].shape == (3, 2, N, N)
    assert model.physics["probe"].dtype == np.complex64
    powers = (np.abs(model.physics["probe"]) ** 2).sum(axis=(1, 2, 3))
    assert powers == pytest.approx([1e3, 1e6, 1e6], rel=1e-5)
    assert model.scaling["mean_counts"] == pytest.approx((500 + 8e5) / 2, rel=1e-5)
    assert model.scaling["lowest_mean_counts"] == pytest.approx(500, rel=1e-5)
    assert model.scaling["transmission"] == pytest.approx((0.5 + 0.8) / 2, rel=1e-5)
    assert not model.physics["log_scale"].any()
    modes = model.physics["probe"][0].reshape(2, -1)
    assert abs(np.vdot(modes[0], modes[1])) < 1e-3 * np.linalg.norm(modes[0]) * np.linalg.norm(modes[1])


@pytest.mark.parametrize("stated", [True, False])
def test_a_factor_on_the_probe_is_the_last_of_its_power_and_part_of_the_transmission(stated):
    plain, scaled = (model_of(scan_of(disc(), stated=stated), probe_scale=factor, modes=2) for factor in (1.0, 1.5))
    assert scaled.physics["probe"] == pytest.approx(1.5 * plain.physics["probe"], rel=1e-5)
    assert scaled.scaling["transmission"] == pytest.approx(plain.scaling["transmission"] / 1.5**2, rel=1e-5)
    assert scaled.scaling["mean_counts"] == plain.scaling["mean_counts"]


def test_light_that_bad_pixels_miss_is_not_taken_for_absorption():
    mask = np.ones((N, N), bool)
    mask[14:19, 14:19] = False
    scan = scan_of(disc(), stated=True, transmission=0.7, mask=mask)
    assert model_of(scan).scaling["transmission"] == pytest.approx(0.7, rel=1e-5)
    probe, _ = probe_in_counts(scan, asked())
    assert empty_counts(scan, probe) < 0.5 * (np.abs(probe) ** 2).sum()


def test_more_modes_than_asked_for_are_refused():
    with pytest.raises(DataError, match="--modes 2"):
        model_of(scan_of(np.concatenate([disc(), 0.1 * disc(width=8)]), stated=True))
