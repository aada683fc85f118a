"""``ptycho model``: say what is in a model file, verify it with several backends, or export it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ptycho_core.spelling import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

__all__ = ["add_parser", "run"]

_TRAINING = "{} arrays; state: {}"
_PROBE = "scan {}: {counts:.5g} counts in an empty pattern, intensity scale exp({log_scale:.5g})"


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add ``model`` and its subcommands."""
    from ptycho_core.cli.export_model import add_export
    from ptycho_core.cli.verify_model import add_verify

    parser = subparsers.add_parser("model", help="say what is in a model file, verify or export it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    inspect = actions.add_parser(
        "inspect",
        help="check a model file and say what is in it",
        description="Read a model file or checkpoint whole, check every hash, name, shape and number in it, and say what is in "
        "it: what inference is bound to, the network, its tensors, the settings it was trained with and where each came from. "
        "A file that is not in order is refused with exit status 5.",
    )
    inspect.add_argument("file", metavar="FILE", help="model file (*.ptycho), or the folder of a training run for its best one")
    inspect.add_argument("--all", action="store_true", help="list every setting, also those at their default")
    inspect.add_argument("--json", action="store_true", help="print JSON instead of text, with every setting")
    inspect.set_defaults(func=run)
    add_verify(actions)
    add_export(actions)


def run(args: argparse.Namespace) -> int:
    """Read, check, print."""
    from ptycho_core.cli.model_summary import summarise_model

    found = summarise_model(args.file)
    print(json.dumps(found, indent=2) if args.json else "\n".join(_lines(found, every=args.all)))
    return 0


def _lines(found: Mapping[str, Any], *, every: bool) -> list[str]:
    from ptycho_core.modelfile.trained import told_next_to_untrained

    tensors = [one for one in found["tensors"] if one["name"].startswith("network.")]
    kind = "checkpoint" if found["checkpoint"] else "model without training state"
    epochs, kept = found["history"], found["training"]
    rows = [
        ("file", found["file"]),
        ("format", f"{found['format']}, version {found['version']}, {kind}, {found['bytes']} bytes"),
        *_block("facts", [_pair(item) for item in found["facts"].items()]),
        *_block("network", [_network(item) for item in found["network"].items()]),
        ("parameters", f"{found['parameters']} in {len(tensors)} tensors"),
        *_block("probes", [_PROBE.format(number, **one) for number, one in enumerate(found["probes"])]),
        *_block("untrained", [told_next_to_untrained(found["untrained"])]),
        *_block("scaling", [_pair(item) for item in found["scaling"].items()]),
        *_block("producer", [_pair(item) for item in found["producer"].items()]),
        *_block("history", [f"{len(epochs)} epochs; the last: {', '.join(map(_pair, epochs[-1].items()))}"] if epochs else []),
        *_block("training", [_TRAINING.format(len(kept["tensors"]), ", ".join(kept["state"]) or "empty")] if kept else []),
        *_block("hashes", [f"{name} is as the manifest says" for name in found["hashes"]]),
        *_block("settings", _settings(found["settings"], every=every)),
        *_block("tensors", _table(found["tensors"])),
    ]
    return [shown(f"{label:<11} {text}".rstrip()) for label, text in rows]


def _block(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Lines under one label; a dash where there are none."""
    return [(label if number == 0 else "", line) for number, line in enumerate(lines or ["-"])]


def _pair(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{name} = {value if isinstance(value, str) else json.dumps(value)}"


def _network(item: tuple[str, Any]) -> str:
    """A value of the network's description; of its layers only how many there are of each operation."""
    name, value = item
    if not isinstance(value, list):
        return _pair(item)
    operations = [str(one.get("op", "other")) if isinstance(one, dict) else "other" for one in value]
    return f"{name}: {len(value)} ({', '.join(f'{operations.count(one)} {one}' for one in sorted(set(operations)))})"


def _settings(rows: Sequence[Mapping[str, Any]], *, every: bool) -> list[str]:
    shown = [one for one in rows if every or not one["default"]]
    lines = [f"{_pair((one['name'], one['value']))} ({one['origin'] or 'unknown'}: {one['where'] or '-'})" for one in shown]
    rest = len(rows) - len(shown)
    return lines + ([f"{rest} at their default; --all lists them"] if rest else [])


def _table(tensors: Sequence[Mapping[str, Any]]) -> list[str]:
    width = max((len(one["name"]) for one in tensors), default=0)
    return [f"{one['name']:<{width}}  {one['dtype']:<9} {tuple(one['shape'])!s:<20} rms {one['rms']:.4g}" for one in tensors]
