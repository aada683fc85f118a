"""An output that is an input, or another output, is refused before any work, however its path is spelt."""

import os
import shutil

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import OutputError


@pytest.fixture
def here(scan, tmp_path, monkeypatch, capsys):
    """A scan, its hard link, symbolic link and probe in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(scan, "scan.npz")
    (tmp_path / "soft.npz").symlink_to("scan.npz")
    os.link("scan.npz", "hard.npz")
    (tmp_path / "way").symlink_to(".")
    with np.load(scan) as file:
        np.save("probe.npy", file["probe_guess"])
        np.save("mask.npy", np.ones((16, 16), bool))
    capsys.readouterr()
    return tmp_path


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    return err


@pytest.mark.parametrize("plot", ["scan.npz", "./scan.npz", "soft.npz", "hard.npz", "way/scan.npz", "{here}/scan.npz"])
@pytest.mark.parametrize("name", ["scan.npz", "soft.npz"])
def test_a_picture_is_not_put_in_the_place_of_the_scan(here, capsys, contents, plot, name):
    before = contents(here)
    err = refused(capsys, "inspect", name, "--plot", plot.format(here=here), "--overwrite")
    assert "would be written, but it is read" in err
    assert contents(here) == before


@pytest.mark.parametrize(("flag", "file"), [("--probe", "probe.npy"), ("--mask", "mask.npy")])
def test_nor_of_another_file_that_is_read(here, capsys, contents, flag, file):
    before = contents(here)
    assert file in refused(capsys, "inspect", "scan.npz", flag, file, "--plot", f"way/{file}", "--overwrite")
    assert contents(here) == before


def test_two_outputs_are_two_files(here, capsys):
    assert "would be the same file" in refused(capsys, "simulate", "new.npz", "--preview", "way/new.npz", "--frames", "4")
    assert not (here / "new.npz").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["reconstruct", "out/log.csv", "--backend", "small"],
        ["reconstruct", "scan.npz", "--mask", "out/object.png", "--backend", "small"],
        ["reconstruct", "scan.npz", "--config", "out/settings.json", "--backend", "small"],
        ["reconstruct", "scan.npz", "--config", "out/settings.json", "--backend", "small", "--dry-run"],
        ["compare", "scan.npz", "--backends", "reference", "--start", "out/reference"],
        ["compare", "scan.npz", "--backends", "reference", "--probe", "out/reference/reconstruction.h5"],
        ["compare", "out/comparison.json", "--backends", "reference"],
        ["compare", "--reconstructions", "out/comparison.png", "result"],
        ["score", "out/score.json", "--reference", "result"],
        ["score", "result", "--reference", "out/score.png"],
        ["score", "result", "--reference", "scan.npz", "--scan", "out/score.png"],
    ],
)
def test_no_job_writes_over_what_it_reads(here, fit, small, capsys, contents, words):
    assert fit(here / "result") == 0
    shutil.copytree("result", "out/reference")
    os.link("scan.npz", "out/log.csv")
    for name in ("object.png", "settings.json", "comparison.json", "comparison.png", "score.json", "score.png"):
        shutil.copy("mask.npy" if name == "object.png" else "scan.npz", f"out/{name}")
    (here / "out" / "settings.json").write_text("[execution]\nseed = 1\n")
    before = contents(here)
    small.during = lambda job, events: pytest.fail("it worked")
    capsys.readouterr()
    assert "would be written, but it is read" in refused(capsys, *words, "-o", "out", "--overwrite")
    assert contents(here) == before


def test_a_training_does_not_write_over_its_scans_or_probe(scan32, small, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("best.ptycho", "log.csv"):
        shutil.copy(scan32, run / name)
    with pytest.raises(OutputError, match=r"log\.csv would be written, but it is read"):
        ptycho_core.train([scan32, run / "log.csv"], run, backend="small", overwrite=True)
    with pytest.raises(OutputError, match=r"best\.ptycho would be written, but it is read"):
        ptycho_core.train(scan32, run, validation=[run / "best.ptycho"], backend="small", overwrite=True)


def test_a_result_that_a_fit_starts_with_is_replaced_by_it_and_stays_if_that_fails(fit, small, tmp_path, contents):
    out = tmp_path / "out"
    assert fit(out) == 0
    before = contents(out)

    def fail(job, events):
        raise ValueError("it broke")

    small.during = fail
    assert fit(out, "--start", str(out), "--overwrite") == 3
    assert contents(out) == before
    small.during = lambda job, events: None
    assert fit(out, "--start", str(out), "--probe", str(out / "reconstruction.h5"), "--overwrite") == 0
    assert contents(out)["reconstruction.h5"] != before["reconstruction.h5"]


def test_a_score_lies_with_what_it_is_of(fit, tmp_path, capsys):
    out = tmp_path / "out"
    assert fit(out) == 0
    assert main(["score", str(out), "--reference", str(out), "-o", str(out)]) == 0
    assert (out / "score.json").exists()


def test_a_folder_in_the_place_of_a_file_is_found_before_any_work(fit, small, tmp_path, capsys):
    (tmp_path / "reconstruction.h5").mkdir()
    small.during = lambda job, events: pytest.fail("it worked")
    assert fit(tmp_path, "--overwrite") == 2
    assert f"{tmp_path / 'reconstruction.h5'} is a folder, and would be written as a file." in capsys.readouterr().err
