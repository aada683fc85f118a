"""``ptycho infer``: pass a scan through a trained network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.json_events import add_event_flag
from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.cli.plan import add_plan_flags, show_plan, wants_plan

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "infer",
        help="pass a scan through a trained network",
        description="Pass a scan once through a trained network, stitch what it gives, and write a result folder. What the model "
        "file fixes (N, gridsize, the network) cannot be set. Ctrl-C stops at the next batch and writes nothing.",
    )
    parser.add_argument("scan", metavar="SCAN", help="scan file, or sample:siemens-star for the bundled one")
    parser.add_argument("--model", metavar="RUN|FILE", required=True, help="folder of a training run, or a model file")
    parser.add_argument("-o", "--output-dir", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that are in DIR")
    parser.add_argument(
        "--allow-unsupported", action="store_true", help="go on without the options that the backend does not support"
    )
    add_plan_flags(parser)
    add_event_flag(parser)
    add_setting_flags(parser, "infer")
    parser.set_defaults(func=run, leaves_files=True)


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
        config_file=given.translated or given.config,
        allow_unsupported=args.allow_unsupported,
    )
    if dry:
        return show_plan(payload, overwrite=args.overwrite, as_json=args.json)
    from ptycho_core.cli.progress import listening, progress_observer, say_notes

    progress = progress_observer(shown=bool(payload.groups["execution"]["progress"]))
    with progress or contextlib.nullcontext():
        _, metrics = run_payload(payload, overwrite=args.overwrite, observers=listening(progress, args.events))
    if progress is None:
        say_notes(metrics["notes"])
    print(f"R {metrics['misfit']:.4f}, {metrics['frames']} patterns in {metrics['seconds']:.1f} s: {args.output_dir}")
    return 0
