"""``ptycho infer``: make the object of a scan in one pass, with a trained network or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptycho_core.cli.options import collect
from ptycho_core.cli.plan import add_job_flags, show_plan, wants_plan
from ptycho_core.cli.streams import say
from ptycho_core.cli.taken import say_taken
from ptycho_core.cli.verdict import add_require_flag, figures_of, said_of, status_of

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "infer",
        help="make the object of a scan in one pass, with a trained network or without",
        description="Make the object of a scan in one pass and write a result folder. Without --model it takes nothing but the "
        "scan and its probe: a few steps on tiles of neighboring frames (--steps). With --model the scan goes through a trained "
        "network; what the model file fixes (N, gridsize, the network, steps) cannot be set. Ctrl-C stops at the next batch and "
        "writes nothing.",
    )
    parser.add_argument("scan", metavar="SCAN", help="scan file, or sample:siemens-star for the bundled one")
    parser.add_argument("--model", metavar="RUN|FILE", help="folder of a training run, or a model file; none for no network")
    parser.add_argument("-o", "--output-dir", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that are in DIR")
    add_require_flag(parser)
    add_job_flags(parser, "infer", run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ptycho_core.inference.run import run_payload
    from ptycho_core.settings.payload import create_inference_payload

    dry, given = wants_plan(args), collect(args, "infer")
    payload = create_inference_payload(
        args.model,
        args.scan,
        args.output_dir,
        given.overrides,
        config_file=given.config,
        allow_unsupported=args.allow_unsupported,
    )
    if dry:
        return show_plan(payload, overwrite=args.overwrite, as_json=args.json)
    from ptycho_core.cli.progress import run_shown, say_notes
    from ptycho_core.modelfile.trained import told_next_to_untrained

    _, metrics = run_shown(run_payload, payload, args)
    if not payload.groups["execution"]["progress"]:
        say_notes([*metrics["doubts"], *metrics["notes"]])
    say(f"{figures_of(metrics)}; {metrics['frames']} patterns in {metrics['seconds']:.1f} s: {args.output_dir}")
    if args.model is not None:
        say(told_next_to_untrained(metrics["untrained"]))
    say(said_of(metrics))
    say_taken(payload)
    return status_of(args, metrics)
