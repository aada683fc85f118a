"""The worked example of specs/forward-model.md against the code, and against sums written out from the spec's formulas."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.contract import EvaluateJob
from ptycho_core.physics import INTENSITY_FLOOR, VARIATION_ROUNDING, evaluate

SPEC = Path(__file__).parents[2] / "specs" / "forward-model.md"
N = 4
NEAR = ("angular-spectrum", 1.5, 1.6)


@pytest.fixture(scope="module")
def example():
    r, c = np.mgrid[:6, :6]
    a, b = np.mgrid[:N, :N]
    k = np.arange(2)[:, None, None]
    mask = np.ones((N, N), dtype=bool)
    mask[0, 3] = False
    return EvaluateJob(
        object=(1 - 0.1 * ((r + 2 * c) % 5)) * np.exp(0.2j * ((2 * r + c) % 4)),
        probe=np.stack([1 + a + 2 * b + 1j * ((a * b) % 3), 0.5 * (((a + b) % 2) - 1j * a)]),
        positions=np.array([[0.0, 0.0], [1.25, 0.5]]),
        counts=4.0 * ((3 * k + 5 * a + 7 * b) % 11),
        mask=mask,
        background=0.01 * (a + b),
        weights={"nll": 1.0, "amplitude": 2.0, "mae": 3.0, "tv": 4.0},
    )


def rows_of_table(first_header):
    """The cells of the rows below the table header that starts with a given word."""
    lines = SPEC.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


@pytest.mark.parametrize(("head", "propagation"), [("frame", None), ("near frame", NEAR)])
def test_intensities_of_the_spec_are_those_of_the_code(example, head, propagation):
    rows = rows_of_table(head)
    assert len(rows) == 8
    modelled = evaluate(replace(example, propagation=propagation)).intensities
    for frame, row, *values in rows:
        np.testing.assert_allclose(modelled[int(frame), int(row)], [float(v) for v in values], rtol=2e-11)


@pytest.mark.parametrize(("head", "propagation", "number"), [("value", None, 11), ("near value", NEAR, 10)])
def test_losses_and_gradients_of_the_spec_are_those_of_the_code(example, head, propagation, number):
    result = evaluate(replace(example, propagation=propagation))
    rows = rows_of_table(head)
    assert len(rows) == number
    for name, real, imaginary in rows:
        word, *index = re.findall(r"\w+", name)
        value = result.gradients[word][tuple(int(i) for i in index)] if index else result.losses[word]
        expected = complex(float(real), float(imaginary or 0))
        assert abs(value - expected) <= 2e-11 * abs(expected), name


def test_roundings_of_the_spec_are_those_of_the_code():
    text = SPEC.read_text(encoding="utf-8")
    assert float(re.search(r"`δ = ([^`]+)`", text)[1]) == INTENSITY_FLOOR
    assert float(re.search(r"`ε = ([^`]+)`", text)[1]) == VARIATION_ROUNDING


def test_intensities_are_the_sums_that_the_spec_writes_out(example):
    """No FFT: the double sums of the shift and of F, with their signs, ranges and origins."""
    q = np.arange(-N // 2, N // 2)
    r = np.arange(N)
    for k, position in enumerate(example.positions):
        whole = np.floor(position).astype(int)
        kernels = [
            np.exp(2j * np.pi * q[None, None, :] * (r[:, None, None] - r[None, :, None] - d) / N).sum(axis=2) / N
            for d in position - whole
        ]
        window = example.object[whole[0] : whole[0] + N, whole[1] : whole[1] + N]
        transform = np.exp(-2j * np.pi * np.outer(r - N // 2, r) / N)
        expected = example.background.copy()
        for mode in example.probe:
            psi = kernels[0] @ mode @ kernels[1].T * window
            expected += np.abs(transform @ psi @ transform.T / N) ** 2
        np.testing.assert_allclose(evaluate(example).intensities[k], expected, rtol=1e-12)


@pytest.mark.parametrize("propagation", [NEAR, ("fresnel", 1.5, 1.6)])
def test_the_near_field_is_the_sums_that_the_spec_writes_out(example, propagation):
    """No FFT: each spatial frequency of the exit wave, moved back by the remainder, times its factor."""
    propagator, D, w = propagation
    job = replace(example, propagation=propagation, background=None)
    q, r = np.arange(-N // 2, N // 2), np.arange(N)
    waves = np.exp(2j * np.pi * np.outer(q, r) / N)  # (q, r)
    f = (q[:, None] ** 2 + q[None, :] ** 2) / N**2
    if propagator == "fresnel":
        factor = np.exp(-1j * np.pi * D * f)
    else:
        seen = w**2 * f <= 1
        factor = np.where(seen, np.exp(2j * np.pi * D / w**2 * (np.sqrt(np.where(seen, 1 - w**2 * f, 0)) - 1)), 0)
        assert not seen.all()
    for k, position in enumerate(job.positions):
        whole = np.floor(position).astype(int)
        ramp = np.exp(-2j * np.pi * (q[:, None] * (position - whole)[0] + q[None, :] * (position - whole)[1]) / N)
        window = job.object[whole[0] : whole[0] + N, whole[1] : whole[1] + N]
        expected = np.zeros((N, N))
        for mode in job.probe:
            psi = waves.T @ (ramp * (waves.conj() @ mode @ waves.conj().T)) @ waves / N**2 * window
            spectrum = factor * ramp.conj() * (waves.conj() @ psi @ waves.conj().T)
            expected += np.abs(waves.T @ spectrum @ waves / N**2) ** 2
        np.testing.assert_allclose(evaluate(job).intensities[k], expected, rtol=1e-12)


def test_losses_are_the_means_that_the_spec_writes_out(example):
    modelled = evaluate(example).intensities
    sums = dict.fromkeys(("nll", "amplitude", "mae"), 0.0)
    number = 0
    for k, a, b in np.ndindex(modelled.shape):
        if not example.mask[a, b]:
            continue
        J, n = modelled[k, a, b] + 1e-6, example.counts[k, a, b]
        sums["nll"] += J - n * np.log(J)
        sums["amplitude"] += (np.sqrt(J) - np.sqrt(n)) ** 2
        sums["mae"] += abs(np.sqrt(J) - np.sqrt(n))
        number += 1
    variation = 0.0
    rows, columns = example.object.shape
    for r, c in np.ndindex(rows, columns):
        here = example.object[r, c]
        down = example.object[r + 1, c] - here if r + 1 < rows else 0
        right = example.object[r, c + 1] - here if c + 1 < columns else 0
        variation += np.sqrt(abs(down) ** 2 + abs(right) ** 2 + 1e-6) - 1e-3
    expected = {**{name: value / number for name, value in sums.items()}, "tv": variation / (rows * columns)}
    assert evaluate(example).losses == pytest.approx(expected, rel=1e-12)
