"""The process of one job, as the host sees it and as it sees the host.

Standard input brings the order, a line of JSON; then each line asks to stop, and its end says that the host is gone: the process
ends at once. Standard output brings lines of JSON: ``log``, ``progress``, ``product``, ``model`` and ``error``.
"""

from __future__ import annotations

import _thread
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ptycho_core.contract import Event, Snapshot
    from ptycho_core.formats.product import Reconstruction

__all__ = ["Job"]

_LOOK: Final = 0.1  # seconds between two looks at whether the user asked to stop
_GRACE: Final = 2.0  # seconds for a process that has nothing left to do


class Job:
    """A job that runs, by an order with ``verb``, ``scans``, ``model``, ``settings``, ``snapshot_seconds`` and its ``folder``."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._errors = Path(order["folder"]) / "stderr.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                encoding="utf-8", start_new_session=True,
            )  # fmt: skip
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(json.dumps(order))

    def lines(self, stopping: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """What it tells until it ends; it is asked to stop when ``stopping`` says so. A process that dies tells an ``error``."""
        asked = False
        line: str | None = ""
        while line is not None:
            if not asked and stopping():
                self._say("stop")
                asked = True
            with suppress(queue.Empty):
                if (line := self._lines.get(timeout=_LOOK)) is not None:
                    yield json.loads(line)
        if status := self._process.wait():
            last = self._errors.read_text("utf-8", "replace").strip().splitlines()[-1:]
            yield {"what": "error", "message": " ".join([f"The process of the job died (status {status}).", *last])}

    def close(self) -> None:
        """See the process gone."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._process.kill()
        self._process.wait()

    def _say(self, line: str) -> None:
        with suppress(OSError):  # it died, which `lines` tells
            print(line, file=self._process.stdin, flush=True)

    def _listen(self) -> None:
        with self._process.stdout or nullcontext(()) as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)


class Teller:
    """An observer that tells the host what happens, of which ``goal`` epochs and iterations are planned."""

    def __init__(self, stream: TextIO, order: Mapping[str, Any], goal: int = 0) -> None:
        self._stream, self._folder, self.snapshot_seconds = stream, Path(order["folder"]), order["snapshot_seconds"]
        self._goal, self._done, self._stage, self._before, self._products = goal, 0, "", 0, 0

    def tell(self, what: str, **values: object) -> None:
        """Write a line."""
        print(json.dumps({"what": what, **values}), file=self._stream, flush=True)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        values = {name: value for name, value in event.values.items() if isinstance(value, int | float)}
        if event.kind in ("started", "message"):
            self.tell("log", level="warning" if "doubt" in event.values else "info", message=event.message)
        elif event.kind == "epoch":
            if event.stage != self._stage:
                self._stage, self._before = event.stage, self._done
            self._done += 1
            self._goal = max(self._goal, self._before + event.total, self._done)
            self.tell("progress", done=self._done, goal=self._goal, stage=event.stage, values=values)
        elif "frames_in_all" in values:
            self.tell("progress", done=values["frames"], goal=values["frames_in_all"], stage=event.stage, values={})

    def snapshot(self, now: Snapshot | Reconstruction, *, last: bool = False) -> None:
        """Write object, probe and positions, and tell where."""
        import numpy as np

        self._products += 1
        path = self._folder / f"{self._products}.npz"
        frames = np.arange(len(now.positions)) if now.frames is None else now.frames
        arrays: dict[str, Any] = {name: getattr(now, name) for name in ("object", "probe", "positions", "origin")}
        np.savez(path, **arrays, frames=frames)
        self.tell("product", path=str(path), last=last)


def _run(order: Mapping[str, Any], stream: TextIO) -> None:
    """Do what was ordered, by the functions that the command line calls."""
    from ptycho_core.cli.verdict import figures_of, said_of
    from ptycho_core.settings import payload as payloads

    scans, settings = order["scans"], order["settings"]
    if order["verb"] == "train":
        from ptycho_core.model import model_file
        from ptycho_core.training.run import run_payload as train

        training = payloads.create_training_payload(scans, Path(order["folder"]) / "run", settings)
        teller = Teller(stream, order, int(str(training.groups["training"]["epochs"])))
        train(training, observers=[teller])
        shutil.copyfile(model_file(training.output_dir), order["model"])
        return teller.tell("model")
    if order["verb"] == "infer":
        from ptycho_core.inference.run import run_payload as infer

        teller = Teller(stream, order)
        found, metrics = infer(payloads.create_inference_payload(order["model"], scans[0], None, settings), observers=[teller])
    else:
        from ptycho_core.reconstruction.verb import run_reconstruction

        fit = payloads.create_reconstruction_payload(scans[0], None, settings)
        planned = fit.groups["reconstruction"]
        teller = Teller(stream, order, sum(int(str(planned[name] or 0)) for name in ("epochs", "iterations")))
        found, metrics = run_reconstruction(fit, observers=[teller])
    teller.snapshot(found, last=True)
    for line in (figures_of(metrics), said_of(metrics)):
        teller.tell("log", level="info" if metrics["verdict"] == "good" else "warning", message=line)
    return None


def _watch(folder: str) -> None:
    """Hand each wish to stop to the main thread; without a host, leave nothing behind and end all that the process started."""
    while os.read(0, 1024):
        _thread.interrupt_main()
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(AttributeError, OSError):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def main() -> NoReturn:
    """Run the job that standard input orders, and end."""
    from ptycho_core.errors import PtychoError
    from ptycho_core.failures import in_one_line

    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a framework prints is no line
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        order = json.loads(stdin.readline())
    threading.Thread(target=_watch, args=[order["folder"]], daemon=True).start()
    try:
        _run(order, stream)
    except KeyboardInterrupt:
        Teller(stream, order).tell("error", message="Stopped before there was anything to keep.")
    except BaseException as error:  # noqa: BLE001 - whatever it is, the host gets a sentence
        said = str(error) if isinstance(error, PtychoError) else in_one_line(error, "ptycho_core")
        Teller(stream, order).tell("error", message=said)
    stream.close()
    os._exit(0)  # all is written, and a framework takes seconds to leave


if __name__ == "__main__":
    main()
