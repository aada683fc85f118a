"""What a job would do, for ``--dry-run`` and ``ptycho config explain``: each setting, the plan, what is read and written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from ptycho_core.cli.json_events import add_event_flag
from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.cli.streams import say
from ptycho_core.errors import UsageError
from ptycho_core.settings.groups import declarations
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ptycho_core.contract import Value
    from ptycho_core.settings.payload import Payload

__all__ = ["add_job_flags", "payload_of", "say_settings", "show_plan", "wants_plan"]

_P = TypeVar("_P", bound="Payload")

_CELL = 300
"""Characters of a cell of a table."""


def add_job_flags(parser: argparse.ArgumentParser, verb: str, run: Callable[[argparse.Namespace], int]) -> None:
    """Add what all jobs take, the settings of the verb last; ``run`` runs the command."""
    parser.add_argument(
        "--allow-unsupported", action="store_true", help="continue without the options that the backend does not support"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be done and with what, then stop: no pattern is read, nothing written",
    )
    parser.add_argument("--json", action="store_true", help="print that plan as JSON; only with --dry-run")
    add_event_flag(parser)
    add_setting_flags(parser, verb)
    parser.set_defaults(func=run, leaves_files=True)


def payload_of(args: argparse.Namespace, verb: str, create: Callable[..., _P]) -> _P:
    """The payload of a command that has one scan and a folder, made by the factory ``create``."""
    given = collect(args, verb)
    return create(args.scan, args.output_dir, given.overrides, config_file=given.config, allow_unsupported=args.allow_unsupported)


def wants_plan(args: argparse.Namespace) -> bool:
    """Whether only the plan is wanted.

    Raises:
        UsageError: ``--json`` without ``--dry-run``.
    """
    if args.json and not args.dry_run:
        raise UsageError("--json prints the plan of --dry-run.", remedy="Give both, or neither.")
    if args.dry_run and getattr(args, "json_events", False):
        raise UsageError("A dry run has no events to tell.", remedy="Its plan as JSON comes with --json.")
    return bool(args.dry_run)


def show_plan(payload: Payload, *, overwrite: bool, as_json: bool) -> int:
    """Print what a payload would do; the exit status.

    Raises:
        OutputError: the run would be refused because of its folder.
    """
    from ptycho_core.files.folder import check_folder
    from ptycho_core.settings.files import check_files, files_of

    files = files_of(payload)
    reads, folder, writes = [str(path) for path in files.reads], files.folder, files.writes
    check_files(payload)
    if folder is not None:
        check_folder(folder, overwrite=overwrite or getattr(payload, "resume", None) is not None)
    if as_json:
        places = {"reads": reads, "output_dir": None if folder is None else str(folder), "writes": writes}
        print(json.dumps({**payload.audit, **places}, indent=2))
        return 0
    _say_head(payload.audit)
    say(f"reads: {', '.join(reads)}")
    if folder is not None:
        say(f"writes to {folder}: {', '.join(writes)}")
    settings = payload.audit["settings"]
    asked = {name: entry for name, entry in settings.items() if entry["requested"]}
    print("asked for:" if asked else "asked for: nothing; every setting has its default or what the files state")
    say_settings(payload.audit, asked, indent="  ")
    for heading, entries in _unasked(settings):
        print(f"{heading}:")
        say_settings(payload.audit, entries, indent="  ")
    print("dry run: no pattern was read and nothing was written")
    return 0


def _unasked(settings: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was not asked for and is no plain default either: a heading and its settings."""
    rest = {name: entry for name, entry in settings.items() if not entry["requested"]}
    found: dict[str, dict[str, Any]] = {}
    for name, entry in rest.items():
        if entry["origin"] in ("model", "data"):
            found.setdefault(f"stated by the {entry['origin']} file", {})[name] = entry
        elif entry["origin"] == "command default":
            found.setdefault(f"defaults of {entry['where']}", {})[name] = entry
        elif _differs(entry):
            found.setdefault("decided by the backend", {})[name] = entry
    yield from sorted(found.items(), key=lambda item: item[0] == "decided by the backend")


def say_settings(audit: Mapping[str, Any], entries: Mapping[str, Any] | None = None, *, indent: str = "") -> None:
    """Print a table of settings: name, value, source, and what became of it where that is not simply as resolved."""
    verb, rows = audit["verb"], []
    for name, one in (audit["settings"] if entries is None else entries).items():
        words = "; ".join([*_became(verb, name, one), *_beat(verb, name, one)])
        rows.append(tuple(shown(cell, _CELL) for cell in (name, _show(verb, name, one["value"]), _source(one), words)))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        cells = [*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]
        print(indent + "  ".join(cells).rstrip())


def _say_head(audit: Mapping[str, Any]) -> None:
    backend = audit["backend"]
    framework = f", framework {backend['framework_version']}" if backend["framework_version"] else ""
    say(f"{audit['verb']}: backend {backend['name']} ({backend['distribution']}{framework}), {backend['chosen_by']}")
    say(f"device: {audit['device']}")
    for note in audit["notes"]:
        say(f"note: {note}")


def _became(verb: str, name: str, entry: Mapping[str, Any]) -> Iterable[str]:
    """What the plan made of a setting: the answer to a request, and the value where it is another one."""
    answer = entry["disposition"]
    if answer is not None and answer["kind"] == "unsupported":
        yield f"unsupported: {answer['why']}"
    elif answer is not None and answer["kind"] == "adjusted":
        yield f"adjusted to {_show(verb, name, entry['effective'])}: {answer['why']}"
    else:
        if answer is not None:
            yield "applied"
        if _differs(entry):
            yield f"effective {_show(verb, name, entry['effective'])}"


def _beat(verb: str, name: str, entry: Mapping[str, Any]) -> Sequence[str]:
    text = ", ".join(f"{_show(verb, name, one['value'])} ({_source(one)})" for one in entry["beat"])
    return [f"beat {text}"] if text else []


def _differs(entry: Mapping[str, Any]) -> bool:
    return entry["effective"] is not None and entry["effective"] != entry["value"]


def _source(entry: Mapping[str, Any]) -> str:
    origin, where = entry["origin"], entry["where"]
    return origin if where in ("declaration", "manifest") else f"{origin} {where}"


def _show(verb: str, name: str, value: Value) -> str:
    known = declarations(verb)
    if name in known:
        unit = known[name].unit
        return known[name].show(value) + (f" {unit}" if unit and value is not None else "")
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
