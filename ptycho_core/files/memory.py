"""How much memory this process can still take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["free_memory"]

_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current")


def free_memory() -> int | None:
    """Bytes that this process can still take, by the system, its control group and its own limit; None if none of them says."""
    found = [_available(), _left_in_group(), _left_of_limit()]
    known = [one for one in found if one is not None]
    return max(0, min(known)) if known else None


def _available() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _left_in_group() -> int | None:
    """What a container leaves; caches that it could let go are counted as taken, so half of what is taken is not."""
    with suppress(OSError, ValueError):
        most, taken = (int(Path(place).read_text("ascii")) for place in _CGROUP)
        return most - taken // 2
    return None


def _left_of_limit() -> int | None:
    """What ``ulimit -v`` leaves."""
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return limit - int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    return None
