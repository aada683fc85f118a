"""The pieces of the reference against other ways to compute them, and each way back against its way forth."""

import numpy as np
import pytest
from scipy.signal import correlate

from ptycho_core.conformance.reference import fourier, layers
from ptycho_core.conformance.reference.canvas import Canvas
from ptycho_core.conformance.reference.estimate import features
from ptycho_core.physics import shift

RANDOM = np.random.default_rng(0)


def complex_noise(*shape):
    return RANDOM.standard_normal(shape) + 1j * RANDOM.standard_normal(shape)


def product(first, second):
    """The real scalar product of two arrays."""
    return float((np.conj(first) * second).real.sum())


@pytest.mark.parametrize("size", [5, 8, 32])
def test_the_transform_is_the_sum_of_the_specification(size):
    fields, index = complex_noise(2, 3, size, size), np.arange(size)
    sums = np.exp(-2j * np.pi * (np.outer(index, index) % size) / size) / np.sqrt(size)
    np.testing.assert_allclose(fourier.transform(fields), sums @ fields @ sums, rtol=0, atol=1e-13)
    np.testing.assert_allclose(fourier.back(fields), sums.conj() @ fields @ sums.conj(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [7, 8])
def test_the_shift_is_that_of_the_forward_model_and_its_reverse_is_its_adjoint(size):
    field, other, d = complex_noise(2, size, size), complex_noise(2, size, size), np.array([0.3, -1.7])
    moved = fourier.shifted(field, d)
    np.testing.assert_allclose(moved, shift(field, d), rtol=0, atol=1e-13)
    assert product(moved, other) == pytest.approx(product(field, fourier.shifted(other, -d)), rel=1e-12)


def test_the_phase_of_zero_is_zero():
    assert np.array_equal(fourier.phase(np.array([0, 2j, -3.0 + 0j])), [0, 1j, -1])


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (3, 1), (2, 2)])
def test_a_convolution_is_a_cross_correlation_and_its_way_back_the_adjoint(side, stride):
    x, weight = RANDOM.standard_normal((2, 3, 8, 6)), RANDOM.standard_normal((5, 3, side, side))
    found = layers.convolve(x, weight, stride)
    for group, out in np.ndindex(2, 5):
        whole = sum(correlate(x[group, i], weight[out, i], "same" if side == 3 else "valid", method="direct") for i in range(3))
        np.testing.assert_allclose(found[group, out], whole[::stride, ::stride], rtol=0, atol=1e-13)
    slope = RANDOM.standard_normal(found.shape)
    of_x, of_weight = layers.convolve_back(x, weight, stride, slope)
    other_x, other_weight = RANDOM.standard_normal(x.shape), RANDOM.standard_normal(weight.shape)
    assert product(layers.convolve(other_x, weight, stride), slope) == pytest.approx(product(other_x, of_x), rel=1e-12)
    assert product(layers.convolve(x, other_weight, stride), slope) == pytest.approx(product(other_weight, of_weight), rel=1e-12)


def test_fold_is_as_specified_and_unfold_its_inverse():
    x = RANDOM.standard_normal((2, 3, 8, 6))
    folded = layers.fold(x)
    for c, a, b in np.ndindex(3, 2, 2):
        assert np.array_equal(folded[:, 4 * c + 2 * a + b], x[:, c, a::2, b::2])
    assert np.array_equal(layers.unfold(folded), x)


def test_silu_and_its_slope_hold_for_any_number():
    x = np.array([-1e4, -800.0, -30.0, -1.0, 0.0, 1e-3, 2.0, 50.0, 1e4])
    assert np.array_equal(layers.silu(x)[[0, 4, 8]], [0, 0, 1e4])
    middle = x[2:8]
    differences = (layers.silu(middle + 1e-6) - layers.silu(middle - 1e-6)) / 2e-6
    np.testing.assert_allclose(layers.silu_slope(middle), differences, rtol=0, atol=1e-8)
    assert np.isfinite(layers.silu_slope(x)).all()


def test_a_canvas_adds_where_it_cuts():
    canvas = Canvas(np.array([[3, -2], [5, 1], [3, -1]]), 4)
    assert canvas.shape == (6, 7)
    whole, patches = complex_noise(6, 7), complex_noise(3, 4, 4)
    assert product(canvas.cut(whole), patches) == pytest.approx(product(whole, canvas.add(patches)), rel=1e-12)


def test_features_stand_in_the_order_of_the_specification():
    estimated, step, light = complex_noise(2, 4, 3, 3), complex_noise(2, 4, 3, 3), RANDOM.random((3, 3))
    found = features(estimated, step, light)
    assert found.shape == (2, 20, 3, 3)
    assert np.array_equal(found[:, :4], estimated.real - 1)
    assert np.array_equal(found[:, 4:8], estimated.imag)
    assert np.array_equal(found[:, 8:16], np.concatenate([4 * step.real, 4 * step.imag], axis=1))
    assert np.array_equal(found[1, 17], np.sqrt(light))
