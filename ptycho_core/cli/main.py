"""Entry point of the command ``ptycho``: choose the command, run it, turn errors into text and an exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from ptycho_core.errors import PtychoError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

COMMANDS = {
    "train": "fit a network to scans",
    "infer": "pass a scan through a trained network",
    "reconstruct": "fit object and probe to a scan",
    "simulate": "make a scan whose truth is known",
    "inspect": "say what is in a scan file",
    "model": "say what is in a model file, or verify it with several backends",
    "score": "compare a result with a reference",
    "compare": "run the same job with several backends, or compare results that exist",
    "backends": "list, show and examine the engines that are installed",
    "config": "explain what a job would use, and why; write a settings file",
}

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (``specs/backend-contract.md`` lists them)."""
    return answer(list(sys.argv[1:] if argv is None else argv), parse)


def parse(arguments: list[str]) -> argparse.Namespace:
    """What a command line of ``ptycho`` says; ``func`` of it runs the command."""
    return _parser(arguments).parse_args(arguments)


def answer(arguments: list[str], read: Callable[[list[str]], argparse.Namespace]) -> int:
    """Run what ``read`` makes of a command line, and return the exit status; errors are told on stderr."""
    with _remembered_interrupts() as interrupts:
        return _answered(arguments, read, interrupts)


def _answered(arguments: list[str], read: Callable[[list[str]], argparse.Namespace], interrupts: list[int]) -> int:
    """Run the command; the exit status, with errors told."""
    traceback = "--traceback" in arguments
    try:
        args = read([item for item in arguments if item != "--traceback"])
        status: int = args.func(args)
    except SystemExit as leaving:  # argparse: help, version, usage errors
        return leaving.code if isinstance(leaving.code, int) else 2
    except KeyboardInterrupt:
        print("ptycho: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if traceback:
            raise
        return _told(error, interrupts)
    return status


def _told(error: Exception, interrupts: list[int]) -> int:
    """Say what went wrong; the exit status."""
    if interrupts:  # an import that Ctrl-C breaks off raises whatever it likes
        print("ptycho: interrupted", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, PtychoError):
        print(f"ptycho: {error}", file=sys.stderr)
        return error.exit_status
    kind = type(error).__name__
    print(f"ptycho: unexpected {kind}: {error}\nThis is a bug. Run again with --traceback to see where.", file=sys.stderr)
    return 1


@contextmanager
def _remembered_interrupts() -> Iterator[list[int]]:
    """The signals of Ctrl-C, which raise ``KeyboardInterrupt`` as ever; a job that stops in steps handles them itself."""
    found: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        found.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, remember)
    try:
        yield found
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def run() -> NoReturn:
    """The console script."""
    sys.exit(main())


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the usage block that hides it."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}. See '{self.prog} --help'.", file=sys.stderr)
        sys.exit(UsageError.exit_status)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    from ptycho_core import __version__

    parser = _Parser(prog="ptycho", description="Ptychography: from diffraction patterns to the complex image of the sample.")
    parser.add_argument("--version", action="version", version=f"ptycho {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error arose instead of one sentence")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((item for item in arguments if not item.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        parser.error(f"there is no command '{chosen}'.{did_you_mean(chosen, COMMANDS)} There are {', '.join(COMMANDS)}")
    for name, summary in COMMANDS.items():
        if name == chosen:
            import_module(f"ptycho_core.cli.{name}").add_parser(commands)
        else:  # a command that is not run is a line of the help, and costs nothing
            commands.add_parser(name, help=summary)
    return parser
