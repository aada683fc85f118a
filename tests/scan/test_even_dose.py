"""Counts as if every frame had had the mean dose: what came through the sample, and where pixels end, but no background."""

from typing import Any

import numpy as np
import pytest

from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.scan import Scan
from ptycho_core.scan.selection import least_saturation, with_even_dose, with_frames, with_saturation, without_background

FLUX = np.array([0.5, 1.0, 1.5])
LIGHT = np.arange(1.0, 5.0).reshape(2, 2)
BEHIND = np.array([[0.0, 2.0], [4.0, 0.0]])


def scan(background: Any = None) -> Scan:
    counts = FLUX[:, None, None] * LIGHT + (0 if background is None else background)
    patterns = ArrayPatterns(lambda: counts, counts.shape, counts.dtype, where="here", mask=np.ones((2, 2), dtype=bool))
    return Scan(patterns, np.zeros((3, 2)), np.ones((2, 2), dtype=bool), flux=FLUX, background=background)


@pytest.mark.parametrize("background", [None, BEHIND])
def test_the_light_is_even_and_the_background_as_it_was(background: Any) -> None:
    found = with_even_dose(scan(background)).patterns.read(np.arange(3))
    assert found == pytest.approx(np.broadcast_to(LIGHT + (0 if background is None else background), found.shape))


def test_pixels_end_where_their_counts_do_after_the_change_too() -> None:
    ends = with_even_dose(with_saturation(scan(), 6.0)).saturation
    assert ends == pytest.approx(6.0 / FLUX)
    subtracted = with_even_dose(without_background(with_saturation(scan(BEHIND), 6.0)))
    assert subtracted.saturation == pytest.approx((6.0 - 4.0) / FLUX)
    assert least_saturation(subtracted) == pytest.approx(2.0 / 1.5)
    assert with_frames(subtracted, np.array([0, 2])).saturation == pytest.approx([4.0, 2.0 / 1.5])
    assert with_saturation(scan(), 0.0).saturation is None


def test_a_saturated_pixel_is_never_below_the_level_of_its_frame() -> None:
    level = float((FLUX[:, None, None] * LIGHT + BEHIND).max())
    clipped = with_even_dose(with_saturation(scan(BEHIND), level))
    assert clipped.saturation is not None
    measured, changed = scan(BEHIND).patterns.read(np.arange(3)), clipped.patterns.read(np.arange(3))
    reached = measured >= level
    assert reached.any()
    assert (changed >= clipped.saturation[:, None, None] * (1 - 1e-6))[reached].all()
