"""``ptycho reconstruct``: fit object and probe to a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptycho_core.cli.plan import add_job_flags, payload_of, show_plan, wants_plan
from ptycho_core.cli.streams import say
from ptycho_core.cli.taken import say_taken
from ptycho_core.cli.verdict import add_require_flag, figures_of, said_of, status_of

if TYPE_CHECKING:
    import argparse

    from ptycho_core.settings.payload import ReconstructionPayload

INTERRUPTED = 130


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "reconstruct",
        help="fit object and probe to a scan",
        description="Fit object, probe and, if asked, positions and background to a scan, and write a result folder. "
        "Ctrl-C finishes the epoch or iteration, writes what there is and stops, a second one stops at once.",
    )
    parser.add_argument("scan", metavar="SCAN", help="scan file, or sample:siemens-star for the bundled one")
    parser.add_argument("-o", "--output-dir", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that are in DIR")
    add_require_flag(parser)
    add_job_flags(parser, "reconstruct", run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 130 if it was interrupted and the best so far was written."""
    from ptycho_core.reconstruction.verb import run_reconstruction
    from ptycho_core.settings.payload import create_reconstruction_payload

    dry, payload = wants_plan(args), payload_of(args, "reconstruct", create_reconstruction_payload)
    if dry:
        return show_plan(payload, overwrite=args.overwrite, as_json=args.json)
    from ptycho_core.cli.progress import run_shown, say_notes

    reconstruction, metrics = run_shown(run_reconstruction, payload, args)
    if not payload.groups["execution"]["progress"]:
        say_notes(metrics["doubts"])  # what is noted of the fit itself is progress
    modes = f"{len(reconstruction.probe)} mode{'s' * (len(reconstruction.probe) > 1)}"
    say(f"{figures_of(metrics)}; {modes} in {metrics['seconds']:.1f} s: {args.output_dir}")
    if metrics["interrupted"]:
        say(f"interrupted; 'ptycho reconstruct ... {_continuing(payload)}' continues from what there is")
    say(said_of(metrics))
    say_taken(payload)
    return INTERRUPTED if metrics["interrupted"] else status_of(args, metrics)


def _continuing(payload: ReconstructionPayload) -> str:
    """Flags that take up what a fit has found: object, probe and, where they were fitted, positions."""
    from ptycho_core.imaging.report import FRAMES

    fitted = payload.groups["reconstruction"]["refine_positions"] != "off"
    places = f" --positions {payload.output_dir}/{FRAMES[0]}" if fitted else ""
    return f"--start {payload.output_dir}{places}"
