"""``ptycho config explain``: every setting a job would use, where it comes from, and what it beat."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.errors import BackendError, UnknownBackendError, UsageError
from ptycho_core.settings.groups import declarations

if TYPE_CHECKING:
    import argparse

    from ptycho_core.contract import Value
    from ptycho_core.settings.resolution import Facts, Resolved, Sourced


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser("config", help="explain what a job would use, and why")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    explain = actions.add_parser("explain", help="print every setting of a job with its source")
    verbs = explain.add_subparsers(metavar="VERB", required=True)
    for verb in ("train", "infer", "reconstruct"):
        one = verbs.add_parser(verb, help=f"the settings of {verb}")
        one.add_argument(
            "scan", nargs="*" if verb == "train" else "?", metavar="SCAN",
            help="scan file, for what it states itself (its headers are read)",
        )  # fmt: skip
        one.add_argument("-o", "--output-dir", metavar="DIR", help="so that a whole command line can be pasted")
        if verb == "train":
            one.add_argument("--validation", nargs="+", metavar="SCAN", help="likewise")
            one.add_argument("--resume", action="store_true", help="what would be used to go on with the training in DIR")
        if verb == "infer":
            one.add_argument("--model", metavar="RUN|FILE", help="model file or run folder, for what it fixes")
        one.add_argument("--json", action="store_true", help="print JSON")
        add_setting_flags(one, verb)
        one.set_defaults(func=run, verb=verb)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    resolved, note = _resolve(args)
    if args.json:
        print(json.dumps(resolved.as_dict(), indent=2))
        return 0
    rows = [_row(resolved.verb, name, one) for name, one in {**resolved.values, **resolved.options}.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]).rstrip())
    if note:
        print(note)
    return 0


def _resolve(args: argparse.Namespace) -> tuple[Resolved, str]:
    from ptycho_core.settings.planning import resolve_for, resolve_without_options
    from ptycho_core.settings.rules import check_together

    given = collect(args, args.verb)
    stated = partial(_facts, args)
    sources: dict[str, Any] = {"overrides": given.overrides, "environment": os.environ, "file": given.config}
    try:
        resolved, row = resolve_for(args.verb, sources, stated)
    except (BackendError, UnknownBackendError) as error:
        if "backend" in given.overrides:
            raise
        resolved = resolve_without_options(args.verb, sources, stated())
        check_together(resolved)
        return resolved, f"No backend, so none of its options: {error}"
    return resolved, f"Backend: {row.name} ({row.source}), {row.chosen_by}."


def _facts(args: argparse.Namespace) -> Facts:
    """What the files on the command line state, as the command itself would find it."""
    from ptycho_core.settings.facts import inference_facts, resumption_facts, scan_facts
    from ptycho_core.settings.resolution import Facts
    from ptycho_core.training.checkpoints import LAST

    if args.verb == "infer":
        return inference_facts(args.scan, args.model)
    if args.verb == "train":
        if args.resume and args.output_dir is None:
            raise UsageError("--resume goes on with the training in a folder.", remedy="Name it with --output-dir.")
        return resumption_facts(Path(args.output_dir) / LAST) if args.resume else Facts()
    return Facts({} if args.scan is None else scan_facts(args.scan))


def _row(verb: str, name: str, one: Sourced) -> tuple[str, str, str, str]:
    source = _source(one.origin, one.where)
    beat = "; ".join(f"{_show(verb, name, other.value)} ({_source(other.origin, other.where)})" for other in one.losers)
    return name, _show(verb, name, one.value), source, f"beat {beat}" if beat else ""


def _source(origin: str, where: str) -> str:
    return origin if where in ("declaration", "manifest") else f"{origin} {where}"


def _show(verb: str, name: str, value: Value) -> str:
    known = declarations(verb)
    if name in known:
        unit = known[name].unit
        return known[name].show(value) + (f" {unit}" if unit and value is not None else "")
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
