"""``ptycho infer`` through the real command with a backend that gives the true patches, each with its own phase."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.formats.opening import open_scan
from ptycho_core.inference.probe import choose_probe, probe_overlap
from ptycho_core.model import load_model, save_model
from ptycho_core.settings.resolution import resolve
from ptycho_core.training.data import training_data
from ptycho_core.training.prepare import initial_model

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

FILES = {"reconstruction.h5", "settings.json", "metrics.json", "object.png", "probe.png"}


def infer(scan, run, folder, *words):
    return main(["infer", str(scan), "--model", str(run), "-o", str(folder), "--backend", "truth", *map(str, words)])


def scan_like(scan, path, **changes):
    with np.load(scan) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def changed(run, **changes):
    """The same model with other facts, physics or scaling."""
    model = load_model(run)
    parts = {name: {**getattr(model, name), **value} for name, value in changes.items()}
    return save_model(run.parent / "changed.ptycho", replace(model, **parts))


def test_a_scan_never_seen_becomes_a_result_folder_near_the_truth(run, scans, tmp_path, capsys):
    assert infer(scans[1], run, tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    out, err = capsys.readouterr()
    assert "60 patterns in" in out
    assert f"60 patterns of second.npz, model {run / 'best.ptycho'}, probe: the scan's own, backend truth" in err
    assert ptycho_core.score(tmp_path / "out", scans[1]).nrmse < 1e-5
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["frames"], metrics["misfit_frames"], metrics["notes"]) == (60, 60, [])
    assert 0 < metrics["misfit"] < 0.2
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]["gridsize"]["origin"] == "model"
    found = ptycho_core.load_reconstruction(tmp_path / "out")
    scan = open_scan(scans[1])
    assert np.allclose(found.positions + found.origin, scan.positions)
    assert (np.floor(found.positions.min(axis=0)) == 0).all()
    assert found.probe.shape == (1, 32, 32)
    assert np.array_equal(found.probe, scan.probe.astype(np.complex64))
    assert (found.name, found.photon_energy_ev, found.pixel_size_m) == ("second", None, None)


def test_the_job_carries_scan_model_probe_and_settings(truth, run, scans, tmp_path):
    assert infer(scans[1], run, tmp_path / "out", "--inference-batch-size", 7) == 0
    job = truth.jobs[0]
    assert job.scan.source == scans[1]
    assert job.model.weights.keys() == load_model(run / "best.ptycho").weights.keys()
    assert (job.positions.shape, job.groups.shape) == ((60, 2), (60, job.model.gridsize**2))
    assert set(job.settings) == {"data", "model", "inference", "execution"}
    assert job.settings["execution"]["inference_batch_size"] == 7
    assert (truth.probe.dtype, truth.probe.shape) == (np.complex64, (1, 32, 32))


def test_every_batch_size_gives_the_same_object_and_without_a_folder_nothing_is_written(run, scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    first, second = (ptycho_core.infer(scans[1], run, backend="truth", inference_batch_size=size) for size in (7, 60))
    assert np.array_equal(np.abs(first.object), np.abs(second.object))
    assert first.facts["model"] == str(run / "best.ptycho")
    assert set(tmp_path.iterdir()) == before


def test_a_scan_of_another_size_or_with_too_few_frames_is_refused_with_both_sides(run, scans, tmp_path, capsys):
    assert infer("sample:siemens-star", run, tmp_path / "out") == 5
    message = capsys.readouterr().err
    assert "128 x 128" in message
    assert f"{run / 'best.ptycho'} was trained with 32 x 32" in message
    with np.load(scans[1]) as file:
        few = scan_like(scans[1], tmp_path / "few.npz", intensity=file["intensity"][:3], positions_px=file["positions_px"][:3])
    assert main(["train", str(scans[0]), "-o", str(tmp_path / "two"), "--backend", "truth", "--gridsize", "2", "--quiet"]) == 0
    assert infer(few, tmp_path / "two", tmp_path / "out") == 5
    assert "3 frames" in (message := capsys.readouterr().err)
    assert "groups of 4 (gridsize 2)" in message
    assert not (tmp_path / "out").exists()


def test_a_probe_of_another_size_or_with_more_modes_is_refused(run, scans, tmp_path, capsys):
    np.save(tmp_path / "small.npy", np.ones((16, 16), complex))
    np.save(tmp_path / "modes.npy", np.random.default_rng(1).normal(size=(2, 32, 32)) + 0j)
    for name, words in (("small", ["16 x 16", "32 x 32"]), ("modes", ["2 modes", "trained with 1"])):
        assert infer(scans[1], run, tmp_path / "out", "--probe", tmp_path / f"{name}.npy") == 5
        message = capsys.readouterr().err
        assert f"{name}.npy" in message
        assert all(word in message for word in words)


def chosen(scan, model, given=None):
    settings = None if given is None else {"probe": str(given)}
    return choose_probe(open_scan(scan, settings), load_model(model), given=None if given is None else str(given), seed=0)


def test_the_probe_given_goes_before_that_of_the_scan_and_that_before_the_models(run, scans, tmp_path):
    with np.load(scans[1]) as file:
        probe = np.roll(file["probe_guess"], 3, axis=-1)
    np.save(tmp_path / "probe.npy", 7 * probe)
    found = chosen(scans[1], run, tmp_path / "probe.npy")
    assert found.origin == f"that of {tmp_path / 'probe.npy'}"
    assert probe_overlap(found.probe, np.atleast_3d(probe).reshape(-1, 32, 32)) == pytest.approx(1)
    assert chosen(scans[1], run).origin == "the scan's own"
    bare = scan_like(scans[1], tmp_path / "bare.npz", probe_guess=None)
    assert chosen(bare, run).origin == "the model's"
    known = scan_like(scans[0], tmp_path / "first.npz", probe_guess=None)
    assert chosen(known, run).origin == "the model's for this scan"


def test_a_model_that_trained_its_probe_uses_it_unless_one_is_given(run, scans, tmp_path):
    trained = np.roll(load_model(run).physics["probe"], 5, axis=-1)
    model = changed(run, facts={"train_probe": True}, physics={"probe": trained})
    found = chosen(scans[1], model)
    assert found.origin == "the model's"
    scale = np.vdot(trained[0], found.probe) / np.vdot(trained[0], trained[0])
    assert np.allclose(found.probe, scale * trained[0], atol=1e-3)
    np.save(tmp_path / "probe.npy", trained[0])
    assert chosen(scans[1], model, tmp_path / "probe.npy").origin.endswith("probe.npy")


def test_a_probe_of_unknown_scale_is_given_the_power_that_the_training_would_have_found(run, scans, tmp_path):
    with np.load(scans[1]) as file:
        unstated = scan_like(scans[1], tmp_path / "unstated.npz", probe_guess=0.01 * file["probe_guess"], probe_in_counts=None)
    power = (np.abs(chosen(unstated, run).probe) ** 2).sum()
    stated = (np.abs(chosen(scans[1], run).probe) ** 2).sum()
    assert stated == pytest.approx(1e5, rel=1e-4)
    assert power == pytest.approx(stated, rel=0.2)  # the samples let through 51 % and 58 % of the light


def test_the_factor_of_the_training_is_on_the_probe_once_whether_its_counts_are_stated_or_not(scans, tmp_path):
    with np.load(scans[0]) as file:
        unstated = scan_like(scans[0], tmp_path / "unstated.npz", probe_guess=0.01 * file["probe_guess"], probe_in_counts=None)
    groups = resolve("train", overrides={"probe_scale": 1.25}).groups()
    for scan in (scans[0], unstated):
        model = initial_model(training_data([open_scan(scan)], groups), groups, {}, {})
        assert choose_probe(open_scan(scan), model, given=None, seed=0).probe == pytest.approx(
            model.physics["probe"][0], rel=1e-5
        )


def test_a_scan_of_another_size_is_cropped_or_padded_only_when_that_is_asked_for(run, scans, tmp_path, capsys):
    with np.load(scans[1]) as file:
        wide = scan_like(
            scans[1], tmp_path / "wide.npz", intensity=np.pad(file["intensity"], [(0, 0), (8, 8), (8, 8)]), probe_guess=None
        )
    assert infer(wide, run, tmp_path / "out") == 5
    told = capsys.readouterr().err
    assert "48 x 48" in told
    assert "--size 32" in told
    assert infer(wide, run, tmp_path / "out", "--size", "48") == 2
    assert "best.ptycho: size, which fixes it at 32" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert infer(wide, run, tmp_path / "out", "--size", "32") == 0
    size = json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]["size"]
    assert (size["value"], size["origin"], [one["origin"] for one in size["beat"]]) == (
        32,
        "override",
        ["model", "data", "core default"],
    )


def test_masks_of_the_training_are_put_on_the_probe_of_the_scan(run, scans):
    model = changed(run, facts={"probe_mask_diameter": 6.0, "probe_mask_edge": 0.0})
    lit = [np.count_nonzero(np.abs(chosen(scans[1], one).probe) > 1e-6) for one in (run, model)]
    assert lit[1] < 40 < lit[0]


def test_a_probe_or_a_dose_that_the_training_has_not_met_is_told(run, scans, tmp_path, capsys):
    x = np.indices((32, 32))[0] - 16
    other = np.exp(0.05j * x**2) * np.exp(-(x**2) / 8) + 0j
    np.save(tmp_path / "other.npy", other)
    assert infer(scans[1], run, tmp_path / "first", "--probe", tmp_path / "other.npy") == 0
    assert "differs from every probe of the training" in capsys.readouterr().err
    with np.load(scans[1]) as file:
        dim = scan_like(scans[1], tmp_path / "dim.npz", intensity=file["intensity"] // 20, probe_in_counts=None)
    assert infer(dim, run, tmp_path / "second") == 0
    err = capsys.readouterr().err
    assert "those of the training had 5.09e+04 or more" in err
    assert "differs" not in err
    assert len(json.loads((tmp_path / "second" / "metrics.json").read_text())["notes"]) == 1


def test_overlap_is_one_for_a_shifted_probe_and_small_for_another():
    x = np.indices((32, 32)) - 16.0
    probe = (np.exp(-(x**2).sum(0) / 20) * np.exp(0.2j * x[0]))[None]
    assert probe_overlap(probe, 3j * np.roll(probe, (4, -7), axis=(1, 2))) == pytest.approx(1)
    speckle = np.exp(2j * np.pi * np.random.default_rng(2).random((1, 32, 32)))
    assert probe_overlap(probe, speckle) < 0.5
    assert probe_overlap(probe, 0 * probe) == 0


def test_modes_are_added_where_the_probe_has_fewer_than_the_model(truth, scans, tmp_path):
    words = ["--backend", "truth", "--modes", "2", "--epochs", "1", "--quiet"]
    assert main(["train", str(scans[0]), "-o", str(tmp_path / "run"), *words]) == 0
    assert infer(scans[1], tmp_path / "run", tmp_path / "out", "--quiet") == 0
    assert truth.probe.shape == (2, 32, 32)


def test_ctrl_c_leaves_no_folder(truth, run, scans, tmp_path):
    truth.between = lambda batch: os.kill(os.getpid(), signal.SIGINT) if batch == 1 else None
    assert infer(scans[1], run, tmp_path / "out", "--inference-batch-size", 10) == 130
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_command_at_the_next_batch(backend, run, scans, tmp_path, started):
    words = [scans[1], "--model", run, "-o", tmp_path / "out", "--backend", backend, "--inference-batch-size", "1", "--quiet"]
    running = started("infer", *words, patience=("step", 0.2))
    running.await_line("told: step")
    running.process.send_signal(signal.SIGINT)
    running.await_line("ptycho: stopping at the next batch; there is nothing to save, and nothing is written")
    status, out, err = running.end()
    assert (status, out, err.splitlines()[-1]) == (130, "", "ptycho: interrupted")
    assert err.count("told: step") <= 2
    assert not (tmp_path / "out").exists()


def test_results_are_not_replaced_unless_asked_for(run, scans, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    (tmp_path / "out" / "losses.png").write_text("of the results that are replaced")
    assert infer(scans[1], run, tmp_path / "out") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert infer(scans[1], run, tmp_path / "out", "--overwrite") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"mine.txt"}


def test_a_model_that_cannot_be_used_is_told_in_one_sentence(truth, scans, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.ptycho").write_text("no model")
    for model in ("empty", "text.ptycho", "none.ptycho"):
        assert infer(scans[1], tmp_path / model, tmp_path / "out") == 5
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert model in err
    assert not (tmp_path / "out").exists()


def test_what_the_model_has_not_met_is_said_even_without_progress(run, scans, tmp_path, capsys):
    brighter = changed(run, scaling={"lowest_mean_counts": 1e9})
    capsys.readouterr()
    assert infer(scans[1], brighter, tmp_path / "out", "--quiet") == 0
    (note,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["notes"]
    assert capsys.readouterr().err == f"{note}\n"
