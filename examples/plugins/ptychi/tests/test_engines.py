"""Each engine improves a known scan, through the real command."""

import json

import numpy as np
import pytest

import ptycho_core
from ptycho_core.contract import Event, Snapshot
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.imaging.metrics import position_error

REACHED = {"lsqml": 0.04, "rpie": 0.05, "epie": 0.09, "autodiff": 0.09, "dm": 0.2}
"""NRMSE against the truth that 30 epochs must reach; a flat object has 0.4."""


@pytest.mark.parametrize("engine", REACHED)
def test_an_engine_improves_a_known_scan(engine, reconstruct, scan_file) -> None:
    folder, message = reconstruct("--opt", f"ptychi.engine={engine}", "--epochs", "30")
    found = load_reconstruction(folder)
    misfits = [row["misfit"] for row in found.history]
    assert min(misfits) < 0.7 * misfits[0]
    assert ptycho_core.score(folder, scan_file).nrmse < REACHED[engine]
    assert [row["epoch"] for row in found.history] == list(range(1, 31))
    assert {row["stage"] for row in found.history} == {engine}
    assert f"engine {engine}, 30 epochs" in message
    # The misfit of an epoch is the core's own, which it computes from the result alone.
    assert json.loads((folder / "metrics.json").read_text())["misfit"] == pytest.approx(min(misfits), rel=1e-4)


def test_several_modes_come_back_orthogonal_and_sorted_and_in_counts(scan_file) -> None:
    said = []
    settings = {"backend": "ptychi", "threads": 1, "modes": 2, "epochs": 8}
    probe = ptycho_core.reconstruct(scan_file, observers=[said.append], **settings).probe
    powers = (np.abs(probe) ** 2).sum(axis=(1, 2))
    assert powers[0] > powers[1] > 0
    assert abs(np.vdot(probe[0], probe[1])) < 1e-4 * powers[0]
    with np.load(scan_file) as file:
        assert powers.sum() == pytest.approx((np.abs(file["probe_guess"]) ** 2).sum(), rel=1e-4)
    assert "only the first probe mode" in said[0].message


@pytest.mark.parametrize("engine", ["lsqml", "rpie", "autodiff"])
def test_wrong_positions_get_better(engine, displaced) -> None:
    with np.load(displaced) as file:
        stated, true = file["positions_px"], file["positions_true_px"]
    found = ptycho_core.reconstruct(
        displaced, backend="ptychi", threads=1, epochs=40, refine_positions=True, **{"ptychi.engine": engine}
    )
    assert position_error(found.positions, true) < 0.8 * position_error(stated, true)


def test_frames_held_out_take_no_part(scan_file) -> None:
    settings = {"backend": "ptychi", "threads": 1, "refine_positions": True, "held_out": 0.2}
    found = ptycho_core.reconstruct(scan_file, epochs=4, **settings, **{"ptychi.position_start": 0})
    assert len(found.held_out) == 10
    assert all(row["held_out"] > 0 for row in found.history)
    used = np.setdiff1d(np.arange(49), found.held_out)
    start = ptycho_core.reconstruct(scan_file, epochs=0, **settings)
    moved = np.abs(found.positions - start.positions).max(axis=1)
    assert (moved[found.held_out] == 0).all()
    assert (moved[used] > 0).all()


class Watching:
    """An observer that wants to see every epoch."""

    snapshot_seconds = 0.0

    def __init__(self) -> None:
        self.seen: list[Snapshot] = []

    def __call__(self, event: Event) -> None:
        """Take an event."""

    def snapshot(self, now: Snapshot) -> None:
        self.seen.append(now)
        now.object[:] = 0  # it is a copy


def test_an_observer_sees_the_object_grow_and_cannot_change_it(scan_file) -> None:
    watching = Watching()
    found = ptycho_core.reconstruct(scan_file, observers=[watching], backend="ptychi", threads=1, epochs=3)
    assert [(now.stage, now.epoch) for now in watching.seen] == [("lsqml", 1), ("lsqml", 2), ("lsqml", 3)]
    assert {now.object.shape for now in watching.seen} == {found.object.shape}
    assert np.abs(found.object).max() > 0.1
