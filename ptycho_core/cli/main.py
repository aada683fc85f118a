"""Entry point of the command ``ptycho``: choose the command, run it, turn errors into text and an exit status."""

from __future__ import annotations

import argparse
import atexit
import os
import re
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ptycho_core.cli.json_events import asks_for_events, events_on_stdout
from ptycho_core.cli.streams import say, standard_streams
from ptycho_core.errors import OutputError, PtychoError, UsageError, did_you_mean
from ptycho_core.failures import text_of
from ptycho_core.files.links import FOLLOW_FLAG, links_followed
from ptycho_core.spelling import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from ptycho_core.cli.json_events import JsonEvents

COMMANDS = {
    "train": "fit a network to scans",
    "infer": "pass a scan through a trained network",
    "reconstruct": "fit object and probe to a scan",
    "simulate": "make a scan whose truth is known",
    "resolution": "reconstruct two halves of a scan and compare them",
    "find-convention": "find which way the axes of a scan run",
    "inspect": "say what is in a scan file",
    "convert": "write a scan or a reconstruction in the format of another program",
    "formats": "list the formats of scan files that are read and written",
    "model": "say what is in a model file, verify it with several backends, or export it",
    "score": "compare a result with a reference",
    "compare": "run the same job with several backends, or compare results that exist",
    "backends": "list, show and examine the engines that are installed",
    "config": "explain what a job would use, and why; write a settings file",
}

INTERRUPTED = 130
_ANYWHERE = ("--traceback", FOLLOW_FLAG)
"""Flags of ``ptycho`` itself, which may stand anywhere."""

_NEGATIVE = re.compile(r"-\.?[0-9]")

_FIRST_FILES = ("log.csv", "reconstruction.h5", "last.ptycho")
_LAST_FILE = "metrics.json"
_PATIENCE = 1.0  # seconds for threads that a plugin left


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (``specs/backend-contract.md`` lists them)."""
    return answer(list(sys.argv[1:] if argv is None else argv), parse)


def parse(arguments: list[str]) -> argparse.Namespace:
    """What a command line of ``ptycho`` says; ``func`` of it runs the command."""
    return _parser(arguments).parse_args(arguments)


def answer(arguments: list[str], read: Callable[[list[str]], argparse.Namespace]) -> int:
    """Run what ``read`` makes of a command line, and return the exit status; errors are reported on stderr."""
    with standard_streams() as stdout, _remembered_interrupts() as interrupts:
        with events_on_stdout(wanted=asks_for_events(arguments)) as events:
            status, leaves_files = _run(arguments, read, interrupts, events)
        stdout.flush()
        return _told_of_output(stdout.failure, status, leaves_files=leaves_files)


def _run(
    arguments: list[str], read: Callable[[list[str]], argparse.Namespace], interrupts: list[int], events: JsonEvents | None
) -> tuple[int, bool]:
    """Run the command, with errors reported; the exit status, and whether what it found is in files."""
    traced = "--traceback" in arguments
    args = argparse.Namespace()
    try:
        args = read([item for item in arguments if item not in _ANYWHERE])
        args.events = events
        with links_followed(wanted=FOLLOW_FLAG in arguments):
            status = args.func(args)
        return status, getattr(args, "leaves_files", False) and not getattr(args, "dry_run", False)
    except SystemExit as leaving:  # argparse: help, version, usage errors
        status = leaving.code if isinstance(leaving.code, int) else UsageError.exit_status
        if status:
            _tell_failure(events, getattr(leaving, "message", "The command line cannot be understood."), "usage", status)
        return status, False
    except KeyboardInterrupt:
        return _interrupted(events, args), False
    except BaseException as error:  # a plugin can raise anything
        status = _interrupted(events, args) if interrupts else _told(error, events, quietly=traced)
        if traced:
            raise
        return status, False


def _told_of_output(failure: Exception | None, status: int, *, leaves_files: bool) -> int:
    """The exit status, once it is known what became of stdout: 2 for a command whose result was what it could not print."""
    if failure is None or isinstance(failure, BrokenPipeError):  # the reader left, as `head` does
        return status
    reason = (failure.strerror if isinstance(failure, OSError) else None) or failure
    say(f"ptycho: Cannot write to standard output: {reason}.", error=True)
    return status or (0 if leaves_files else OutputError.exit_status)


def _told(error: BaseException, events: JsonEvents | None, *, quietly: bool) -> int:
    """Say what went wrong; the exit status. ``quietly`` says it only to observers."""
    if isinstance(error, PtychoError):
        _tell_failure(events, error.message, error.code, error.exit_status, remedy=error.remedy, source=error.source)
        if not quietly:
            say(f"ptycho: {error}", error=True)
        return error.exit_status
    kind = type(error).__name__
    what = f"unexpected {kind}: {text_of(error)}"
    _tell_failure(events, what, "unexpected", 1)
    if not quietly:
        say(f"ptycho: {what}", error=True)
        say("This is a bug. Run again with --traceback to see where.", error=True)
    return 1


def _interrupted(events: JsonEvents | None, args: argparse.Namespace) -> int:
    """Say that the command was stopped at once, and whether it left something unfinished; the exit status."""
    folder = getattr(args, "output_dir", None)
    text = "interrupted" if folder is None or not _unfinished(folder) else f"interrupted; what is in {folder} is not complete"
    say(f"ptycho: {text}", error=True)
    _tell_failure(events, text, "interrupted", INTERRUPTED)
    return INTERRUPTED


def _unfinished(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has some of the files of a job, and not the one that is written last."""
    try:
        there = {place.name for place in Path(folder).iterdir()}
    except OSError:
        return False
    return not there.isdisjoint(_FIRST_FILES) and _LAST_FILE not in there


