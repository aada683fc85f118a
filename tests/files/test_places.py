"""Places that cannot be written are found at the start; one that fails at the end costs no one the result."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import OutputError
from ptycho_core.files.rescue import write_or_rescue
from ptycho_core.files.whole import replace_file, write_whole
from ptycho_core.formats import hdf5_file

NOWHERE = Path("/sys/kernel")
"""Where nothing can be written, not even by one whom access() allows everything."""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files, and one that is home."""
    for name in ("temporary", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "temporary"


@pytest.fixture
def limited():
    """Runs something with a limit to the size of files."""

    def limited(size, act):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            return act()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.mark.skipif(not NOWHERE.is_dir(), reason="there is no such place")
@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "{nowhere}/out.npz"],
        ["simulate", "{good}/new.npz", "--preview", "{nowhere}/p.png"],
        ["inspect", "{scan}", "--plot", "{nowhere}/p.png"],
        ["config", "init", "reconstruct", "-o", "{nowhere}/a.toml"],
        ["reconstruct", "{scan}", "--backend", "small", "-o", "{nowhere}", "--overwrite"],
        ["reconstruct", "{scan}", "--backend", "small", "-o", "{nowhere}/a/b"],
        ["train", "{scan32}", "--backend", "small", "-o", "{nowhere}/a"],
        ["score", "{out}", "--reference", "{out}", "-o", "{nowhere}"],
        ["compare", "--reconstructions", "{out}", "{scan}", "-o", "{nowhere}", "--overwrite"],
        ["compare", "{scan}", "--backends", "reference", "-o", "{nowhere}/a"],
    ],
)
def test_a_place_that_takes_nothing_is_found_before_any_work(words, fit, small, scan, scan32, tmp_path, capsys):
    if "{out}" in words:
        assert fit(tmp_path / "out") == 0
    small.during = lambda job, events: pytest.fail("it worked")
    capsys.readouterr()
    places = {"nowhere": NOWHERE, "good": tmp_path, "scan": scan, "scan32": scan32, "out": tmp_path / "out"}
    assert main([word.format(**places) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"ptycho: .*{NOWHERE}.* cannot be (written|made): [A-Z][a-z ]+\..*\n", err), err
    assert not (tmp_path / "new.npz").exists()


def test_what_is_no_plain_file_is_not_replaced(tmp_path, scan, capsys):
    os.mkfifo(tmp_path / "pipe")
    for words in (["simulate", str(tmp_path / "pipe")], ["inspect", str(scan), "--plot", "/dev/null"]):
        assert main([*words, "--overwrite"]) == 2
        assert "is no plain file" in capsys.readouterr().err
    assert Path("/dev/null").is_char_device()


def test_a_result_that_its_folder_cannot_take_goes_to_another_place_which_is_told(
    scan, scan32, train, small, temporary, tmp_path
):
    """The folder is removed while the job runs; it is not made anew, since it may have been the place of another disk."""
    small.during = lambda job, events: shutil.rmtree(tmp_path / "out")
    with pytest.raises(OutputError) as failed:
        ptycho_core.reconstruct(scan, tmp_path / "out", backend="small", progress=False, logger="none")
    told = re.search(r"reconstruction\.h5, settings\.json, frames\.csv, metrics\.json are in (\S+) instead\.", str(failed.value))
    assert told, failed.value
    assert failed.value.exit_status == 2
    assert Path(told[1]).parent == temporary
    found = ptycho_core.load_reconstruction(told[1])
    assert found.object.shape == ptycho_core.load_reconstruction(Path(told[1]) / "reconstruction.h5").object.shape
    assert json.loads((Path(told[1]) / "metrics.json").read_text())["frames"] == 49
    assert not (tmp_path / "out").exists()
    remove, small.during = small.during, lambda job, events: None
    assert train(tmp_path / "run") == 0
    small.during = remove
    with pytest.raises(OutputError, match=f"are in {temporary}/ptycho-out-") as failed:
        ptycho_core.infer(scan32, tmp_path / "run", tmp_path / "out", backend="small", progress=False)


def test_a_model_that_cannot_be_saved_goes_there_too(scan32, small, temporary, tmp_path):
    for settings in ({}, {"enable_checkpointing": False, "logger": "none"}):
        small.during = lambda job, events: shutil.rmtree(tmp_path / "run")
        with pytest.raises(OutputError) as failed:
            ptycho_core.train(scan32, tmp_path / "run", backend="small", network_width=4, epochs=2, progress=False, **settings)
        told = re.fullmatch(r"Cannot write \S+/run/last\.ptycho: .*\. last\.ptycho is in (\S+) instead\.", str(failed.value))
        assert told, failed.value
        assert len(ptycho_core.load_model(Path(told[1]) / "last.ptycho").history) == (2 if settings else 1)


def test_another_job_that_has_made_the_folder_anew_is_not_disturbed(scan, small, temporary, tmp_path, contents):
    out, old = tmp_path / "out", tmp_path / "moved"

    def another(job, events):
        out.rename(old)
        out.mkdir()
        (out / "reconstruction.h5").write_text("of another job")

    small.during = another
    with pytest.raises(OutputError, match=r"was removed or replaced while the job ran\. .* are in "):
        ptycho_core.reconstruct(scan, out, backend="small", progress=False)
    assert contents(out) == {"reconstruction.h5": b"of another job"}


def test_what_cannot_hold_the_first_file_is_passed_over_and_loss_is_told(temporary, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    files = [("a", lambda path: write_whole(path, b"a")), ("b", lambda path: write_whole(path, b"b"))]
    shutil.rmtree(temporary)
    with pytest.raises(OutputError, match=rf"Cannot write {gone}/a: No such file or directory\. a, b are in {tmp_path}/home/"):
        write_or_rescue(gone, files)
    monkeypatch.setenv("HOME", str(gone))
    with pytest.raises(OutputError) as failed:
        write_or_rescue(gone, files)
    reason = "No such file or directory"
    told = f"Nothing could be saved elsewhere either; tried: {temporary} ({reason}), {gone} ({reason})."
    assert str(failed.value) == f"Cannot write {gone}/a: {reason}. {told}"
    gone.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (gone / "b").mkdir()
    with pytest.raises(OutputError, match=rf"a is in {gone}\. b is in {tmp_path}/home/ptycho-gone-\w+ instead\."):
        write_or_rescue(gone, files)


FULL = """
import os, resource, sys
from ptycho_core.cli.main import main
from ptycho_core.formats import hdf5_file
hdf5_file.IN_MEMORY = int(sys.argv[1])
for size in (5000, 15000, 25000, 35000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    print(size, main([*sys.argv[3:], "-o", f"{sys.argv[2]}/{size}"]), sorted(os.listdir(sys.argv[2])))
"""


@pytest.mark.parametrize("in_memory", [1 << 30, 0])
def test_a_full_disk_is_one_sentence_and_no_crash_whatever_the_size(scan, tmp_path, in_memory):
    words = ["reconstruct", scan, "--backend", "reference", "--epochs", "1", "--iterations", "1", "--quiet", "--logger", "none"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(in_memory), str(tmp_path), *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{size} 2 []" for size in (5000, 15000, 25000, 35000)]
    told = done.stderr.splitlines()
    assert len(told) == 4
    for line in told:
        assert re.fullmatch(
            r"ptycho: Cannot write \S+/reconstruction\.h5: File too large\. Nothing could be saved elsewhere either; "
            r"tried: \S+ \(File too large\), \S+ \(File too large\)\.",
            line,
        ), line


def test_a_large_result_is_filled_on_the_disk_and_is_the_same(tmp_path, monkeypatch, limited):
    arrays = {"object": np.arange(90_000).reshape(300, 300) * (1 + 2j), "probe": np.ones((1, 16, 16), complex)}
    one = ptycho_core.formats.product.Reconstruction(positions=np.zeros((3, 2)), **arrays)
    one.save(tmp_path / "small.h5")
    monkeypatch.setattr(hdf5_file, "IN_MEMORY", 1000)
    one.save(tmp_path / "large.h5")
    with h5py.File(tmp_path / "small.h5") as small, h5py.File(tmp_path / "large.h5") as large:
        names: list[str] = []
        small.visit(names.append)
        for name in names:
            if isinstance(small[name], h5py.Dataset):
                assert np.array_equal(small[name][()], large[name][()])
    before = (tmp_path / "large.h5").read_bytes()
    for size in (100, 3000, 100_000, len(before) - 1):
        with pytest.raises(OutputError, match=r"Cannot write .*large\.h5: File too large\.$"):
            limited(size, lambda: one.save(tmp_path / "large.h5"))
        assert (tmp_path / "large.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cleaning_does_not_hide_why_a_file_could_not_be_written(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OutputError, match=r"Cannot write .*a: No space left on device\.$"):
        replace_file(tmp_path / "a", lambda path: (_ for _ in ()).throw(OSError(28, "full")))


@pytest.fixture
def no_place(monkeypatch):
    """No folder for temporary files can be used."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(NOWHERE))
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(NOWHERE)])


def test_a_folder_for_temporary_files_that_cannot_be_used_is_named(scan, tmp_path, no_place, capsys):
    assert main(["compare", str(scan), "--backends", "reference", "-o", str(tmp_path / "out"), "--quiet"]) == 2
    told = f"No usable temporary directory found in ['{NOWHERE}']. Set TMPDIR to a folder that can be written and has room.\n"
    assert capsys.readouterr().err == f"ptycho: Temporary files cannot be written: {told}"
    assert not (tmp_path / "out").exists()


def test_a_job_needs_no_folder_for_temporary_files(fit, train, scan32, tmp_path, no_place):
    assert fit(tmp_path / "fit") == 0
    assert train(tmp_path / "run") == 0
    infer = ["infer", str(scan32), "--model", str(tmp_path / "run"), "-o", str(tmp_path / "out"), "--backend", "small", "--quiet"]
    assert main(infer) == 0
    assert all((tmp_path / folder / "metrics.json").is_file() for folder in ("fit", "run", "out"))
