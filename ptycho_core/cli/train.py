"""``ptycho train``: fit a network to scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.options import collect
from ptycho_core.cli.plan import add_job_flags, show_plan, wants_plan
from ptycho_core.cli.streams import say

if TYPE_CHECKING:
    import argparse

INTERRUPTED = 130


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="fit a network to scans",
        description="Fit a network to scans, from their patterns alone or from known objects, and write the folder of a run: "
        "best.ptycho and last.ptycho, settings, log and a picture of the losses. Ctrl-C finishes the epoch, "
        "saves and stops, a second one stops at once; --resume continues.",
    )
    parser.add_argument("scans", metavar="SCAN", nargs="+", help="scan file, or sample:siemens-star for the bundled one")
    parser.add_argument("-o", "--output-dir", metavar="RUN", required=True, help="folder for the run")
    parser.add_argument("--validation", metavar="SCAN", action="append", default=[], help="validation scan (repeatable)")
    parser.add_argument(
        "--from", metavar="RUN|FILE", dest="start_model",
        help="begin with the network and the weights of this model, to fit them to other scans (not with --resume)",
    )  # fmt: skip
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the training in RUN: same scans, same settings")
    again.add_argument("--overwrite", action="store_true", help="replace the run that is in RUN")
    add_job_flags(parser, "train", run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 130 if it was interrupted and can be resumed."""
    from ptycho_core.settings.payload import create_training_payload
    from ptycho_core.training.checkpoints import LAST
    from ptycho_core.training.run import run_payload

    dry, given = wants_plan(args), collect(args, "train")
    folder = Path(args.output_dir)
    payload = create_training_payload(
        args.scans,
        folder,
        given.overrides,
        validation=args.validation,
        resume=folder / LAST if args.resume else None,
        start_model=args.start_model,
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
    say(f"{_result(metrics)} in {metrics['seconds']:.1f} s: {folder / metrics['model']}")
    if not metrics["interrupted"]:
        say(told_next_to_untrained(metrics["untrained"]))
    if metrics["interrupted"] and metrics["checkpoint"]:
        say(f"interrupted; 'ptycho train ... -o {folder} --resume' continues from {folder / metrics['checkpoint']}")
    elif metrics["interrupted"]:
        say("interrupted; without checkpoints nothing can continue from it")
    return INTERRUPTED if metrics["interrupted"] else 0


def _result(metrics: dict[str, Any]) -> str:
    word, best = ("best", metrics["best"]) if "best" in metrics else ("last", metrics.get("last", {}))
    shown = {"loss": "loss", "validation_loss": "validation loss", "misfit": "R", "validation_misfit": "validation R"}
    figures = [f"{label} {best[name]:.4g}" for name, label in shown.items() if best.get(name) is not None]
    epochs = f"{metrics['epochs']} epoch{'s' * (metrics['epochs'] != 1)}"
    return f"{epochs}, {word} with {', '.join(figures)}," if figures else epochs
