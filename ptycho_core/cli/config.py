"""``ptycho config explain``: every setting a job would use, where it comes from, and what it beat."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.errors import BackendError, UnknownBackendError
from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.groups import GROUPS

if TYPE_CHECKING:
    import argparse

    from ptycho_core.contract import Value
    from ptycho_core.settings.resolution import Resolved, Sourced


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser("config", help="explain what a job would use, and why")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    explain = actions.add_parser("explain", help="print every setting of a job with its source")
    verbs = explain.add_subparsers(metavar="VERB", required=True)
    for verb in ("train", "infer", "reconstruct"):
        one = verbs.add_parser(verb, help=f"the settings of {verb}")
        one.add_argument("scan", nargs="?", metavar="SCAN", help="scan file, for what it states itself (its headers are read)")
        one.add_argument("-o", "--output-dir", metavar="DIR", help="not used; so that a whole command line can be pasted")
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
    from ptycho_core.settings.payload import resolve_for, resolve_without_options
    from ptycho_core.settings.resolution import check_together

    given = collect(args, args.verb)
    sources: dict[str, Any] = {"overrides": given.overrides, "environment": os.environ, "file": given.config}
    try:
        resolved, row = resolve_for(args.verb, sources, args.scan)
    except (BackendError, UnknownBackendError) as error:
        if "backend" in given.overrides:
            raise
        resolved = resolve_without_options(args.verb, sources, args.scan)
        check_together(resolved)
        return resolved, f"No backend, so none of its options: {error}"
    return resolved, f"Backend: {row.name} ({row.source}), {row.chosen_by}."


def _row(name: str, one: Sourced) -> tuple[str, str, str, str]:
    source = _source(one.origin, one.where)
    beat = "; ".join(f"{_show(name, other.value)} ({_source(other.origin, other.where)})" for other in one.losers)
    return name, _show(name, one.value), source, f"beat {beat}" if beat else ""


def _source(origin: str, where: str) -> str:
    return origin if where in ("declaration", "manifest") else f"{origin} {where}"


def _show(name: str, value: Value) -> str:
    everything = {one.name: one for group in GROUPS for one in declarations_of(group)}
    if name in everything:
        unit = everything[name].unit
        return everything[name].show(value) + (f" {unit}" if unit and value is not None else "")
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
