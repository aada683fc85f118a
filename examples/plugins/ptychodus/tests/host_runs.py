"""What the tests of ptychodus share: programs that are run to their end, and jobs that are waited for."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
HOST = HERE.parents[3] / "build/ptychodus-host/bin"


def ended(command, env, folder, timeout=600, **more):
    """Run to the end; status, and what was said."""
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, env=env, cwd=folder, timeout=timeout, **more
    )
    return done.returncode, done.stdout + done.stderr


def within(seconds: float, happened: Callable[[], bool]) -> float:
    """Wait until something happened; the seconds that it took."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < seconds, f"nothing in {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def jobs() -> list[int]:
    """Processes of jobs that run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"ptycho_ptychodus.child" in words:
            found.append(int(place.name))
    return found
