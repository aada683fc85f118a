"""The last line of a job: whether its result can be trusted, and what ``--require-good`` makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["NOT_GOOD", "add_require_flag", "figures_of", "said_of", "status_of"]

NOT_GOOD: Final = 6
"""Exit status with ``--require-good`` of a job whose result is complete and not good."""


def add_require_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--require-good``."""
    parser.add_argument(
        "--require-good", action="store_true",
        help=f"end with exit status {NOT_GOOD} unless the verdict on the result is 'good'; the folder is complete all the same",
    )  # fmt: skip


def figures_of(metrics: Mapping[str, Any]) -> str:
    """R, and what it is worth, in a few words."""
    over, held = metrics["misfit_over_noise"], metrics.get("held_out_misfit")
    said = f"R {metrics['misfit']:.4f}, {over:.2f} times photon noise"
    if held is not None:
        said += f"; frames held out R {held:.4f}, {metrics['held_out_misfit_over_noise']:.2f} times"
    return said


def said_of(metrics: Mapping[str, Any]) -> str:
    """The verdict with its weightiest reason, one line."""
    first, *others = metrics["verdict_reasons"]
    more = f" ({len(others)} more: verdict_reasons in metrics.json)" if others else ""
    return f"{metrics['verdict']}: {first}{more}"


def status_of(args: argparse.Namespace, metrics: Mapping[str, Any]) -> int:
    """The exit status of a job that ended."""
    from ptycho_core.imaging.verdict import GOOD

    return NOT_GOOD if args.require_good and metrics["verdict"] != GOOD else 0
