"""``ptycho backends``: list, show and examine the engines that are installed, and begin a new one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.streams import say
from ptycho_core.cli.tables import CELL, print_table
from ptycho_core.cli.values import seconds

if TYPE_CHECKING:
    import argparse

    from ptycho_core.backends.doctor import Diagnosis
    from ptycho_core.backends.states import BackendInfo

__all__ = ["add_parser"]

_UNUSABLE = 3
_LINES = 100
"""Lines of a trace, the last."""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``backends`` and its subcommands."""
    parser = commands.add_parser("backends", help="list, show and examine the engines that are installed, or begin a new one")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="one line for each backend with its state; runs no code of any")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.add_argument("--strict", action="store_true", help="exit status 3 if any backend is not ok")
    listing.set_defaults(func=_list)
    show = actions.add_parser("show", help="what a backend's manifest says, its own options included")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(func=_show)
    doctor = actions.add_parser("doctor", help="really start a backend, or all, each in a separate process")
    doctor.add_argument("name", metavar="NAME", nargs="?")
    doctor.add_argument("--timeout", type=seconds, default=120.0, metavar="S", help="time for each backend (default 120 s)")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(func=_doctor)
    new = actions.add_parser("new", help="write out a small complete backend, to be copied from; docs/writing-a-backend.md")
    new.add_argument("name", metavar="NAME", help="of the backend: lower-case letters, digits and '_'")
    new.add_argument(
        "--from", dest="kind", choices=("verbs", "arrays"), default="verbs",
        help="what it begins from: a verb written by hand, for a library that has its own algorithms (verbs), or the operations "
        "on arrays with which ptycho's engine provides the verbs, for a framework (arrays) (default: verbs)",
    )  # fmt: skip
    new.add_argument("-o", "--output-dir", metavar="DIR", help="a folder that is not there yet (default: ptycho-NAME)")
    new.set_defaults(func=_new)


def _list(args: argparse.Namespace) -> int:
    from ptycho_core.backends.known import how_to_install
    from ptycho_core.backends.registry import find_backends
    from ptycho_core.settings.components import claimed

    rows = find_backends()
    if args.json:
        print(json.dumps([_row_data(row) for row in rows], indent=2))
    elif rows:
        cells = [(row.name, row.state, row.title, row.source, _why(row)) for row in rows]
        print_table(("NAME", "STATE", "TITLE", "PROVIDED BY", ""), cells)
    else:
        print(f"No backend is installed. {how_to_install()}")
    components = claimed()
    if components and not args.json:
        print()
        print_table(("COMPONENT", "KIND", "PROVIDED BY"), [(claim.name, kind, claim.source) for kind, claim in components])
    return _UNUSABLE if args.strict and any(row.state != "ok" for row in rows) else 0


def _show(args: argparse.Namespace) -> int:
    from ptycho_core.backends.registry import find_named
    from ptycho_core.backends.states import unusable

    row = find_named(args.name)[0]
    spec = row.spec
    if spec is None or row.state == "conflict":
        raise unusable(row)
    framework = spec.framework
    lines = [
        ("name", row.name),
        ("title", spec.title),
        ("state", row.state if row.state == "ok" else f"{row.state}: {_why(row)}"),
        ("provided by", row.source),
        ("contract", "{}.{}".format(*spec.contract)),
        ("framework", _framework_text(framework.module, framework.minimum, framework.below) if framework else "none"),
        ("installed", row.framework_version or "-"),
        ("capabilities", ", ".join(spec.capabilities)),
        ("accelerators", ", ".join(spec.accelerators)),
        ("precisions", ", ".join(spec.precisions)),
        ("environment", ", ".join(f"{key}={value}" for key, value in spec.environment.items()) or "-"),
        ("issues", spec.issues_url or "-"),
        ("taken", _taken(row) or "by name, or where it is the only one"),
    ]
    for key, text in lines:
        say(f"{key:13} {text}")
    print("options       " + ("" if spec.options else "-"))
    for option in spec.options:
        flag = f"--opt {row.name}.{option.name}={option.type.upper()}"
        say(f"  {flag}  {option.help}{_limits(option)} (default {_toml(option.default)})")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from ptycho_core.backends.doctor import diagnose
    from ptycho_core.backends.known import how_to_install

    rows = diagnose(args.name, args.timeout)
    if args.json:
        print(json.dumps([vars(row) for row in rows], indent=2))
    elif rows:
        for row in rows:
            _print_diagnosis(row)
    if args.name is None and not args.json:
        _print_components()
    if not rows:
        print(f"ptycho: no backend is installed. {how_to_install()}", file=sys.stderr)
    return 0 if rows and all(row.state == "ok" for row in rows) else _UNUSABLE


def _print_components() -> None:
    """What other distributions bring besides backends, each really imported."""
    from ptycho_core.settings.components import claimed, components

    for kind in dict.fromkeys(kind for kind, _ in claimed()):
        for one in components(kind):
            say(one.sentence if one.reason else f"{one.said}: ok")


def _new(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ptycho_core.backends.scaffold import write_backend

    folder = write_backend(args.name, None if args.output_dir is None else Path(args.output_dir), kind=args.kind)
    print(
        f"The backend '{args.name}' is in {folder}. Install and examine it with:\n"
        f"  pip install --editable {folder}\n"
        f"  ptycho backends doctor {args.name}\n"
        f"  pytest --pyargs ptycho_core.conformance --ptycho-backend {args.name}"
    )
    return 0


def _print_diagnosis(row: Diagnosis) -> None:
    say(f"{row.name}: {row.state} ({row.source}, {row.seconds:.1f} s){': ' + row.reason if row.reason else ''}")
    if row.report:
        say(f"  framework   {row.report['framework_version']}")
        for device in row.report["devices"]:
            say(f"  device      {device['accelerator']}: {device['name']}{' ' + device['title'] if device['title'] else ''}")
        say(f"  precisions  {', '.join(row.report['precisions'])}")
        for problem in row.report["problems"]:
            say(f"  problem     {problem}")
    lines = row.trace.splitlines()
    for line in lines[-_LINES:]:
        say(f"  | {line}", most=CELL)


def _row_data(row: BackendInfo) -> dict[str, str | bool]:
    names = ("name", "title", "state", "reason", "remedy", "distribution", "version", "framework_version")
    flags = ("only_by_name", "only_alone")
    return {name: getattr(row, name) for name in names + flags}


def _why(row: BackendInfo) -> str:
    if row.state == "ok":
        taken = _taken(row)
        return ", ".join(filter(None, [row.framework, taken and f"taken {taken}"]))
    return f"{row.reason}. {row.remedy}" if row.remedy else row.reason


def _taken(row: BackendInfo) -> str:
    """When a backend is taken that is not taken as most are; empty for those."""
    if row.only_by_name:
        return "only by name"
    return "by name, or where no other is installed" if row.only_alone else ""


def _framework_text(module: str, minimum: str, below: str) -> str:
    bounds = [f">={minimum}"] if minimum else []
    bounds += [f"<{below}"] if below else []
    return f"{module} {','.join(bounds)}".strip()


def _limits(option: Any) -> str:  # noqa: ANN401 - an OptionSpec; the contract is not imported here
    if option.choices:
        return f"; one of {', '.join(option.choices)}"
    low, high = option.minimum, option.maximum
    if low is None and high is None:
        return ""
    return f"; {'' if low is None else f'from {low:g} '}{'' if high is None else f'up to {high:g}'}".rstrip()


def _toml(value: object) -> str:
    return "none" if value is None else json.dumps(value)
