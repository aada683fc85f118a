"""The process of one job, as the host sees it and as it sees the host.

Standard input brings the order, a line of JSON; then each line asks to stop, and its end says that the host is gone: the process
ends at once. Standard output brings events, as with ``--json-events``; a ``checkpoint`` of a fit or an inference has its
reconstruction at ``path``, and the last of them the value ``last``.
"""

from __future__ import annotations

import _thread
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import ptycho_core
from ptycho_core.backends.child import end_child, end_own_session, last_words, start_child, told_end
from ptycho_core.cli.json_events import JsonEvents
from ptycho_core.contract import Event, Snapshot
from ptycho_core.errors import PtychoError
from ptycho_core.failures import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Job"]

_PARTS: Final = ("object", "probe", "positions", "origin", "frames")
"""Of a reconstruction, what a snapshot has too."""

_LOOK: Final = 0.1  # seconds between two looks at whether the user asked to stop
_GRACE: Final = 2.0  # seconds for a process that has nothing left to do


class Job:
    """A job that runs, by an order with ``verb``, ``scans``, ``model``, ``settings``, ``snapshot_seconds`` and its ``folder``.

    Attributes:
        done, goal: epochs and iterations, or frames; and how many are planned, 0 until the plan is made.
    """

    done = goal = 0

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._errors, self._stage, self._before = tempfile.TemporaryFile(), "", 0  # noqa: SIM115 - closed by close()
        self._child = start_child(__name__, errors=self._errors, stdin=subprocess.PIPE)
        self._say(json.dumps(order))

    def lines(self, stopping: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """What it tells until it ends; it is asked to stop when ``stopping`` says so. A process that dies tells an ``error``."""
        threading.Thread(target=self._look, args=[stopping], daemon=True).start()
        for text in self._child.stdout or ():
            line = json.loads(text)
            self._count(**line)
            yield line
        if status := self._child.wait():
            message = " ".join([f"The job failed: {told_end(status)}.", *last_words(self._errors).strip().splitlines()[-1:]])
            yield {"kind": "error", "stage": "", "values": {}, "message": message}

    def close(self) -> None:
        """See the process gone."""
        with self._errors, self._child as child:
            with suppress(OSError, subprocess.TimeoutExpired):
                child.stdin.close()  # type: ignore[union-attr]
                child.wait(_GRACE)
            end_child(child)

    def _look(self, stopping: Callable[[], bool]) -> None:
        while self._child.poll() is None and not stopping():
            time.sleep(_LOOK)
        self._say("stop")

    def _say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # it died, which `lines` tells
            print(line, file=self._child.stdin, flush=True)

    def _count(self, kind: str, stage: str, total: int, values: Mapping[str, Any], **_: object) -> None:
        """Epochs count through all stages, and a stage may be longer than was planned."""
        if kind in ("started", "epoch"):
            if stage != self._stage:
                self._stage, self._before = stage, self.done
            self.done += kind == "epoch"
            self.goal = max(self.goal, self._before + total, self.done)
        elif "frames_in_all" in values:
            self.done, self.goal = values["frames"], values["frames_in_all"]


class Teller(JsonEvents):
    """An observer that tells the host what happens, and hands over what there is so far."""

    def __init__(self, stream: TextIO, order: Mapping[str, Any]) -> None:
        super().__init__(stream)
        self._folder, self.snapshot_seconds, self._products = Path(order["folder"]), order["snapshot_seconds"], 0

    def snapshot(self, now: Snapshot | ptycho_core.Reconstruction, *, last: bool = False) -> None:
        """Write object, probe and positions, and tell where."""
        self._products += 1
        path = self._folder / f"{self._products}.h5"
        ptycho_core.Reconstruction(**{name: getattr(now, name) for name in _PARTS}).save(path)
        self(Event("checkpoint", values={"last": last}, path=str(path)))


def _run(order: Mapping[str, Any], teller: Teller) -> None:
    """Do what was ordered, by the functions that the command line calls."""
    from ptycho_core.cli.verdict import figures_of, said_of
    from ptycho_core.settings import payload as payloads

    scans, settings = order["scans"], order["settings"]
    if order["verb"] == "train":
        from ptycho_core.model import model_file
        from ptycho_core.training.run import run_payload as train

        training = payloads.create_training_payload(scans, Path(order["folder"]) / "run", settings)
        train(training, observers=[teller])
        shutil.copyfile(model_file(training.output_dir), order["model"])
        return
    if order["verb"] == "infer":
        from ptycho_core.inference.run import run_payload as infer

        found, metrics = infer(payloads.create_inference_payload(order["model"], scans[0], None, settings), observers=[teller])
    else:
        from ptycho_core.reconstruction.verb import run_reconstruction as fit

        found, metrics = fit(payloads.create_reconstruction_payload(scans[0], None, settings), observers=[teller])
    teller.snapshot(found, last=True)
    for line in (figures_of(metrics), said_of(metrics)):
        teller(Event("message", message=line, values={} if metrics["verdict"] == "good" else {"doubt": True}))


def _watch(folder: str) -> None:
    """Hand each wish to stop to the main thread; without a host, leave nothing behind and end all that the process started."""
    while os.read(0, 1024):
        _thread.interrupt_main()
    shutil.rmtree(folder, ignore_errors=True)
    end_own_session()


def main() -> NoReturn:
    """Run the job that standard input orders, and end."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a framework prints is no line
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        order = json.loads(stdin.readline())
    teller = Teller(stream, order)
    threading.Thread(target=_watch, args=[order["folder"]], daemon=True).start()
    try:
        _run(order, teller)
    except KeyboardInterrupt:
        teller.failed("Stopped before there was anything to keep.", {})
    except BaseException as error:  # noqa: BLE001 - whatever it is, the host gets a sentence
        teller.failed(str(error) if isinstance(error, PtychoError) else in_one_line(error, "ptycho_core"), {})
    os._exit(0)  # all is written, and a framework takes seconds to leave


if __name__ == "__main__":
    main()
