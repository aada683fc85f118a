"""The figure of a comparison: a column for each object, all in the colours of the first."""

import numpy as np
import pytest

from ptycho_core.comparison.scoring import Scoring
from ptycho_core.formats.product import StoredObject
from ptycho_core.imaging.figures import figure_of_comparison


@pytest.fixture
def image():
    rows, columns = np.mgrid[:40, :48]
    return (0.6 + 0.4 * np.cos(rows / 5)) * np.exp(1j * np.sin(columns / 4))


def pictures_of(figure):
    return [axes for axes in figure.axes if axes.get_images() and not axes.get_label().startswith("<colorbar")]


def test_truth_and_results_stand_side_by_side_in_the_same_colours(image):
    judge = Scoring(StoredObject(image), "truth")
    rng = np.random.default_rng(0)
    judge.add("one", StoredObject(image * 2 * np.exp(0.7j)))
    judge.add("two", StoredObject(image * (1 + 0.2 * rng.normal(size=image.shape))))
    shown = pictures_of(figure_of_comparison(judge.pictures))
    assert len(shown) == 6
    titles = [axes.get_title() for axes in shown]
    assert titles[0] == "truth\namplitude"
    assert titles[1].startswith("one, NRMSE ")
    assert titles[3:] == ["phase (rad)"] * 3
    for row in (shown[:3], shown[3:]):
        assert len({axes.get_images()[0].get_clim() for axes in row}) == 1
        truth, one = (np.asarray(axes.get_images()[0].get_array()) for axes in row[:2])
        np.testing.assert_allclose(one, truth, atol=1e-6)  # factor and phase are removed
    amplitude = np.asarray(shown[2].get_images()[0].get_array())
    assert np.abs(amplitude - np.abs(judge.pictures[0][1])).max() > 0.1


def test_without_truth_the_first_result_sets_the_colours(image):
    judge = Scoring()
    assert judge.add("one", StoredObject(image)) == ({}, {})
    quality, agreement = judge.add("two", StoredObject(image[2:, 1:]))
    assert quality == {}
    assert agreement["nrmse"] < 1e-6
    assert judge.first == "one"
    shown = pictures_of(figure_of_comparison(judge.pictures))
    assert [axes.get_title() for axes in shown][:2] == ["one\namplitude", f"two, NRMSE {agreement['nrmse']:.3g}\namplitude"]
