"""The doctor starts a backend in a separate process: a crash, a hang or an exit is a row."""

from __future__ import annotations

import json
import os

import pytest


def diagnose(site, *arguments):
    done = site.ptycho("backends", "doctor", "--json", *arguments)
    return done.returncode, {row["name"]: row for row in json.loads(done.stdout)}


def test_a_sound_backend_reports_framework_and_devices_whatever_it_prints(site):
    site.backend()
    site.framework(body="import os\nprint('noise')\nos.write(1, b'{more noise')\n")
    status, rows = diagnose(site)
    assert status == 0
    assert rows["acme"]["state"] == "ok"
    assert rows["acme"]["report"] == {
        "framework_version": "2.5",
        "devices": [{"accelerator": "cpu", "name": "cpu:0", "title": "a CPU"}],
        "precisions": ["float32"],
        "problems": [],
    }
    text = site.ptycho("backends", "doctor").stdout
    assert "acme: ok (ptycho-acme 1.0, " in text
    assert "device      cpu: cpu:0 a CPU" in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
            "the process died with signal 11 (SIGSEGV) while importing fakeflow",
        ),
        ("import os\nos._exit(4)", "the process ended with exit status 4 while importing fakeflow"),
        ("import sys\nsys.exit('go away')", "SystemExit: go away (while importing fakeflow)"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library' (while importing fakeflow)"),
        ("import time\ntime.sleep(600)", "no answer within 2 s while importing fakeflow"),
    ],
)
def test_a_framework_that_fails_in_any_way_is_a_row_and_the_others_are_examined(site, body, reason):
    site.framework(body=body)
    site.backend()
    site.backend(
        "pure", manifest='name = "{name}"\ncontract = "2.0"\ntitle = "{title}"\ncapabilities = ["evaluate"]\n', plugin=pure()
    )
    status, rows = diagnose(site, "--timeout", "2")
    assert status == 3
    assert (rows["acme"]["state"], rows["acme"]["reason"]) == ("broken", reason)
    assert rows["pure"]["state"] == "ok"
    if "no_such_library" in body:
        assert "fakeflow/__init__.py" in rows["acme"]["trace"]


def test_a_hang_ends_with_all_that_it_started(site):
    site.backend()
    pid_file = site.folder / "pid"
    body = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(pid_file)!r}, "w").write(str(child.pid))
        time.sleep(600)
    """
    site.framework(body=body)
    status, rows = diagnose(site, "acme", "--timeout", "3")
    assert status == 3
    assert rows["acme"]["reason"] == "no answer within 3 s while importing fakeflow"
    assert not _runs(int(pid_file.read_text()))


def test_a_state_other_than_ok_is_told_without_starting_anything(site):
    site.backend()
    status, rows = diagnose(site, "acme")
    assert status == 3
    assert rows["acme"]["state"] == "missing"
    assert rows["acme"]["reason"].endswith("Install it: pip install 'fakeflow-gpu>=2.0,<3'")


def test_each_of_two_rivals_can_be_examined(site):
    site.backend(distribution="ptycho-acme")
    site.backend(distribution="zzz")
    site.framework()
    done = site.ptycho("backends", "doctor", "acme@zzz")
    assert done.returncode == 0
    assert "acme: ok (zzz 1.0, " in done.stdout


def test_an_unknown_backend_and_a_bad_timeout_are_usage_errors(site):
    site.backend()
    assert site.ptycho("backends", "doctor", "acne").returncode == 2
    assert site.ptycho("backends", "doctor", "--timeout", "-1").returncode == 2
    assert site.ptycho("backends", "doctor", "--timeout", "soon").returncode == 2


def test_without_any_backend_the_doctor_says_how_to_install_one(site):
    done = site.ptycho("backends", "doctor", bare=True)
    assert done.returncode == 3
    assert "no backend is installed. PyTorch: In a checkout of ptycho: pip install" in done.stderr


def pure():
    return """
from pathlib import Path
from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest
from ptycho_core.contract import Device, ProbeReport

@hookimpl
def ptycho_backend_spec():
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "pure")

@hookimpl
def ptycho_probe():
    return ProbeReport("", (Device("cpu", "cpu"),), ("float64",))

@hookimpl
def ptycho_plan():
    return None

@hookimpl
def ptycho_evaluate():
    return None
"""


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().split(")")[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
