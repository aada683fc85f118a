"""``ptycho config explain``: every setting a job would use, where it comes from, and what it beat."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.errors import BackendError, UnknownBackendError

if TYPE_CHECKING:
    from ptycho_core.settings.resolution import Resolved, Sourced


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser("config", help="explain what a job would use, and why")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    explain = actions.add_parser("explain", help="print every setting of a job with its source")
    verbs = explain.add_subparsers(metavar="VERB", required=True)
    for verb in ("train", "infer", "reconstruct"):
        one = verbs.add_parser(verb, help=f"the settings of {verb}")
        one.add_argument("scan", nargs="?", metavar="SCAN", help="not read; so that a whole command line can be pasted")
        one.add_argument("-o", "--output-dir", metavar="DIR", help=argparse.SUPPRESS)
        one.add_argument("--json", action="store_true", help="print JSON")
        add_setting_flags(one, verb)
        one.set_defaults(func=run, verb=verb)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    resolved, note = _resolve(args)
    if args.json:
        print(json.dumps(resolved.as_dict(), indent=2))
        return 0
    rows = [_row(name, one) for name, one in {**resolved.values, **resolved.options}.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]).rstrip())
    if note:
        print(note)
    return 0


def _resolve(args: argparse.Namespace) -> tuple[Resolved, str]:
    from ptycho_core.settings.payload import resolve_for
    from ptycho_core.settings.resolution import resolve

    given = collect(args, args.verb)
    sources: dict[str, Any] = {"overrides": given.overrides, "wheres": given.wheres, "environment": os.environ, "file": given.config}
    try:
        resolved, row = resolve_for(args.verb, sources)
    except (BackendError, UnknownBackendError) as error:
        if "backend" in given.overrides:
            raise
        plain = {name: value for name, value in given.overrides.items() if "." not in name}
        return resolve(args.verb, **{**sources, "overrides": plain}), f"No backend: {error}"
    return resolved, f"Backend: {row.name} ({row.source}), {row.chosen_by}."


def _row(name: str, one: Sourced) -> tuple[str, str, str, str]:
    value = "auto" if one.value is None else str(one.value).lower() if isinstance(one.value, bool) else str(one.value)
    source = one.origin if one.where in ("declaration", "manifest") else f"{one.origin} {one.where}"
    beat = "; ".join(f"{'auto' if other.value is None else other.value} ({other.origin})" for other in one.losers)
    return name, value, source, f"beat {beat}" if beat else ""
