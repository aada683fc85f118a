"""``ptycho compare``: the same job through several backends, or results that exist, side by side."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.streams import say
from ptycho_core.cli.values import seconds
from ptycho_core.errors import UsageError
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    import argparse

    from ptycho_core.comparison.entry import Comparison, Entry

__all__ = ["add_parser"]

INTERRUPTED = 130
FAILED = 3
_OWN = ("backend",)  # settings that the command has its own flags for
_QUALITY = {"nrmse": "NRMSE", "correlation": "CORR", "ssim_amplitude": "SSIM AMP", "ssim_phase": "SSIM PHASE"}
_COSTS = {"cpu_seconds": "CPU S", "wall_seconds": "WALL S", "first_step_seconds": "FIRST S", "peak_mb": "PEAK MB"}


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="run the same job with several backends, or compare results that exist",
        description="Run the same job with several backends, each in a separate process, one after the other, and compare "
        "quality, time and memory; or, with --reconstructions, compare results that exist. Writes comparison.json, "
        "comparison.png and, for each backend, its result folder. The settings below are those of the job that is named; "
        "'ptycho compare --train --help' lists those of a training. Exit status 3 if a backend failed.",
    )
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument("--reconstruct", action="store_true", help="fit object and probe (the default)")
    jobs.add_argument("--train", action="store_true", help="train on the scan, then pass it through the network")
    jobs.add_argument("--model", metavar="RUN|FILE", type=Path, help="pass the scan through this model")
    jobs.add_argument("--reconstructions", metavar="RESULT", nargs="+", help="results that exist: folders, h5, npz, npy")
    parser.add_argument("--backends", metavar="NAME,NAME", help="which to run; the others are compared with the first")
    parser.add_argument(
        "--reference", metavar="FILE", type=Path, help="the true object; else the one that the scan holds, if any"
    )
    parser.add_argument("-o", "--output-dir", metavar="DIR", type=Path, required=True, help="folder for everything")
    parser.add_argument("--overwrite", action="store_true", help="replace the comparison that is in DIR")
    parser.add_argument("--timeout", metavar="S", type=seconds, help="end a backend that takes longer, in seconds")
    parser.add_argument(
        "--allow-unsupported", action="store_true", help="continue without the options that a backend does not support"
    )
    parser.set_defaults(func=run, leaves_files=True)
    _finish_when_parsed(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; 3 if a backend or result failed, 130 if it was interrupted."""
    found = _results(args) if args.reconstructions is not None else _backends(args)
    _print(found)
    for note in found.notes:
        say(f"ptycho: warning: {note}", error=True)
    if found.interrupted:
        say(f"ptycho: interrupted; what is done is in {found.folder}", error=True)
        return INTERRUPTED
    return 0 if found.complete else FAILED


def _results(args: argparse.Namespace) -> Comparison:
    from ptycho_core.comparison.existing import compare_results

    for flag, value in (("--backends", args.backends), ("--timeout", args.timeout)):
        if value is not None:
            raise UsageError(f"{flag} has no meaning for results that exist.", source=flag)
    return compare_results(
        args.reconstructions, args.output_dir, scan=args.scan, reference=args.reference, overwrite=args.overwrite
    )


def _backends(args: argparse.Namespace) -> Comparison:
    from ptycho_core.cli.options import collect
    from ptycho_core.cli.progress import progress_observer
    from ptycho_core.comparison.request import VERBS, Request
    from ptycho_core.comparison.run import compare_backends

    verb = "train" if args.train else "infer" if args.model is not None else "reconstruct"
    given = collect(args, *VERBS[verb])
    assert given.config is None or isinstance(given.config, Path)  # no other program's command compares
    request = Request(
        verb, args.scan, _named(args.backends), args.output_dir, model=args.model, reference=args.reference,
        overrides=given.overrides, config=given.config, timeout=args.timeout, overwrite=args.overwrite,
        allow_unsupported=args.allow_unsupported,
    )  # fmt: skip
    progress = progress_observer(shown=bool(request.resolved(VERBS[verb][0]).values["progress"].value))
    with progress or contextlib.nullcontext():
        return compare_backends(request, [progress] if progress else [])


def _named(text: str | None) -> tuple[str, ...]:
    from ptycho_core.backends.registry import find_backends

    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if names:
        return names
    usable = ", ".join(row.name for row in find_backends() if row.state == "ok") or "none"
    raise UsageError("there is no backend to compare.", remedy=f"Name them with --backends NAME,NAME; usable: {usable}.")


def _finish_when_parsed(parser: argparse.ArgumentParser) -> None:
    """Add the scan and the settings once it is known which job they are of: what a flag means can differ between jobs."""
    parse = parser.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - argparse's own signature
        from ptycho_core.cli.options import add_setting_flags
        from ptycho_core.comparison.request import VERBS

        parser.parse_known_args = parse  # type: ignore[method-assign]
        flags = {word.partition("=")[0] for word in args or ()}
        parser.add_argument(
            "scan", metavar="SCAN", nargs="?" if "--reconstructions" in flags else None,
            help="scan file, or sample:siemens-star for the bundled one",
        )  # fmt: skip
        if "--reconstructions" in flags:
            parser.allow_abbrev = False
        else:
            verb = "train" if "--train" in flags else "infer" if "--model" in flags else "reconstruct"
            add_setting_flags(parser, *VERBS[verb], without=_OWN)
        return parser.parse_known_args(args, namespace)

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _print(found: Comparison) -> None:
    """One line for each entry; a column without values is left out."""
    rows = [_cells(entry, found) for entry in found.entries]
    head = [name for name in dict.fromkeys(name for row in rows for name in row) if any(row.get(name, "") for row in rows)]
    widths = [max(len(name), *(len(row.get(name, "")) for row in rows)) for name in head]
    for row in ({name: name for name in head if name != "WHY"}, *rows):
        cells = [_aligned(name, row.get(name, ""), width) for name, width in zip(head, widths, strict=True)]
        print("  ".join(cells).rstrip())
    text = f"quality against {found.reference or f'the result of {found.first}'}; " if "NRMSE" in head else ""
    say(f"{text}everything is in {found.folder}")


def _cells(entry: Entry, found: Comparison) -> dict[str, str]:
    quality = entry.quality if found.reference else entry.agreement
    cells = {"NAME": shown(entry.name, 200), "STATE": entry.state}
    cells |= {label: _number(quality.get(name)) for name, label in _QUALITY.items()}
    if found.reference and len(found.entries) > 1:
        cells[f"NRMSE TO {shown(found.first, 80)}"] = _number(entry.agreement.get("nrmse"))
    cells["R"] = _number(entry.misfit)
    cells |= {label: _number(getattr(entry, name), ".0f" if name == "peak_mb" else ".1f") for name, label in _COSTS.items()}
    widened = quality.get("registration", {}).get("search_widened")
    shift = "shift ({:.1f}, {:.1f}) px, search widened".format(*quality["registration"]["shift_px"]) if widened else ""
    return cells | {"WHY": shown("; ".join(filter(None, (entry.reason, shift))))}


def _number(value: Any, form: str = ".4g") -> str:  # noqa: ANN401 - a number or nothing
    return "" if value is None else format(value, form)


def _aligned(name: str, text: str, width: int) -> str:
    return text.ljust(width) if name in ("NAME", "STATE", "WHY") else text.rjust(width)
