"""``ptycho config``: explain every setting a job would use, and write a settings file to begin with."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.cli.streams import say
from ptycho_core.errors import BackendUnusableError, UnknownBackendError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from ptycho_core.backends.states import BackendInfo
    from ptycho_core.cli.options import GivenFlags
    from ptycho_core.contract import Value
    from ptycho_core.settings.resolution import Facts

VERBS = ("train", "infer", "reconstruct")


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser("config", help="explain what a job would use, and why; write a settings file")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    explain = actions.add_parser("explain", help="print every setting of a job with its source and what becomes of it")
    verbs = explain.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        _add_explain(verbs.add_parser(verb, help=f"the settings of {verb}"), verb)
    init = actions.add_parser("init", help="write a settings file with every setting of a job, commented out, at its default")
    init.add_argument("verb", metavar="VERB", choices=VERBS, help=f"the job: {', '.join(VERBS)}")
    init.add_argument("--backend", metavar="NAME", help="choose this backend in the file, and list its options too")
    init.add_argument("-o", "--output", metavar="FILE", help="file to write; without it the text is printed")
    init.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    init.set_defaults(func=run_init)


def _add_explain(parser: argparse.ArgumentParser, verb: str) -> None:
    """What the command itself takes, so that a whole command line can be pasted."""
    parser.add_argument(
        "scan", nargs="*" if verb == "train" else "?", metavar="SCAN",
        help="scan file, for what it states itself (its headers are read) and for the plan of the backend",
    )  # fmt: skip
    parser.add_argument("-o", "--output-dir", metavar="DIR", help="so that a whole command line can be pasted")
    parser.add_argument("--overwrite", action="store_true", help="likewise")
    parser.add_argument("--allow-unsupported", action="store_true", help="explain also what the backend does not support")
    if verb == "train":
        parser.add_argument("--validation", metavar="SCAN", action="append", default=[], help="validation scan")
        parser.add_argument("--resume", action="store_true", help="show what would be used to continue the training in DIR")
    if verb == "infer":
        parser.add_argument("--model", metavar="RUN|FILE", help="model file or run folder, for what it fixes")
    parser.add_argument("--json", action="store_true", help="print JSON: what the run and its model will keep")
    add_setting_flags(parser, verb)
    parser.set_defaults(func=run, verb=verb)


def run(args: argparse.Namespace) -> int:
    """Print the audit."""
    from ptycho_core.cli.plan import say_settings

    audit = _audit(args, collect(args, args.verb))
    if args.json:
        print(json.dumps(audit, indent=2))
        return 0
    say_settings(audit)
    backend = audit["backend"]
    if backend is not None:
        device = f", device {audit['device']}" if audit["device"] is not None else ""
        say(f"Backend: {backend['name']} ({backend['distribution']}), {backend['chosen_by']}{device}.")
    for note in audit["notes"]:
        say(note)
    return 0


def run_init(args: argparse.Namespace) -> int:
    """Print the file, or write it.

    Raises:
        OutputError: the file is there and may not be replaced, or cannot be written.
        UsageError: there is nothing to replace.
        UnknownBackendError, BackendUnusableError: the backend is not installed, or its manifest cannot be read.
    """
    from ptycho_core.settings.template import template

    if args.backend is None:
        text = template(args.verb)
    else:
        row = _row(args.backend)
        text = template(args.verb, row.spec, row.address if "@" in args.backend else row.name)
    if args.output is None:
        if args.overwrite:
            raise UsageError("--overwrite replaces a file.", remedy="Name it with --output.")
        sys.stdout.write(text)
        return 0
    from ptycho_core.files.place import check_file
    from ptycho_core.files.whole import write_whole

    place = Path(args.output)
    check_file(place, overwrite=args.overwrite)
    write_whole(place, text.encode())
    say(place)
    return 0


def _row(name: str) -> BackendInfo:
    """A backend whose manifest can be read, whether its framework is installed or not."""
    from ptycho_core.backends.registry import find_named
    from ptycho_core.backends.states import unusable

    row = find_named(name)[0]
    if row.spec is None:
        raise unusable(row)
    return row


def _audit(args: argparse.Namespace, given: GivenFlags) -> dict[str, Any]:
    """The audit of the payload; where no backend can be asked or the files are not given, of the resolution alone."""
    from ptycho_core.settings.audit import audit_without_plan
    from ptycho_core.settings.planning import resolve_for
    from ptycho_core.settings.resolution import resolve
    from ptycho_core.settings.rules import check_together

    stated = partial(_facts, args)
    sources: dict[str, Any] = {"overrides": given.overrides, "environment": os.environ, "file": given.config}
    missing = _missing(args)
    try:
        if not missing:
            return _of_payload(args, given)
        resolved, row, _ = resolve_for(args.verb, sources, stated)
    except (BackendUnusableError, UnknownBackendError) as error:
        if "backend" in given.overrides:
            raise
        resolved = resolve(args.verb, **sources, facts=stated)
        check_together(resolved)
        return audit_without_plan(resolved, None, f"No backend, so no plan and none of its options: {error}")
    return audit_without_plan(resolved, row, f"Resolved only: the backend's plan needs {missing} too.")


def _missing(args: argparse.Namespace) -> str:
    """What a job needs that was not given, in words."""
    return "" if args.scan else "SCAN"


def _of_payload(args: argparse.Namespace, given: GivenFlags) -> dict[str, Any]:
    from ptycho_core.settings.payload import (
        Payload,
        create_inference_payload,
        create_reconstruction_payload,
        create_training_payload,
    )

    payload: Payload
    rest: dict[str, Any] = {"config_file": given.config, "allow_unsupported": args.allow_unsupported}
    if args.verb == "infer":
        payload = create_inference_payload(args.model, args.scan, args.output_dir, given.overrides, **rest)
    elif args.verb == "reconstruct":
        payload = create_reconstruction_payload(args.scan, args.output_dir, given.overrides, **rest)
    else:
        rest |= {"validation": args.validation, "resume": _checkpoint(args)}
        payload = create_training_payload(args.scan, args.output_dir or Path(), given.overrides, **rest)
    return dict(payload.audit)


def _checkpoint(args: argparse.Namespace) -> Path | None:
    from ptycho_core.training.checkpoints import LAST

    if args.resume and args.output_dir is None:
        raise UsageError("--resume continues the training in a folder.", remedy="Name it with --output-dir.")
    return Path(args.output_dir) / LAST if args.resume else None


def _facts(args: argparse.Namespace, data: Mapping[str, Value]) -> Facts:
    """What the files on the command line state, as the command itself would find it."""
    from ptycho_core.formats.opening import ScanFile
    from ptycho_core.settings.facts import inference_facts, resumption_facts, scan_facts
    from ptycho_core.settings.resolution import Facts

    scan = ScanFile(args.scan) if args.scan and args.verb != "train" else None
    if args.verb == "infer":
        return inference_facts(scan, args.model, data)
    if args.verb == "train":
        checkpoint = _checkpoint(args)
        return Facts() if checkpoint is None else resumption_facts(checkpoint)
    return Facts({} if scan is None else scan_facts(scan, data))
