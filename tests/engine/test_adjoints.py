"""Adjoints that are written by hand, against what the framework derives, and the operations that others are built on."""

from typing import Any

import numpy as np
import pytest

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.state import Fields, Windows, windows_at
from ptycho_core.physics.forward import at_detector
from ptycho_core.physics.near_field import Propagation

SIZE, FRAMES = 10, 5
WAYS = {"far": None, "fresnel": Propagation("fresnel", 7.0, 0.01), "angular": Propagation("angular-spectrum", 7.0, 1.6)}
LIMIT = 1e-12


def noise(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)


def derived(engine: Any, value: Any, leaves: list[Any]) -> list[np.ndarray]:
    """Gradients ``dL/dRe z + i dL/dIm z`` of the real number ``value(*leaves)``, by the framework."""
    if engine.backend == "torch":
        leaves = [one.detach().clone().requires_grad_() for one in leaves]
        value(*leaves).backward()
        return [one.grad.resolve_conj().numpy() for one in leaves]
    with engine.framework.GradientTape() as tape:
        tape.watch(leaves)
        found = value(*leaves)
    return [np.asarray(one) for one in tape.gradient(found, leaves)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("modes", [1, 3])
def test_each_adjoint_of_a_forward_model_is_what_the_framework_derives(engine: Any, way: Propagation | None, modes: int) -> None:
    random, xp = np.random.default_rng(0), engine.operations("float64")
    forward = forward_of(xp, way, SIZE)
    thing, probe = engine.tensor(noise(random, 21, 23)), engine.tensor(noise(random, modes, SIZE, SIZE))
    positions = random.uniform(0, 11, (FRAMES, 2))
    windows = windows_at(xp, positions, thing, SIZE)
    weight = engine.tensor(random.standard_normal((FRAMES, SIZE, SIZE)))

    flux = engine.tensor(random.uniform(0.5, 2, FRAMES))
    windows = windows._replace(flux=flux)

    def weighed(thing: Any, probe: Any, remainders: Any, flux: Any) -> Any:
        exits = forward.exit_wave(xp, Fields(thing, probe, None), Windows(windows.corners, remainders, flux))
        return xp.sum(weight * forward.measure(xp, forward.propagate(xp, exits.wave, exits.ramps), None))

    by_object, by_probe, by_position, by_flux = derived(engine, weighed, [thing, probe, windows.remainders, flux])
    exits = forward.exit_wave(xp, Fields(thing, probe, None), windows)
    waves = forward.propagate(xp, exits.wave, exits.ramps)
    back = forward.propagate_adjoint(xp, forward.measure_adjoint(xp, weight, waves), exits.ramps)
    found = forward.exit_adjoint(xp, exits, back, probe, with_probe=True, with_positions=True, with_flux=True)
    empty = xp.zeros_like(thing)
    assert distance(2 * np.asarray(xp.scatter_add(empty, found.patches, windows.corners)), by_object) < LIMIT
    assert distance(2 * np.asarray(found.probe), by_probe) < LIMIT
    assert distance(np.asarray(found.positions), by_position) < LIMIT
    assert distance(np.asarray(found.flux), by_flux * np.asarray(flux)) < LIMIT  # it is by the logarithm


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_derivative_by_the_position_is_that_of_the_waves(engine: Any, way: Propagation | None) -> None:
    random, xp = np.random.default_rng(1), engine.operations("float64")
    forward = forward_of(xp, way, SIZE)
    fields = Fields(engine.tensor(noise(random, 21, 23)), engine.tensor(noise(random, 2, SIZE, SIZE)), None)
    positions, step, flux = random.uniform(0, 11, (FRAMES, 2)), 1e-5, engine.tensor(random.uniform(0.5, 2, FRAMES))

    def waves(moved: np.ndarray) -> np.ndarray:
        windows = windows_at(xp, moved, fields.object, SIZE, whole=np.floor(positions))._replace(flux=flux)
        exits = forward.exit_wave(xp, fields, windows)
        return np.asarray(forward.propagate(xp, exits.wave, exits.ramps))

    exits = forward.exit_wave(xp, fields, windows_at(xp, positions, fields.object, SIZE)._replace(flux=flux))
    found = np.asarray(forward.position_derivative(xp, exits, fields.probe))
    for axis in (0, 1):
        move = step * np.eye(2)[axis]
        assert distance(found[axis], (waves(positions + move) - waves(positions - move)) / (2 * step)) < 1e-8


@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_small_patterns_are_computed_by_is_the_same_propagation(engine: Any, way: Propagation | None, size: int) -> None:
    random, xp = np.random.default_rng(3), engine.operations("float64")
    forward, ramps = forward_of(xp, way, size), xp.shift_ramps(engine.tensor(random.random((FRAMES, 2))), size)
    wave, unit = engine.tensor(noise(random, FRAMES, 2, size, size)), forward.unit(size)
    whole = np.asarray(forward.propagate(xp, wave, ramps))
    assert distance(np.asarray(forward.transform(xp, wave, ramps)) / unit, whole) < LIMIT
    assert distance(np.asarray(forward.of_spectrum(xp, xp.fft2(wave), ramps)) / unit, whole) < LIMIT
    back = np.asarray(forward.propagate_adjoint(xp, wave, ramps))
    assert distance(np.asarray(forward.transform_adjoint(xp, wave, ramps)) * unit, back) < LIMIT
    if way is not None:
        remainders = random.random((FRAMES, 1, 2))
        ramps = xp.shift_ramps(engine.tensor(remainders[:, 0]), size)
        expected = np.fft.ifftshift(at_detector(np.asarray(wave), remainders, way), axes=(-2, -1))
        assert distance(np.asarray(forward.propagate(xp, wave, ramps)), expected) < LIMIT


def test_windows_that_overlap_add_up_and_cutting_them_out_is_the_adjoint(engine: Any) -> None:
    random, xp = np.random.default_rng(2), engine.operations("float64")
    canvas, patches = noise(random, 15, 17), noise(random, 3, SIZE, SIZE)
    whole = np.array([[0.0, 7.0], [0.0, 7.0], [5.0, 0.0]])
    summed, cut = np.zeros_like(canvas), []
    for patch, (row, column) in zip(patches, whole.astype(int), strict=True):
        summed[row : row + SIZE, column : column + SIZE] += patch
        cut.append(canvas[row : row + SIZE, column : column + SIZE])
    corners = xp.corners(whole, engine.tensor(canvas), SIZE)
    assert np.array_equal(np.asarray(xp.gather(engine.tensor(canvas), corners, SIZE)), cut)
    assert (
        distance(np.asarray(xp.scatter_add(engine.tensor(np.zeros_like(canvas)), engine.tensor(patches), corners)), summed)
        < 1e-15
    )
    real = np.abs(patches)
    once = np.asarray(xp.overlap_sum(engine.tensor(real), corners, engine.tensor(canvas)))
    again = np.asarray(xp.overlap_sum(engine.tensor(real), corners, engine.tensor(canvas)))
    assert once == pytest.approx(np.stack([real[0] + real[1], real[0] + real[1], real[2]]) + _beside(real, whole), rel=1e-14)
    assert np.array_equal(once, again)  # nothing of a batch is left for the next


def _beside(patches: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What the last window shares with the first two, which lie at one place."""
    down, left = (whole[2] - whole[0]).astype(int)
    across = -left
    found = np.zeros_like(patches)
    found[:2, down:, : SIZE - across] = patches[2][: SIZE - down, across:]
    found[2, : SIZE - down, across:] = (patches[0] + patches[1])[down:, : SIZE - across]
    return found
