"""How much of what an object scatters passes a stop."""

import numpy as np
import pytest

from ptycho_core.scan.beam_stop import passed, unseen_width, windows_spectrum
from ptycho_core.scan.scan import empty_pattern, hidden_light
from ptycho_core.simulation.probes import make_probe

SIZE = 32


def stop(radius: float) -> np.ndarray:
    along = np.arange(SIZE) - SIZE // 2
    return np.hypot(along[:, None], along) > radius


@pytest.mark.parametrize("shape", [(32, 32), (64, 96)])
@pytest.mark.parametrize("wave", [(0, 0), (3, 0), (-2, 5)])
def test_the_share_of_each_frequency_is_that_of_a_single_wave(shape: tuple[int, int], wave: tuple[int, int]) -> None:
    probe, mask = make_probe("disk", SIZE, 12, 1e4), stop(5)
    row, column = np.mgrid[:SIZE, :SIZE]
    scattered = probe * np.exp(2j * np.pi * (wave[0] * row + wave[1] * column) / SIZE)
    expected = 1 - hidden_light(scattered, mask, None)
    found = passed(empty_pattern(probe, None), mask, shape)
    scale = shape[0] // SIZE, shape[1] // SIZE
    assert found[wave[0] * scale[0], wave[1] * scale[1]] == pytest.approx(expected, rel=1e-6)


def test_an_aperture_hides_all_that_is_slower_than_the_stop_is_wider() -> None:
    probe = make_probe("aperture", SIZE, 12, 1e4)
    assert unseen_width(probe, stop(0)) == 0
    assert unseen_width(probe, stop(SIZE / 6)) == 0
    # The stop reaches 5.3 pixels past the edge: five periods in 32 pixels are hidden, six are not quite.
    assert unseen_width(probe, stop(2 * SIZE / 6)) == pytest.approx(SIZE / 2 / 5, rel=0.25)


def test_the_spectrum_of_windows_is_that_of_the_object() -> None:
    _, column = np.mgrid[:60, :70]
    image = 1 + 0.1 * np.exp(2j * np.pi * 4 * column / SIZE)
    found = windows_spectrum(image, np.array([[0.3, 1.7], [20.0, 30.0]]), SIZE)
    assert found[SIZE // 2, SIZE // 2 + 4] / found[SIZE // 2, SIZE // 2] == pytest.approx(0.01)
    assert np.count_nonzero(found > 1e-9 * found.max()) == 2
