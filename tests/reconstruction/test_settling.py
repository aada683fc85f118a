"""How far an object has moved, and when a fit has arrived."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_core.reconstruction.settling import Settling, object_change


def thing(seed=0, shape=(90, 70)):
    random = np.random.default_rng(seed)
    smooth = [gaussian_filter(random.normal(size=shape), 3, mode="wrap") * 5 for _ in range(2)]
    return ((0.8 + 0.2 * smooth[0]) * np.exp(1j * smooth[1])).astype(np.complex64)


def shifted(image, by):
    """The image moved by a part of a pixel along its rows."""
    ramp = np.exp(-2j * np.pi * by * np.fft.fftfreq(image.shape[1]))
    return np.fft.ifft(np.fft.fft(image, axis=1) * ramp, axis=1).astype(np.complex64)


def change(before, now, light):
    places = np.arange(now.shape[0])[:, None], np.arange(now.shape[1])
    return object_change(before, now, np.gradient(now), places, light)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_what_the_probe_can_take_back_is_no_change(dtype):
    now, light = thing().astype(dtype), np.ones((90, 70))
    light[:, :2] = light[:, -2:] = 0  # a slope at the border is taken from one side
    row = np.arange(90)[:, None]
    for drifted in (1.003 * now, np.exp(0.01j) * now, np.exp(2e-4j * row) * now, shifted(now, 0.02).astype(dtype)):
        assert np.linalg.norm(drifted - now) > 2e-3 * np.linalg.norm(now)
        assert change(drifted, now, light) < 4e-4


def test_a_change_is_weighted_by_the_illumination():
    random, now = np.random.default_rng(1), thing()
    noise = (0.01 * (random.normal(size=now.shape) + 1j * random.normal(size=now.shape))).astype(np.complex64)
    everywhere = np.ones(now.shape)
    assert change(now - noise, now, everywhere) == pytest.approx(np.linalg.norm(noise) / np.linalg.norm(now), rel=0.02)
    left = everywhere.copy()
    left[:, 35:] = 0
    noise[:, :35] = 0
    assert change(now - noise, now, left) < 1e-6
    assert change(now, now, np.zeros(now.shape)) == np.inf


def test_of_a_large_object_a_grid_is_looked_at():
    random, now, light = np.random.default_rng(1), thing(shape=(700, 600)), np.ones((700, 600))
    noise = (0.01 * (random.normal(size=now.shape) + 1j * random.normal(size=now.shape))).astype(np.complex64)
    share = np.linalg.norm(noise) / np.linalg.norm(now)
    for least, wanted in ((0.98 * share, False), (1.02 * share, True)):
        settling = Settling(now, light, least)
        assert [settling.reached(now), settling.reached(now + noise)] == [False, wanted]


def test_a_fit_is_done_when_ten_iterations_change_little():
    start, light = thing(), np.ones((90, 70))
    settling, found = Settling(start, light, 0.01), []
    for iteration in range(1, 41):
        now = start + np.float32(0.5) * thing(1) * np.float32(0.8**iteration)
        if settling.due(iteration):
            found.append((iteration, settling.reached(now)))
    assert [iteration for iteration, _ in found] == list(range(5, 41, 5))
    first = next(iteration for iteration, done in found if done)
    assert first == 25  # from 15 to 25 it moves by 0.5 (0.8¹⁵ − 0.8²⁵) ‖other‖ / ‖now‖ but for drift, before that by more
