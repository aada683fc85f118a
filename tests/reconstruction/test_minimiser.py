"""The minimiser against L-BFGS with whole matrices (Nocedal & Wright, *Numerical Optimization*, 2nd ed., eq. 7.16 to 7.20)."""

from itertools import islice

import numpy as np
import pytest

from ptycho_core.reconstruction.lbfgs import minimise

RANDOM = np.random.default_rng(5)
SLOPES, PLACES = RANDOM.standard_normal((30, 14)) * np.geomspace(1, 20, 14), RANDOM.standard_normal(30)


def loss_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
    rest = SLOPES @ point - PLACES
    root = np.sqrt(1 + rest**2)
    return float(root.sum()), SLOPES.T @ (rest / root)


def with_matrices(start: np.ndarray, number: int) -> list[np.ndarray]:
    """Points after each iteration: the inverse Hessian of the last ten moves, then a step that Armijo's rule accepts."""
    point, (loss, gradient), known, found = start, loss_and_gradient(start), [], []
    for _ in range(number):
        inverse = 0.5 * np.eye(len(start))
        if known:
            move, change = known[-1]
            inverse = np.eye(len(start)) * (move @ change) / (change @ change)
        for move, change in known[-10:]:
            turn = np.eye(len(start)) - np.outer(move, change) / (move @ change)
            inverse = turn @ inverse @ turn.T + np.outer(move, move) / (move @ change)
        direction, length = -inverse @ gradient, 1.0
        slope = gradient @ direction
        while (there := loss_and_gradient(point + length * direction))[0] > loss + 1e-4 * length * slope:
            # The lowest point of the parabola through loss and slope here and the loss there, within bounds.
            parabola = 0.5 * -slope * length / (there[0] - loss - slope * length)
            length *= np.clip(parabola, 0.02, 0.5)
        known.append((length * direction, there[1] - gradient))
        point, loss, gradient = point + length * direction, *there
        found.append(point)
    return found


def test_each_point_is_that_of_the_matrices() -> None:
    start = 3 * RANDOM.standard_normal(14)
    found = list(islice(minimise(loss_and_gradient, start, lambda one, other: float(one @ other)), 16))
    for step, point in zip(found, with_matrices(start, 16), strict=True):
        assert np.abs(step.point - point).max() < 1e-9
        assert step.loss == pytest.approx(loss_and_gradient(point)[0], rel=1e-12)
    losses = [step.loss for step in found]
    assert losses == sorted(losses, reverse=True)


def test_at_the_lowest_point_it_says_that_it_is_stuck() -> None:
    steps = list(minimise(lambda x: (float(x @ x), 2 * x), np.array([3.0, 4.0]), lambda one, other: float(one @ other)))
    assert steps[-1].stuck
    assert not any(step.stuck for step in steps[:-1])
    assert np.abs(steps[-1].point).max() < 1e-9


def test_a_step_is_taken_where_it_lowers_the_loss_by_a_ten_thousandth_of_what_the_slope_promises_for_its_length() -> None:
    def terrain(there: float):
        """Slope 1 at 0, so that the first direction is -1/2; a wall at its end; ``there`` on the way."""
        return lambda x: (0.0, x * 0 + 1) if x[0] == 0 else (1.0, x * 0 - 5) if x[0] == -0.5 else (there, x * 0 + 1)

    def first(there: float) -> float:
        return float(next(minimise(terrain(there), np.zeros(1), lambda one, other: float(one @ other))).point[0])

    sixth = 0.5 * 0.5 / 1.5  # of the direction: the lowest point of the parabola
    assert first(-1.1e-4 * sixth * 0.5) == pytest.approx(-0.5 * sixth)
    assert first(-0.9e-4 * sixth * 0.5) > -0.5 * sixth + 1e-3
