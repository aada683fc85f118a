"""``ptycho reconstruct`` through the real command and the backend under test."""

import csv
import json
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_scans import small_scan

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.formats.product import StoredObject
from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.settings.reconstruction import ReconstructionSettings

QUICK = ["--epochs", "3", "--iterations", "5", "--quiet", "--no-figures"]
FILES = {"reconstruction.h5", "settings.json", "metrics.json", "log.csv", "object.png", "probe.png", "losses.png"}
FILES |= {"frames.csv", "frames.png"}


def one_sentence(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_a_scan_becomes_a_result_folder_that_reads_back(
    backend: str, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", str(scan_file), "-o", str(tmp_path / "out"), "--backend", backend, "--quiet"]) == 0
    assert "R 0." in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    result = ptycho_core.load_reconstruction(tmp_path / "out")
    assert metrics["misfit"] < 0.3
    assert result.probe.shape == (1, 32, 32)
    found = ptycho_core.score(tmp_path / "out", scan_file)
    assert found.nrmse < 0.1
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    assert len(rows) == len(result.history) > 3
    assert {"stage", "epoch", "loss", "misfit", "seconds"} <= set(rows[0])


def test_the_python_call_gives_the_same_as_the_command(scan_file: Path, tmp_path: Path) -> None:
    assert main(["reconstruct", str(scan_file), "-o", str(tmp_path / "out"), "--threads", "1", *QUICK]) == 0
    result = ptycho_core.reconstruct(scan_file, epochs=3, iterations=5, threads=1)
    assert np.array_equal(result.object, ptycho_core.load_reconstruction(tmp_path / "out").object)


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(scan_file: Path) -> None:
    first, again, other = (ptycho_core.reconstruct(scan_file, epochs=2, iterations=0, threads=1, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.object, again.object)
    assert not np.array_equal(first.object, other.object)


def test_what_is_measured_of_a_result_is_what_its_arrays_and_the_scan_give(tmp_path: Path) -> None:
    scan = small_scan(side=10, photons=3e4, modes=2, level=4.0)
    arrays = {"intensity": scan.counts, "positions_px": scan.positions, "probe_guess": scan.guess, "mask": scan.mask}
    write_plain_npz(tmp_path / "scan.npz", arrays | {"probe_in_counts": np.array(True)})
    words = ["--modes", "2", "--background", "pixel", "--held-out", "0.1", "--refine-positions", *QUICK]
    assert main(["reconstruct", str(tmp_path / "scan.npz"), "-o", str(tmp_path / "out"), *words]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    result = ptycho_core.load_reconstruction(tmp_path / "out")
    held, roots = result.held_out, np.sqrt(scan.counts)
    assert (len(held), metrics["held_out_frames"], metrics["frames"]) == (10, 10, 90)
    model = np.sqrt(intensities(result.object, result.probe, result.positions, result.background))
    for name, frames in (("misfit", np.setdiff1d(np.arange(100), held)), ("held_out_misfit", held)):
        expected = np.abs(model - roots)[frames][:, scan.mask].sum() / roots[frames][:, scan.mask].sum()
        assert metrics[name] == pytest.approx(expected, rel=1e-6)
    # What is handed out is what was fitted last, although counts went from object to probe.
    assert metrics["misfit"] == pytest.approx(result.history[-1]["misfit"], rel=1e-4)
    # The file says how many counts the beam sends; a fit does not change that.
    assert (np.abs(result.probe) ** 2).sum() == pytest.approx((np.abs(scan.guess) ** 2).sum(), rel=1e-5)


def test_a_result_of_another_size_keeps_that_and_its_mask_and_is_not_scored_against_the_truth_of_the_file(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.ones((32, 32), bool)
    mask[10:12] = False
    np.save(tmp_path / "mask.npy", mask)
    words = [
        "--size",
        "24",
        "--mask",
        str(tmp_path / "mask.npy"),
        "--no-coarse-start",
        "--epochs",
        "1",
        "--iterations",
        "0",
        "--quiet",
    ]
    assert main(["reconstruct", str(scan_file), "-o", str(tmp_path / "out"), *words]) == 0
    result = ptycho_core.load_reconstruction(tmp_path / "out")
    assert (result.N, result.stored_size) == (24, 32)
    assert result.mask is not None
    assert np.array_equal(result.mask, mask[4:28, 4:28])
    (tmp_path / "mask.npy").unlink()
    scored = ["score", str(tmp_path / "out"), "--json", "--scan", str(scan_file), "--reference"]
    assert main([*scored, str(scan_file)]) == 5
    assert "24 pixels in place of the 32" in capsys.readouterr().err
    assert main([*scored, str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())["misfit"]
    assert json.loads(capsys.readouterr().out)["misfit"] == pytest.approx(told, rel=1e-6)


def test_a_result_can_be_the_start_of_the_next(scan_file: Path, tmp_path: Path) -> None:
    assert main(["reconstruct", str(scan_file), "-o", str(tmp_path / "first"), "--quiet", "--no-figures"]) == 0
    flat = ptycho_core.reconstruct(scan_file, epochs=1, iterations=0, coarse_start=False)
    warm = ptycho_core.reconstruct(scan_file, start=str(tmp_path / "first"), epochs=1, iterations=0)
    assert [row["stage"] for row in warm.history] == ["pie"]
    assert warm.history[-1]["misfit"] < 0.5 * flat.history[-1]["misfit"]


def test_a_search_takes_the_probe_of_a_start_and_not_its_object(scan_file: Path) -> None:
    first = ptycho_core.reconstruct(scan_file, epochs=2, iterations=0)
    scan = ptycho_core.open_scan(scan_file)
    found = StoredObject(first.object, first.probe, origin=first.origin)
    size = np.linalg.norm(first.probe)
    for how, flat in (("on", False), ("search", True)):
        start = prepare_start(scan, ReconstructionSettings(refine_positions=how), seed=0, inferred=found)
        assert bool((start.object == 1).all()) is flat
        assert np.linalg.norm(start.probe - first.probe) < 0.3 * size


def test_the_truth_in_a_file_is_no_start_and_its_guess_is(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-o", str(tmp_path / "out"), "--epochs", "0", "--iterations", "0", "--start"]
    assert main(["reconstruct", str(scan_file), *words, str(scan_file)]) == 5
    assert "'object_true' is the truth" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with np.load(scan_file) as file:
        held = dict(file)
    guess = tmp_path / "guess.npz"
    np.savez(guess, **held, object_guess=held["object_true"] * np.exp(2j * np.abs(held["object_true"])))
    assert main(["reconstruct", str(scan_file), *words, str(guess)]) == 0
    assert 0.05 < ptycho_core.score(tmp_path / "out", scan_file).nrmse < 0.5


def test_a_result_says_what_it_is_of_and_how_large(scan_file: Path) -> None:
    geometry = {"photon_energy_ev": 8800.0, "detector_distance_m": 1.9, "detector_pixel_size_m": 75e-6}
    found = ptycho_core.reconstruct(scan_file, epochs=0, iterations=0, **geometry)
    assert (found.name, found.photon_energy_ev, found.detector_distance_m) == ("scan", 8800.0, 1.9)
    assert found.pixel_size_m == pytest.approx((1.4089e-10 * 1.9 / (32 * 75e-6),) * 2, rel=1e-4)


def test_a_probe_file_replaces_the_probe_of_the_scan(scan_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "probe.npy", np.zeros((16, 16), complex))
    with pytest.raises(ptycho_core.errors.DataError, match=r"16 x 16.*32 x 32"):
        ptycho_core.reconstruct(scan_file, probe=str(tmp_path / "probe.npy"))


def test_an_output_folder_that_is_not_empty_is_refused_unless_overwritten(scan_file: Path, answered: Any, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    done = answered("reconstruct", scan_file, "-o", tmp_path, *QUICK)
    assert done.returncode == 2
    assert "--overwrite" in one_sentence(done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert answered("reconstruct", scan_file, "-o", tmp_path, "--overwrite", *QUICK).returncode == 0
    assert (tmp_path / "kept.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--backend", "troch"], 2, ["'troch' is not known", "torch"]),
        (["--accelerator", "cuda"], 4, ["cuda"]),
        (["--accelerator", "tpu"], 4, ["'tpu'", "auto, cpu, cuda", "--accelerator tpu"]),
        (["--accelerator", "mps"], 4, ["'mps'", "auto, cpu, cuda", "--accelerator mps"]),
        (["--modes", "0"], 2, ["--modes"]),
        (["--precision", "float16"], 2, ["--precision"]),
        (["--likelihod", "poisson"], 2, ["--likelihod"]),
        (["--opt", "{backend}.compil=true"], 2, ["compil"]),
        (["--start", "nowhere.h5"], 5, ["nowhere.h5"]),
    ],
)
def test_bad_options_give_one_sentence_a_status_and_no_folder(
    backend: str, scan_file: Path, answered: Any, tmp_path: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    if "cuda" in arguments and has_gpu(backend):
        pytest.skip("this machine has a GPU")
    arguments = [item.format(backend=backend) for item in arguments]
    done = answered("reconstruct", scan_file, "-o", tmp_path / "out", *QUICK, *arguments)
    sentence = one_sentence(done.stderr)
    assert done.returncode == status, sentence
    for word in words:
        assert word in sentence
    assert not (tmp_path / "out" / "reconstruction.h5").exists()


def has_gpu(backend: str) -> bool:
    return len(import_module(f"ptycho_backend_{backend}.devices").probe().devices) > 1


def test_an_output_below_a_file_is_refused(scan_file: Path, answered: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = answered("reconstruct", scan_file, "-o", tmp_path / "file" / "out", *QUICK)
    assert done.returncode == 2
    assert str(tmp_path / "file") in one_sentence(done.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_the_best_so_far_and_says_where(scan_file: Path, tmp_path: Path, started: Any, number: int) -> None:
    running = started("reconstruct", scan_file, "-o", tmp_path / "out", "--epochs", "100000", patience=("epoch", 0.2))
    running.await_line("told: epoch")
    running.process.send_signal(number)
    status, out, err = running.end()
    assert status == 130
    assert "stopping after this epoch or iteration, and writing what there is; press Ctrl-C again" in err
    assert str(tmp_path / "out") in out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["interrupted"] is True
    assert np.isfinite(ptycho_core.load_reconstruction(tmp_path / "out").object).all()


def test_a_second_ctrl_c_stops_at_once_and_leaves_nothing(scan_file: Path, tmp_path: Path, started: Any) -> None:
    running = started("reconstruct", scan_file, "-o", tmp_path / "out", "--quiet", patience=("epoch", 60))
    running.await_line("told: epoch")
    running.process.send_signal(signal.SIGINT)
    running.await_line("ptycho: stopping after this epoch or iteration")
    running.process.send_signal(signal.SIGINT)
    assert running.end() == (130, "", "ptycho: interrupted\n")
    assert list(tmp_path.iterdir()) == []
