"""How much memory there is for a job to take."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["available_bytes"]


def available_bytes() -> int:
    """Bytes that this process can still take: what the system has free, within the limits of its group and of the process."""
    return max(0, min(_free_of_the_system(), _free_of_the_group(), _free_of_the_process()))


def _free_of_the_system() -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return sys.maxsize


def _free_of_the_group() -> int:
    """By the control group of a container or a batch job; without limit where there is none."""
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        most, used, rest = ((group / f"memory.{name}").read_text("ascii") for name in ("max", "current", "stat"))
        cached = dict(line.split() for line in rest.splitlines()).get("inactive_file", 0)  # of files: a job crowds them out
        return int(most) - int(used) + int(cached)
    return sys.maxsize


def _free_of_the_process() -> int:
    """By ``ulimit -v``."""
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
            return most - pages * resource.getpagesize()
    return sys.maxsize
