"""Tests of the Template backend's own. What every backend must do, the kit tests: see README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptycho_backend_template.engine import shift
from ptycho_core import reconstruct
from ptycho_core.cli.main import main
from ptycho_core.errors import CapabilityError
from ptycho_core.physics import shift as right_shift


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "25", "--seed", "1"]) == 0
    return path


def misfits(scan: Path, **settings: object) -> list[float]:
    found = reconstruct(scan, backend="template", **settings)
    return [row["misfit"] for row in found.history]


def test_fields_are_moved_as_the_forward_model_says() -> None:
    random = np.random.default_rng(0)
    field, by = random.normal(size=(8, 8)) + 1j, random.uniform(size=(3, 2))
    assert np.allclose(shift(field, by), right_shift(field, by))


def test_it_fits_a_scan(scan: Path) -> None:
    found = misfits(scan, epochs=6, iterations=4)
    assert len(found) == 10
    assert found[-1] < 0.5 * found[0]


def test_momentum_acts(scan: Path) -> None:
    plain, driven = (misfits(scan, epochs=3, iterations=0, **{"template.momentum": value}) for value in (0.0, 0.5))
    assert plain != driven


@pytest.mark.parametrize(("name", "value"), [("total_variation", 1.0), ("num_workers", 2), ("deterministic", "strict")])
def test_what_it_does_not_look_at_is_refused(name: str, value: object, scan: Path) -> None:
    with pytest.raises(CapabilityError, match=name):
        reconstruct(scan, backend="template", **{name: value})
