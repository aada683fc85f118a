"""Jobs on a scan whose file holds no probe, and scans whose axes run another way, by the real commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.contract import Event
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.orientation import ORIENTATIONS

pytestmark = pytest.mark.usefixtures("undrawn")

PHASE = -28.0
QUICK = ["--threads", "1", "--iterations", "20"]

Scans = Callable[..., Path]


def test_the_defocus_is_found_with_its_sign_and_said(scan: Scans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(scan()), "-o", str(tmp_path), *QUICK]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    made = metrics["made_probe"]
    assert made["phase_rad"] == pytest.approx(PHASE, rel=0.25)
    assert made["margin"] > 0.1
    assert made["made_from"] == "the mean pattern"
    assert "Probe: made from the mean pattern" in metrics["notes"][0]
    assert metrics["notes"][0] in capsys.readouterr().err
    assert metrics["doubts"] == []
    result = load_reconstruction(tmp_path)
    assert result.facts["made_probe"] == made
    assert ptycho_core.score(result, scan()).nrmse < 0.12


def test_a_start_of_another_sign_is_worse(scan: Scans, tmp_path: Path) -> None:
    misfits = []
    for phase in (PHASE, -PHASE):
        folder = tmp_path / str(phase)
        assert main(["reconstruct", str(scan()), "-o", str(folder), *QUICK, "--probe-defocus", f"{phase}rad"]) == 0
        metrics = json.loads((folder / "metrics.json").read_text())
        assert set(metrics["made_probe"]) == {"made_from", "phase_rad", "defocus_m"}
        misfits.append(metrics["misfit"])
    assert misfits[0] < misfits[1]


def test_axes_that_run_another_way_are_doubted(scan: Scans, tmp_path: Path) -> None:
    words = ["reconstruct", str(scan(turned="swap")), "-o", str(tmp_path), "--epochs", "1", "--iterations", "0", "--quiet"]
    assert main(words) == 0
    doubts = json.loads((tmp_path / "metrics.json").read_text())["doubts"]
    named = [name for name in ORIENTATIONS if any(f"--orientation {name} R" in doubt for doubt in doubts)]
    assert [ORIENTATIONS[name].after(ORIENTATIONS["swap"]).name in ("as-stated", "flip-both") for name in named] == [True]


@pytest.mark.parametrize("turned", ["swap-flip-columns"])
def test_the_way_of_the_axes_is_found_and_written(
    turned: str, scan: Scans, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(scan(turned=turned))
    assert main(["find-convention", path, "--quiet", "--frames", "0:48"]) == 0
    told = capsys.readouterr().out
    settings = (tmp_path / "scan.toml").read_text()
    found = next(line.split('"')[1] for line in settings.splitlines() if line.startswith("orientation"))
    assert ORIENTATIONS[found].after(ORIENTATIONS[turned]).name in ("as-stated", "flip-both")
    assert f"--orientation {found} --probe-defocus" in told
    assert "Twin:" in told
    assert "Scale of the positions" in told
    assert 'frames = "0:48"' in settings
    words = ["--config", "scan.toml", "-o", "out", *QUICK, "--quiet"]
    assert main(["reconstruct", path, *words]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["doubts"] == []
    assert metrics["misfit_over_noise"] < 1.2
    assert main(["find-convention", path, "--quiet"]) == 2  # scan.toml is there


def test_patterns_that_do_not_tell_are_undecided(scan: Scans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "scan.toml"
    assert main(["find-convention", str(scan(photons=300.0, frames=25)), "--quiet", "-o", str(place), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["decided"]
    assert found["settings"] == {}
    assert [row["misfit"] for row in found["rows"]] == sorted(row["misfit"] for row in found["rows"])
    assert not place.exists()


def test_a_probe_leaves_nothing_to_find(scan: Scans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quiet", "-o", str(tmp_path / "scan.toml"), "--probe", "disk:9"]
    assert main(["find-convention", str(scan()), *words]) == 2
    assert "left aside" in capsys.readouterr().err


def test_angles_change_their_sign_with_the_hand(scan: Scans) -> None:
    from ptycho_core.reconstruction.convention import turned_settings

    assert turned_settings("swap", "as-stated", 5.0) == {"orientation": "swap", "rotation_deg": -5.0}
    assert turned_settings("swap-flip-rows", "swap", 5.0) == {"orientation": "flip-rows"}
    points = np.array([[1.0, 2.0], [3.0, -1.0]])
    angle = np.deg2rad(5.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    swap = ORIENTATIONS["swap"]
    np.testing.assert_allclose(swap.of_points(points @ turn), swap.of_points(points) @ turn.T)


def test_a_training_makes_the_probe_of_its_scan(scan: Scans, tmp_path: Path) -> None:
    quick = ["--epochs", "1", "--network-width", "4", "--update-steps", "1", "--threads", "1", "--quiet"]
    assert main(["train", str(scan()), "-o", str(tmp_path), *quick]) == 0
    notes = json.loads((tmp_path / "metrics.json").read_text())["notes"]
    assert any("Probe: made from the mean pattern" in note for note in notes)
    model = ptycho_core.load_model(tmp_path)
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(model.physics["probe"][0, 0])))
    assert np.angle(far[16, 21] / far[16, 16]) == pytest.approx(PHASE * (5 / 16) ** 2, abs=1.0)


def test_a_scan_with_a_probe_costs_nothing(scan: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("no trial is needed")

    monkeypatch.setattr("ptycho_core.jobs.beam.with_made_probe", fail)
    probe = np.exp(-((np.indices((32, 32)) - 16.0) ** 2).sum(axis=0) / 40).astype(complex)
    ptycho_core.reconstruct(scan(probe_guess=probe), epochs=1, iterations=0, threads=1, progress=False)


def test_a_stop_ends_the_trials(scan: Scans) -> None:
    from ptycho_core.events import EventHub

    hub: list[EventHub] = []

    def stop(event: Event) -> None:
        if event.stage == "probe":
            hub[0].request_stop()

    with pytest.MonkeyPatch.context() as patch:
        begin = EventHub.__init__

        def remembered(self: EventHub, *arguments: Any) -> None:
            begin(self, *arguments)
            hub.append(self)

        patch.setattr(EventHub, "__init__", remembered)
        with pytest.raises(KeyboardInterrupt):
            ptycho_core.reconstruct(scan(), threads=1, progress=False, observers=[stop])
