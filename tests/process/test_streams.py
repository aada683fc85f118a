"""Whatever becomes of standard output and error, a job ends as it would, and a command keeps its exit status."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from ptycho_core.cli.main import answer, main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.imaging.report import HISTORY, RESULTS

SMALL = ["--backend", "reference", "--epochs", 2, "--iterations", 2]


@pytest.mark.parametrize(
    ("stdout", "stderr"), [("pipe", "closed"), ("closed", "closed"), ("broken", "broken"), ("full", "full"), ("full", "pipe")]
)
def test_a_job_writes_all_and_ends_with_0(stdout, stderr, job, tmp_path):
    found = job("simulate", tmp_path / "s.npz", "--size", 16, "--frames", 16, stdout=stdout, stderr=stderr)
    assert found["status"] == 0
    assert np.load(tmp_path / "s.npz")["intensity"].shape == (16, 16, 16)
    if stdout == "pipe":
        assert found["stdout"].startswith("written ")
    if stderr == "pipe":
        assert found["stderr"].endswith("ptycho: Cannot write to standard output: No space left on device.\n")


def test_an_interrupted_job_ends_in_good_order_and_with_130_though_nobody_reads_stderr(job, scan, tmp_path):
    found = job("reconstruct", scan, *SMALL, "-o", tmp_path / "out", stderr="broken", signals=("epoch",))
    assert found["status"] == 130
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {*RESULTS, *HISTORY, "log.csv"}
    assert load_reconstruction(tmp_path / "out").facts["interrupted"] is True
    assert found["stdout"].splitlines()[1].startswith("interrupted; 'ptycho reconstruct ... --start")


def test_events_for_a_program_that_cannot_take_them_end_no_job(job, scan, tmp_path):
    words = ["reconstruct", scan, *SMALL, "--json-events", "-o"]
    found = job(*words, tmp_path / "broken", stdout="broken")
    assert found["status"] == 0
    assert "left out from now on: BrokenPipeError" in found["stderr"]
    assert "R 0." in found["stderr"]
    assert job(*words, tmp_path / "full", stdout="full", stderr="closed", signals=("epoch",))["status"] == 130
    for name in ("broken", "full"):
        assert {path.name for path in (tmp_path / name).iterdir()} >= {*RESULTS, *HISTORY}
    assert job(*words, tmp_path / "full", stdout="full", stderr="broken")["status"] == 2
    found = job(*words, tmp_path / "full", stderr="closed")
    assert found["status"] == 2
    assert json.loads(found["stdout"])["values"]["code"] == "output"


def test_a_second_signal_stops_at_once_and_what_is_left_unfinished_is_told(job, scan, tmp_path):
    found = job("reconstruct", scan, *SMALL, "-o", tmp_path / "out", signals=("epoch", "message"))
    assert found["status"] == 130
    assert found["stderr"].count("press Ctrl-C again to stop at once") == 1
    assert found["stderr"].endswith(f"ptycho: interrupted; what is in {tmp_path / 'out'} is not complete\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["log.csv"]


@pytest.mark.parametrize("words", [["backends", "list"], ["--help"], ["config", "init", "train"]])
def test_what_cannot_be_printed_is_an_error_where_it_is_the_result_but_for_a_reader_who_leaves(words, job):
    found = job(*words, stdout="full")
    assert (found["status"], found["stderr"]) == (2, "ptycho: Cannot write to standard output: No space left on device.\n")
    for where in ("broken", "closed"):
        found = job(*words, stdout=where)
        assert (found["status"], found["stderr"]) == (0, "")


@pytest.mark.parametrize("where", ["full", "broken", "closed"])
def test_an_error_that_cannot_be_told_keeps_its_status(where, job, tmp_path):
    assert job("inspect", tmp_path / "none.npz", stderr=where)["status"] == 5
    assert job("backends", "lst", stdout=where, stderr=where)["status"] == 2


def test_ctrl_c_to_a_job_and_the_tee_that_it_is_piped_to_keeps_the_result(scan, tmp_path):
    line = f"'{sys.executable}' -m ptycho_core reconstruct '{scan}' --backend reference --epochs 100000 -o '{tmp_path / 'out'}'"
    shell = f"{line} 2>&1 | tee '{tmp_path / 'log'}'; exit ${{PIPESTATUS[0]}}"
    group = subprocess.Popen(["bash", "-c", shell], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while "pie 1/" not in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""):
            assert time.monotonic() < until
            time.sleep(0.1)
        os.killpg(group.pid, signal.SIGINT)
        assert group.wait(60) == 130
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group.pid, signal.SIGKILL)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {*RESULTS, *HISTORY}


def test_closed_descriptors_are_given_to_no_file(ptycho):
    code = (
        "import os, sys\n"
        "from ptycho_core.cli.main import answer\n"
        "from argparse import Namespace\n"
        "def look(args):\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        os.write(1, b'a library')\n"
        "        os.write(2, b'a library')\n"
        "        print('told'); print('told', file=sys.stderr)\n"
        "        return file.fileno()\n"
        "status = answer([], lambda words: Namespace(func=look))\n"
        "os._exit(status + 10 * os.path.getsize(sys.argv[1]))\n"
    )
    assert ptycho(os.devnull, code=code, closed=(0, 1, 2)).returncode > 2


def test_a_broken_pipe_of_something_else_is_no_quiet_end(capsys):
    def broken(args):
        raise BrokenPipeError(32, "Broken pipe")

    assert answer([], lambda words: argparse.Namespace(func=broken)) == 1
    assert "unexpected BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize("raised", [GeneratorExit, type("Odd", (BaseException,), {})])
def test_whatever_a_plugin_raises_is_told_in_a_sentence(raised, capsys):
    def raises(args):
        raise raised("odd")

    assert answer([], lambda words: argparse.Namespace(func=raises)) == 1
    assert f"unexpected {raised.__name__}: odd" in capsys.readouterr().err


def test_the_streams_are_afterwards_what_they_were(capsys, monkeypatch):
    before = sys.stdout, sys.stderr
    assert main(["--version"]) == 0
    assert (sys.stdout, sys.stderr) == before
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["backends", "list"]) == 0
    assert main(["nonsense"]) == 2
    assert (sys.stdout, sys.stderr) == (None, None)


def test_a_thread_that_a_plugin_leaves_does_not_keep_a_command_from_ending(ptycho, tmp_path):
    code = (
        "import atexit, pathlib, sys, threading, time\n"
        "from ptycho_core.cli.main import run\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "atexit.register(pathlib.Path(sys.argv.pop(1)).touch)\n"
        "run()\n"
    )
    for words, status in ((["--version"], 0), (["nonsense"], 2), (["inspect", tmp_path / "none", "--traceback"], 1)):
        done = ptycho(tmp_path / "at exit", *words, code=code)
        assert done.returncode == status, done.stderr
        assert done.stdout or done.stderr
        (tmp_path / "at exit").unlink()


def test_the_notice_of_a_signal_goes_to_no_file_that_gets_the_number_of_stderr(ptycho, tmp_path):
    code = (
        "import os, signal, sys\n"
        "from ptycho_core.events import EventHub, stop_on_interrupt\n"
        "hub = EventHub()\n"
        "with stop_on_interrupt(hub, 'stopping'):\n"
        "    os.close(2)\n"
        "    assert os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY) == 2\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "os._exit(0 if hub.stop_requested else 1)\n"
    )
    done = ptycho(tmp_path / "file", code=code)
    assert done.returncode == 0
    assert done.stderr == b"\nptycho: stopping; press Ctrl-C again to stop at once\n"
    assert (tmp_path / "file").read_bytes() == b""
