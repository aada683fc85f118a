"""Run commands one after the other, each in a fork of this process: what they import is imported once.

A line of standard input is JSON: ``{"words": [...], "stdout": WHERE, "stderr": WHERE, "signals": [EVENT, ...]}``. WHERE is
"pipe", "broken" (a pipe whose reader is gone), "full" (a disk without room) or "closed". An observer sends the command SIGTERM
at the events in "signals", one after the other. The answer is a line of JSON: the exit status, and what was written to a "pipe".
"""

import json
import os
import signal
import sys
import tempfile
from contextlib import redirect_stdout

from ptycho_core.cli.main import main, run
from ptycho_core.jobs import observers


def place(where, kept):
    """A descriptor for a stream, None for none."""
    if where == "closed":
        return None
    if where == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if where == "broken":
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    return os.dup(kept.fileno())


def become(number, descriptor, name):
    """The stream as Python makes it when it starts."""
    if descriptor is None:
        os.close(number)
        stream = None
    else:
        os.dup2(descriptor, number)
        os.close(descriptor)
        stream = open(number, "w", encoding="utf-8", buffering=1 if number == 2 else -1, closefd=False)  # noqa: SIM115
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def interrupter(kinds):
    left = list(kinds)

    def interrupt(event):
        if left and event.kind == left[0]:
            left.pop(0)
            os.kill(os.getpid(), signal.SIGTERM)

    return interrupt


def fork(case, out, err):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    streams = place(case["stdout"], out), place(case["stderr"], err)
    become(1, streams[0], "stdout")
    become(2, streams[1], "stderr")
    signals = case.get("signals", ())
    observers.installed_observers = lambda: (interrupter(signals),)
    sys.argv = ["ptycho", *case["words"]]
    try:
        run()
    except SystemExit as leaving:
        sys.exit(leaving.code)


with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):  # whatever the commands import
    assert main(["simulate", f"{folder}/s.npz", "--size", "16", "--frames", "16"]) == 0
    assert main(["reconstruct", f"{folder}/s.npz", "--backend", "reference", "--epochs", "1", "-o", f"{folder}/o"]) == 0

for line in sys.stdin:
    case = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = fork(case, out, err)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    print(json.dumps({"status": status, "stdout": texts[0], "stderr": texts[1]}), flush=True)
