"""A folder is one job's alone while that runs: a second one is refused before any work, whatever it is and however it is run."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import OutputError
from ptycho_core.files.folder import claimed_folder
from ptycho_core.files.lock import LOCK, FolderLock

HOLD = """
import sys
from pathlib import Path
from ptycho_core.files.folder import claimed_folder
with claimed_folder(Path(sys.argv[1]), overwrite=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder, and the process that holds it."""
    folder = tmp_path / "held"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=-1, stdout=-1, text=True)
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.communicate()


def test_every_command_is_refused_before_any_work_and_names_the_process(
    held, scan, scan32, fit, train, small, tmp_path, contents, capsys
):
    folder, process = held
    assert train(tmp_path / "run") == 0
    assert fit(tmp_path / "out") == 0
    for file in (*(tmp_path / "run").iterdir(), *(tmp_path / "out").iterdir()):
        shutil.copy(file, folder / file.name)
    before = contents(folder)
    small.during = lambda job, events: pytest.fail("it worked")
    capsys.readouterr()
    compared = ["compare", "--reconstructions", str(tmp_path / "out"), str(tmp_path / "out" / "reconstruction.h5")]
    commands = [
        lambda: fit(folder, "--overwrite"),
        lambda: fit(folder),
        lambda: fit(folder, "--overwrite", "--dry-run"),
        lambda: train(folder, "--overwrite"),
        lambda: train(folder, "--resume"),
        lambda: main(
            ["infer", str(scan32), "--model", str(tmp_path / "run"), "-o", str(folder), "--backend", "small", "--overwrite"]
        ),
        lambda: main(["score", str(tmp_path / "out"), "--reference", str(scan), "-o", str(folder), "--overwrite"]),
        lambda: main([*compared, "-o", str(folder), "--overwrite"]),
        lambda: main(["compare", str(scan), "--backends", "reference", "-o", str(folder), "--overwrite"]),
    ]
    for command in commands:
        assert command() == 2
        out, err = capsys.readouterr()
        told = f"ptycho: The output folder {folder} is in use by process {process.pid} on {socket.gethostname()}, since "
        assert err.startswith(told), (out, err)
    with pytest.raises(OutputError, match=f"process {process.pid}"):
        ptycho_core.reconstruct(scan, folder, backend="small", overwrite=True)
    assert contents(folder) == before
    process.kill()  # the lock goes with the process; its record stays, and means nothing
    process.wait()
    assert (folder / LOCK).exists()
    small.during = lambda job, events: None
    assert fit(folder, "--overwrite") == 0
    assert not (folder / LOCK).exists()


def test_of_two_threads_one_is_refused(scan, small, tmp_path):
    inside, refused, found = threading.Event(), threading.Event(), []
    small.during = lambda job, events: (inside.set(), refused.wait(20))
    run = lambda: found.append(ptycho_core.reconstruct(scan, tmp_path / "out", backend="small", progress=False))  # noqa: E731
    first = threading.Thread(target=run)
    first.start()
    assert inside.wait(20)
    assert (tmp_path / "out" / LOCK).exists()
    with pytest.raises(OutputError, match=f"in use by process {os.getpid()} on"):
        ptycho_core.reconstruct(scan, tmp_path / "out", backend="small", overwrite=True)
    refused.set()
    first.join()
    assert len(found) == 1
    assert not (tmp_path / "out" / LOCK).exists()


def test_a_lock_file_makes_no_folder_full_and_does_not_stay(fit, small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / LOCK).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))  # the number was given anew
    assert fit(out) == 0
    assert not (out / LOCK).exists()

    def fail(job, events):
        raise RuntimeError("it broke")

    small.during = fail
    assert fit(tmp_path / "a" / "b") == 3
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["log.csv"]
    assert main(["reconstruct", "nothing.npz", "-o", str(tmp_path / "none"), "--backend", "small"]) == 5
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("record", "free"),
    [
        ({"pid": 1, "host": socket.gethostname()}, True),  # it lives, but has not the lock
        ({"pid": 1, "host": "elsewhere", "since": "2030-01-31 12:00:00"}, False),
        ("", True),
        ("no json", True),
        ("[]", True),
        ('{"pid": "x", "host": 3}', True),
    ],
)
def test_a_record_that_was_left_is_stale_here_and_doubtful_from_elsewhere(record, free, tmp_path):
    (tmp_path / LOCK).write_text(record if isinstance(record, str) else json.dumps(record))
    if free:
        with claimed_folder(tmp_path, overwrite=False):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        return
    with pytest.raises(OutputError) as refused, claimed_folder(tmp_path, overwrite=False):
        pass
    assert str(refused.value) == (
        f"The output folder {tmp_path} is in use by process 1 on elsewhere, since 2030-01-31 12:00:00. "
        f"Wait for it, or choose another folder; if it has ended, delete {tmp_path / LOCK}."
    )
    assert (tmp_path / LOCK).exists()


def test_without_locks_in_the_file_system_the_record_decides(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
    (tmp_path / LOCK).write_text(json.dumps({"pid": child.pid, "host": socket.gethostname()}))
    with pytest.raises(OutputError, match=f"process {child.pid}"):
        FolderLock(tmp_path)
    child.communicate(b"\n")
    with FolderLock(tmp_path), pytest.raises(OutputError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_begin_at_once_never_two_have_the_folder(tmp_path):
    """The file is made and taken away many times while others look for it."""
    code = """
import sys, time
from pathlib import Path
from ptycho_core.errors import OutputError
from ptycho_core.files.folder import claimed_folder
folder, got, end = Path(sys.argv[1]), 0, time.monotonic() + 0.7
while time.monotonic() < end:
    try:
        with claimed_folder(folder, overwrite=True):
            with open(folder / "inside", "x"):
                got += 1
            (folder / "inside").unlink()
    except OutputError as error:
        assert "in use" in str(error), error
print(got)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "many")]
    running = [subprocess.Popen(words, stdout=-1, stderr=-1, text=True) for _ in range(3)]
    told = [one.communicate(timeout=60) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], told
    assert all(int(out) > 0 for out, _ in told), told