def _tell_failure(events: JsonEvents | None, message: str, code: str, status: int, *, remedy: str = "", source: str = "") -> None:
    if events is not None:
        events.failed(message, {"code": code, "exit_status": status, "remedy": remedy, "source": source})


@contextmanager
def _remembered_interrupts() -> Iterator[list[int]]:
    """Ctrl-C raises ``KeyboardInterrupt`` as ever, and SIGTERM does the same; a job that stops in steps handles them itself."""
    found: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        found.append(number)
        signal.default_int_handler(number, frame)

    plain = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    main_thread = threading.current_thread() is threading.main_thread()
    ours = {number: before for number, before in plain.items() if main_thread and signal.getsignal(number) == before}
    for number in ours:
        signal.signal(number, remember)
    try:
        yield found
    finally:
        for number, before in ours.items():
            signal.signal(number, before)


def run() -> NoReturn:
    """The console script."""
    end_process(main)


def end_process(command: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit status, even if a plugin left a thread that never ends."""
    try:
        status = command()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:  # noqa: BLE001 - with --traceback
        import traceback

        with suppress(OSError, ValueError):
            print(harmless(traceback.format_exc()), end="", file=sys.stderr)
        status = 1
    deadline = time.monotonic() + _PATIENCE
    with suppress(KeyboardInterrupt):
        for thread in _left_threads():
            thread.join(max(0.0, deadline - time.monotonic()))
    if not _left_threads():
        sys.exit(status)
    atexit._run_exitfuncs()  # noqa: SLF001 - temporary folders, logs; Python itself would wait for the threads first
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _left_threads() -> list[threading.Thread]:
    """Threads that Python would wait for."""
    return [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]


def add_command(name: str, commands: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the parser of a command, whose module is imported."""
    import_module(f"ptycho_core.cli.{name.replace('-', '_')}").add_parser(commands)


class _Refused(SystemExit):
    """A command line that was refused, and why."""

    def __init__(self, message: str) -> None:
        super().__init__(UsageError.exit_status)
        self.message = message


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the usage block that hides it; ``-30rad`` is a value, as ``-30`` is."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - those of argparse
        super().__init__(*arguments, **more)
        self._negative_number_matcher = _NEGATIVE

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}. See '{self.prog} --help'.", error=True)
        raise _Refused(f"{message}.")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    from ptycho_core import __version__

    parser = _Parser(prog="ptycho", description="Ptychography: from diffraction patterns to the complex image of the sample.")
    parser.add_argument("--version", action="version", version=f"ptycho {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error arose instead of one sentence")
    parser.add_argument(FOLLOW_FLAG, action="store_true", help="read what an HDF5 file keeps in other files; else it is refused")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((item for item in arguments if not item.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        parser.error(f"there is no command '{chosen}'.{did_you_mean(chosen, COMMANDS)} There are {', '.join(COMMANDS)}")
    for name, summary in COMMANDS.items():
        if name == chosen:
            add_command(name, commands)
        else:  # a command that is not run is a line of the help, and costs nothing
            commands.add_parser(name, help=summary)
    return parser
