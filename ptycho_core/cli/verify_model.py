"""``ptycho model verify``: the same batch through several backends, and how far their answers are apart."""

from __future__ import annotations

import argparse
import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.streams import say
from ptycho_core.cli.values import seconds
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptycho_core.conformance.parity import Difference
    from ptycho_core.conformance.verification import Comparison, Run, Verification

__all__ = ["add_verify"]

_BEYOND = 5
_FAILED = 3


def add_verify(actions: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the action ``verify``."""
    parser = actions.add_parser(
        "verify",
        help="run the same batch of a model file through several backends, and compare",
        description="Check a model file as 'inspect' does, then run one batch through each backend, each in a separate "
        "process: object patches, modelled patterns, every loss term, and the gradients of all that learns. Each answer is held "
        "against that of the reference in NumPy, and against each other's; every difference stands next to its limit. Nothing is "
        "learned and nothing is written. Exit status 5 if a difference is beyond its limit or the file is not in order, 3 if a "
        "backend did not run.",
    )
    parser.add_argument("file", metavar="FILE", help="model file (*.ptycho), or the folder of a training run for its best one")
    parser.add_argument(
        "--backends", metavar="NAME,NAME", type=_names, default=(), help="which to run; without it all that are usable"
    )
    parser.add_argument("--scan", metavar="SCAN", help="scan that the batch is taken from; without it one is made from the model")
    parser.add_argument(
        "--precision", choices=("float64", "float32"), default="float64", help="of the backends; the limits follow (float64)"
    )
    parser.add_argument("--timeout", metavar="S", type=seconds, default=600.0, help="time for each backend (default 600 s)")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr while it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text, with the difference of every gradient")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Verify, print; 5 if a limit is broken, else 3 if a backend did not run."""
    from ptycho_core.conformance.verification import verify_model

    found = verify_model(
        args.file,
        backends=args.backends,
        scan=args.scan,
        precision=args.precision,
        timeout=args.timeout,
        tell=(lambda _: None) if args.quiet else partial(say, error=True),
    )
    print(json.dumps(_data(found), indent=2) if args.json else "\n".join(shown(line) for line in _lines(found)))
    if not found.within:
        return _BEYOND
    return 0 if found.complete else _FAILED


def _lines(found: Verification) -> list[str]:
    width = max(len(one.backend) for one in found.runs)
    lines = [f"{'model':<{width}}  {found.file}", f"{'batch':<{width}}  {found.batch}"]
    lines += [f"{one.backend:<{width}}  {_told(one)}" for one in found.runs]
    lines += [f"{'note':<{width}}  {note}" for note in found.notes]
    for comparison in found.comparisons:
        shown = _shown(comparison)
        lines += ["", f"{comparison.backend} against {comparison.against}"]
        lines += [f"  {_label(one):<12} {one.value:8.1e}  limit {one.limit:.1e}{_more(one, comparison)}" for one in shown]
    return [*lines, "", _verdict(found)]


def _told(one: Run) -> str:
    if one.reason:
        return f"failed: {one.reason}"
    version = f" {one.framework_version}" if one.framework_version else ""
    return f"{one.precision}, {one.source}{version and ', framework' + version}, {one.seconds:.1f} s"


def _shown(comparison: Comparison) -> list[Difference]:
    """All, but of the gradients only the worst."""
    plain = [one for one in comparison.differences if one.quantity != "gradient"]
    gradients = [one for one in comparison.differences if one.quantity == "gradient"]
    return plain + ([max(gradients, key=lambda one: one.value)] if gradients else [])


def _label(one: Difference) -> str:
    return {"loss": one.name, "gradient": "gradients"}.get(one.quantity, one.quantity)


def _more(one: Difference, comparison: Comparison) -> str:
    beyond = "" if one.within else "  BEYOND"
    if one.quantity != "gradient":
        return beyond
    gradients = [other for other in comparison.differences if other.quantity == "gradient"]
    broken = sum(not other.within for other in gradients)
    count = f", {broken} of {len(gradients)} tensors" if broken else ""
    return f"{beyond}{count}  worst: {one.name}{'' if broken else f' of {len(gradients)}'}"


def _verdict(found: Verification) -> str:
    broken = [f"{one.backend} against {one.against}" for one in found.comparisons if not one.within]
    if broken:
        return f"beyond the limits: {'; '.join(broken)}"
    failed = [one.backend for one in found.runs if one.reason]
    missing = f"; not compared: {', '.join(failed)}" if failed else ""
    return ("all within the limits" if found.comparisons else "nothing was compared") + missing


def _data(found: Verification) -> dict[str, Any]:
    return {
        "file": str(found.file),
        "batch": found.batch,
        "precision": found.precision,
        "within": found.within,
        "complete": found.complete,
        "notes": list(found.notes),
        "backends": [dict(vars(one), seconds=round(one.seconds, 3)) for one in found.runs],
        "comparisons": [
            {
                "backend": one.backend,
                "against": one.against,
                "within": one.within,
                "differences": [_row(item) for item in one.differences],
            }
            for one in found.comparisons
        ],
    }


def _row(one: Difference) -> dict[str, Any]:
    """A difference; what JSON has no number for is null."""
    return {**vars(one), "value": one.value if math.isfinite(one.value) else None, "within": one.within}


def _names(text: str) -> Sequence[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError("must be names with commas between, such as torch,tensorflow")
    return names
