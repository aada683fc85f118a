"""What the tests of worker processes run in them. Never imported by the test's own process."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ptycho_core.contract import EvaluateResult, Event
from ptycho_core.errors import BackendUnusableError, CapabilityError, DataError

calls = 0


class OwnError(DataError):
    """A plugin's own kind of one of our errors."""

    code = "data.own"


def same(*values, **named):
    return values, named


def kinds(**named):
    return {name: type(value).__name__ for name, value in named.items()}


def pid():
    return os.getpid()


def count():
    global calls
    calls += 1
    return calls


def environment(*names):
    return [os.environ.get(name) for name in names]


def noise():
    print("printed")
    os.write(1, b'{"answer": "forged"}\n')
    os.system("echo from a child")
    sys.stderr.write("told\n")
    return sys.stdin.read()


def divide():
    return np.zeros(1) and 1 / 0


def leave():
    sys.exit("go away")


def refuse(kind):
    if kind == "data":
        raise DataError("scan.npz has no 'probe'.", remedy="Give --probe.", source="scan.npz")
    if kind == "own":
        raise OwnError("a stranger's kind")
    if kind == "state":
        raise BackendUnusableError("it is broken.", state="broken", backend="acme", distribution="acme 1.0")
    raise CapabilityError("it does not provide 'x'.", backend="acme", source="--x")


def die(signal):
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal)


def leave_files(pids):
    """Die with a temporary folder that no one will remove."""
    Path(pids).write_text(tempfile.mkdtemp())
    os.kill(os.getpid(), 9)


def exit_with(status):
    os._exit(status)


def hang(pids=None):
    print("waiting", file=sys.stderr, flush=True)
    if pids is not None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(pids).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def leave_a_child(pids):
    """Die at once while a child of it holds the pipe of the answers open."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
    Path(pids).write_text(f"{os.getpid()} {child}")
    os._exit(5)


def report(observers=()):
    for epoch in range(3):
        for observer in observers:
            observer(Event("epoch", "fit", epoch, 3, {"loss": np.float64(0.1 * epoch), "misfit": float("nan")}))
    return len(observers)


def evaluate(job):
    return EvaluateResult(job.counts * 2, {"nll": float(job.counts.sum())}, {"object": job.object.conj()}, job.object)


def stranger():
    return object()


def spend(seconds, megabytes):
    block = np.ones(int(megabytes * 1e6 / 8))
    began = time.process_time()
    while time.process_time() - began < seconds:
        block += 1
    return float(block[0])
