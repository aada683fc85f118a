"""The operations of layers in the reference: against other ways to compute them, and each way back against finite differences."""

import numpy as np
import pytest
from scipy import ndimage, special

from ptycho_core.conformance.reference.attention import attend
from ptycho_core.conformance.reference.layers import gelu
from ptycho_core.conformance.reference.network import layer_results, weight_gradients
from ptycho_core.conformance.reference.normalization import normalize
from ptycho_core.conformance.reference.resizing import resize
from ptycho_core.conformance.reference.spectral import spectral

RANDOM = np.random.default_rng(4)
ALONE = {
    "attention": ({"heads": 2, "window": 2}, {}),
    "gelu": ({}, {}),
    "group_normalization": ({"groups": 4}, {"weight": (12,), "bias": (12,)}),
    "layer_normalization": ({}, {"weight": (12,), "bias": (12,)}),
    "spectral_convolution": ({"modes": 2, "channels": 5}, {"weight": (2, 5, 12, 4, 2)}),
    **{
        f"resize {scale} {method}": ({"scale": scale, "method": method}, {})
        for scale in ("half", "double") for method in ("nearest", "bilinear")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ALONE)
def test_the_way_back_is_the_slope_that_finite_differences_find(case):
    """By the layer's own weights, and through it by those of a convolution before it."""
    fields, shapes = ALONE[case]
    network = {
        "layers": [
            {"name": "first", "op": "convolution", "from": ["input"], "kernel": 3, "stride": 1},
            {"name": "one", "op": case.split()[0], "from": ["first"], **fields},
        ]
    }
    given = RANDOM.standard_normal((2, 3, 4, 6))
    shapes = {"first.weight": (12, 3, 3, 3), "first.bias": (12,), **{f"one.{part}": shape for part, shape in shapes.items()}}
    point = {name: RANDOM.standard_normal(shape) for name, shape in shapes.items()}

    def value(at):
        return layer_results(network, at, given)["one"]

    slope = RANDOM.standard_normal(value(point).shape)
    found = weight_gradients(network, point, layer_results(network, point, given), slope)
    assert found.keys() == point.keys()
    for name, one in point.items():
        way, step = RANDOM.standard_normal(one.shape), 1e-5
        ahead, behind = (value(point | {name: one + sign * step * way}) for sign in (1, -1))
        wanted = float(((ahead - behind) * slope).sum()) / (2 * step)
        assert float((found[name] * way).sum()) == pytest.approx(wanted, rel=1e-7), name


def test_gelu_is_near_the_error_functions_and_holds_for_any_number():
    x = np.linspace(-6, 6, 1001)
    np.testing.assert_allclose(gelu(x), x * (1 + special.erf(x / np.sqrt(2))) / 2, atol=5e-4)
    assert np.array_equal(gelu(np.array([-1e4, 0.0, 1e4])), [0, 0, 1e4])


def test_a_normalization_has_mean_and_spread_of_its_weights():
    x, weight, bias = 3 + RANDOM.standard_normal((2, 12, 8, 6)), np.full(12, 2.0), np.full(12, 0.5)
    grouped = normalize(x, weight, bias, 4).reshape(2, 4, -1)
    layered = normalize(x, weight, bias, None)
    for found, axis in ((grouped, 2), (layered, 1)):
        np.testing.assert_allclose(found.mean(axis=axis), 0.5, atol=1e-12)
        np.testing.assert_allclose(found.std(axis=axis), 2, rtol=1e-3)


@pytest.mark.parametrize("scale", ["half", "double"])
def test_a_picture_is_resized_as_specified(scale):
    x = RANDOM.standard_normal((2, 3, 8, 6))
    if scale == "half":
        assert np.array_equal(resize(x, scale, "nearest"), x[:, :, ::2, ::2])
        means = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
        np.testing.assert_allclose(resize(x, scale, "bilinear"), means, atol=1e-13)
        return
    assert np.array_equal(resize(x, scale, "nearest"), x.repeat(2, axis=2).repeat(2, axis=3))
    wanted = ndimage.zoom(x, (1, 1, 2, 2), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resize(x, scale, "bilinear"), wanted, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 6), (4, 4), (7, 9)])
def test_a_spectral_convolution_is_one_of_the_transform(shape):
    x, weight = RANDOM.standard_normal((2, 3, *shape)), RANDOM.standard_normal((2, 5, 3, 4, 2))
    spectrum, wanted = np.fft.fft2(x), np.zeros((2, 5, *shape), complex)
    for place, row in enumerate((0, 1, -2, -1)):
        for column in range(2):
            by = weight[0, :, :, place, column] + 1j * weight[1, :, :, place, column]
            wanted[:, :, row, column] = spectrum[:, :, row, column] @ by.T
    np.testing.assert_allclose(spectral(x, weight), np.fft.ifft2(wanted).real, atol=1e-12)


def test_attention_is_the_mean_of_values_by_how_well_keys_answer():
    x = RANDOM.standard_normal((2, 12, 4, 6))
    found = attend(x, 2, 2)
    for n, head, row, column in np.ndindex(2, 2, 4, 6):
        window = (slice(row // 2 * 2, row // 2 * 2 + 2), slice(column // 2 * 2, column // 2 * 2 + 2))
        query, key, value = (x[n, 4 * part + 2 * head : 4 * part + 2 * head + 2] for part in range(3))
        shares = special.softmax(np.einsum("d,dxy->xy", query[:, row, column], key[:, *window]) / np.sqrt(2))
        wanted = (value[:, *window] * shares).sum(axis=(1, 2))
        np.testing.assert_allclose(found[n, 2 * head : 2 * head + 2, row, column], wanted, atol=1e-12)
