"""``ptycho find-convention``: which way the axes of a scan run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.cli.streams import say
from ptycho_core.cli.tables import print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from ptycho_core.reconstruction.find_convention import Convention

__all__ = ["add_parser"]

_OF_RESULTS: Final = ("figures", "logger", "log_every")
"""Execution settings of what this command does not write."""


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    from ptycho_core.settings.groups import declarations

    parser = subparsers.add_parser(
        "find-convention",
        help="find which way the axes of a scan run",
        description="Find which way the axes of a scan run, together with how far its probe is out of focus: short fits of the "
        "four classes of orientations that patterns can tell, each with probes made for it. Prints a table and the flags to "
        "add, which a settings file keeps. Below a margin that was measured the answer is 'undecided', and nothing is written.",
    )
    parser.add_argument("scan", metavar="SCAN", help="scan file, or sample:siemens-star for the bundled one")
    parser.add_argument("-o", "--output", metavar="TOML", type=Path, default=Path("scan.toml"), help="settings file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace TOML if it is there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    unused = [name for name, one in declarations("reconstruct").items() if one.group not in ("data", "execution")]
    add_setting_flags(parser, "reconstruct", without=(*unused, *_OF_RESULTS))
    parser.set_defaults(func=run, events=None)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from functools import partial

    from ptycho_core.cli.progress import run_shown, say_notes
    from ptycho_core.reconstruction.find_convention import run_find_convention
    from ptycho_core.settings.payload import create_reconstruction_payload

    given = collect(args, "reconstruct")
    payload = create_reconstruction_payload(args.scan, None, given.overrides, config_file=given.config)
    found = run_shown(partial(run_find_convention, output=args.output), payload, args)
    if args.json:
        import json

        print(json.dumps(found.as_dict(), indent=2))
        return 0
    print_table(("ORIENTATION", "OR ITS TWIN", "R", "ABOVE THE FIRST", "DEFOCUS"), [_cells(row, found) for row in found.rows])
    if not payload.groups["execution"]["progress"]:
        say_notes(found.doubts)
    for note in found.notes:
        say(note)
    if found.decided:
        from ptycho_core.reconstruction.convention import flags_of

        flags = flags_of(found.settings) or "none: the scan is as stated"
        say(f"{found.rows[0]['orientation']}, by a margin of {found.margin:.0%}; flags to add: {flags}")
        say(f"written {args.output}, for --config")
    else:
        say(f"undecided: the margin is {found.margin:.1%}")
    return 0


def _cells(row: Mapping[str, Any], found: Convention) -> tuple[str, str, str, str, str]:
    distance = "" if row["defocus_m"] is None else f", {1e6 * row['defocus_m']:.4g} um"
    above = row["misfit"] / found.rows[0]["misfit"] - 1 if found.rows[0]["misfit"] > 0 else 0.0
    return row["orientation"], row["twin"], f"{row['misfit']:.4f}", f"{above:.1%}", f"{row['phase_rad']:.4g} rad{distance}"
