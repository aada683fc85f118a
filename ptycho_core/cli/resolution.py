"""``ptycho resolution``: how well two halves of a scan agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptycho_core.cli.plan import add_job_flags, payload_of, show_plan, wants_plan
from ptycho_core.cli.streams import say
from ptycho_core.cli.taken import say_taken

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "resolution",
        help="reconstruct two halves of a scan and compare them",
        description="Reconstruct two independent halves of a scan's frames and compare them by Fourier ring correlation: where "
        "it falls below 1/7 and 1/2, in nm where the geometry is known. Takes the settings of reconstruct, but --start and "
        "--logger. Ctrl-C stops after the epoch or iteration and writes nothing.",
    )
    parser.add_argument("scan", metavar="SCAN", help="scan file, or sample:siemens-star for the bundled one")
    parser.add_argument("-o", "--output-dir", metavar="DIR", help="write resolution.json and resolution.png there")
    parser.add_argument("--overwrite", action="store_true", help="take a folder that is not empty, and replace these files in it")
    add_job_flags(parser, "reconstruct", run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ptycho_core.reconstruction.halves import run_resolution
    from ptycho_core.settings.payload import create_resolution_payload

    dry, payload = wants_plan(args), payload_of(args, "reconstruct", create_resolution_payload)
    if dry:
        return show_plan(payload, overwrite=args.overwrite, as_json=args.json)
    from ptycho_core.cli.progress import run_shown

    found = run_shown(run_resolution, payload, args)
    for threshold, name in ((1 / 7, "1/7"), (1 / 2, "1/2")):
        say(f"Fourier ring correlation {name}: {_said(found.score.frc.crossing(threshold), found.score.pixel_size_m)}")
    one, other = found.frames
    say(f"halves of {one} and {other} frames, {found.verdicts[0]} and {found.verdicts[1]}, in {found.seconds:.1f} s")
    say_taken(payload)
    return 0


def _said(crossing: float | None, pixel_m: float | None) -> str:
    """Where the curve falls below a threshold."""
    if crossing is None:
        nyquist = "" if pixel_m is None else f": half period below {1e9 * pixel_m:.3g} nm"
        return f"never below it, up to Nyquist{nyquist}"
    size = f"{1 / crossing:.3g} px" if pixel_m is None else f"{1e9 * pixel_m / crossing:.3g} nm ({1 / crossing:.3g} px)"
    return f"half period {size}, {crossing:.3f} of Nyquist"
