"""CPU seconds of the commands that must cost next to nothing: the median of several fresh processes."""

import os
import statistics
import subprocess
import sys

RUNS = 7


def cpu_seconds(*arguments):
    """CPU seconds of one process, children of it included."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    commands = {
        "python -c pass": ["-c", "pass"],
        "ptycho --help": ["-m", "ptycho_core", "--help"],
        "ptycho backends list": ["-m", "ptycho_core", "backends", "list"],
        "ptycho reconstruct --help": ["-m", "ptycho_core", "reconstruct", "--help"],
    }
    for name, arguments in commands.items():
        print(f"{name:28s} {statistics.median(cpu_seconds(*arguments) for _ in range(RUNS)):.3f} CPU s (median of {RUNS})")
