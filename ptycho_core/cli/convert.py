"""``ptycho convert``: write a scan or a reconstruction in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.data_flags import add_data_flags, given_data
from ptycho_core.cli.streams import say

if TYPE_CHECKING:
    import argparse

    from ptycho_core.conversion import Conversion

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "convert",
        help="write a scan or a reconstruction in the format of another program",
        description="Write a scan, of any format that is read, or a reconstruction in the format of another program, and say "
        "what is lost. Energy, distance and detector pixel, which most formats need, are asked for by flag where the source "
        "lacks them. The file appears when it is complete.",
    )
    parser.add_argument(
        "source", metavar="SOURCE",
        help="scan, or sample:siemens-star for the bundled one; or a reconstruction: its folder or file, or that of another "
        "program",
    )  # fmt: skip
    parser.add_argument("output", metavar="OUT", type=Path, help="file to write")
    parser.add_argument(
        "--to", metavar="FORMAT", required=True,
        help="plain, pinn, ptychodus, cxi, nexus, ptypy, or another that 'ptycho formats' lists as written",
    )  # fmt: skip
    parser.add_argument(
        "--scan", metavar="FILE", type=Path, help="the scan that the reconstruction was made from, to write its patterns too"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    add_data_flags(parser)
    parser.set_defaults(func=run, leaves_files=True)


def run(args: argparse.Namespace) -> int:
    """Write, and say what is in the file and what is not."""
    from ptycho_core.cli.progress_bar import progress_of_steps
    from ptycho_core.conversion import convert

    given = given_data(args)
    with progress_of_steps("writing patterns") as progress:
        done = convert(args.source, args.output, args.to, scan=args.scan, overwrite=args.overwrite, progress=progress, **given)
    for label, text in _lines(done):
        say(f"{label:<11} {text}")
    return 0


def _lines(done: Conversion) -> list[tuple[str, str]]:
    held = "no patterns" if done.patterns is None else "{} patterns of {} x {} pixels".format(*done.patterns)
    return [
        ("written", f"{done.path}: {done.format.title}, {held}"),
        *(("lost", sentence) for sentence in done.lost),
        *([("left aside", ", ".join(done.aside))] if done.aside else []),
        *(("note", sentence) for sentence in done.notes),
    ]
