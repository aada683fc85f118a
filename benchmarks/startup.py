"""CPU seconds of the commands that must cost next to nothing: the median of several fresh processes."""

import resource
import statistics
import subprocess
import sys

RUNS = 7


def cpu_seconds(*arguments):
    """CPU seconds of one process, children of it included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


PLUGIN = """
import time, pytest
from importlib import metadata
from _pytest.config import get_config

config, began = get_config(), time.process_time()
from ptycho_core.conformance import pytest_plugin

pytest_plugin.pytest_addoption(config._parser)
list(metadata.distribution("ptycho-core").files or ())  # what pytest reads of every distribution that has a plugin
print(time.process_time() - began)
"""


if __name__ == "__main__":
    commands = {
        "python -c pass": ["-c", "pass"],
        "ptycho --help": ["-m", "ptycho_core", "--help"],
        "ptycho backends list": ["-m", "ptycho_core", "backends", "list"],
        "ptycho reconstruct --help": ["-m", "ptycho_core", "reconstruct", "--help"],
    }
    for name, arguments in commands.items():
        print(f"{name:28s} {statistics.median(cpu_seconds(*arguments) for _ in range(RUNS)):.3f} CPU s (median of {RUNS})")
    own = [
        float(subprocess.run([sys.executable, "-c", PLUGIN], capture_output=True, text=True, check=True).stdout)
        for _ in range(RUNS)
    ]
    print(f"{'pytest, options of the kit':28s} {statistics.median(own):.4f} CPU s in every other run (median of {RUNS})")
