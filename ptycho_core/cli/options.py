"""Flags made from the declarations, and what a user gave of them."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.errors import PtychoError, SettingsError, did_you_mean
from ptycho_core.settings.components import why_left_out
from ptycho_core.settings.declare import option_declaration
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.model import WITHOUT_MODEL
from ptycho_core.settings.sources import Typed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ptycho_core.settings.declare import Declaration
    from ptycho_core.settings.sources import SettingsSource

__all__ = ["GivenFlags", "add_setting_flags", "collect"]

_TITLES = {
    "data": "data: what the file does not say of itself",
    "model": "model: what the network is",
    "training": "training: how it learns",
    "reconstruction": "reconstruction: what is computed",
    "inference": "inference: what the pass computes",
    "losses": "losses: of those that other distributions bring",
    "networks": "networks: of those that other distributions bring",
    "execution": "execution: how it is run",
}


@dataclass(frozen=True)
class GivenFlags:
    """The settings on a command line, by name, a backend's options as ``BACKEND.NAME``; and the file, or what stands for it."""

    overrides: Mapping[str, Typed] = field(default_factory=dict)
    config: Path | SettingsSource | None = None


def add_setting_flags(parser: argparse.ArgumentParser, *verbs: str, without: Sequence[str] = ()) -> None:
    """Add one flag for each setting of a verb, ``--config``, ``--opt``, and to the help the options of the backends named.

    A flag that is not typed leaves no trace. Abbreviations are refused: what one stands for would change with the next setting.

    Args:
        parser: the command's.
        verbs: one, or several that are run one after the other; of a setting that they share the first declaration is shown.
        without: settings that the command has its own flags for.
    """
    parser.allow_abbrev = False
    named: dict[str, Declaration] = {}
    for verb in verbs:
        for name, one in declarations(verb).items():
            named.setdefault(name, one)
    declared = [one for name, one in named.items() if name not in without]
    groups = {
        name: parser.add_argument_group(title) for name, title in _TITLES.items() if name in {one.group for one in declared}
    }
    for one in declared:
        _add(groups[one.group], one, hidden=verbs == ("infer",) and one.group == "model" and one.name not in WITHOUT_MODEL)
    sources = parser.add_argument_group("further sources")
    sources.add_argument("--config", metavar="FILE", help="settings in TOML; flags win over it")
    sources.add_argument(
        "--opt", metavar="BACKEND.NAME=VALUE", action="append", default=[],
        help="an option of the backend itself; --backend NAME --help lists them",
    )  # fmt: skip
    _watch(parser, {one.flag: one for one in declared if one.switch_words})


def collect(args: argparse.Namespace, *verbs: str) -> GivenFlags:
    """What was typed; a default is not. Types and ranges are checked where all sources are resolved.

    Raises:
        SettingsError: a setting or option is given twice with different values, or an ``--opt`` is malformed.
    """
    names = dict.fromkeys(name for verb in verbs for name in declarations(verb))
    typed = [(name, item) for name in names for item in getattr(args, f"setting_{name}", ())]
    for text in args.opt:
        name, equals, value = text.partition("=")
        if not equals or not all(name.partition(".")):
            raise SettingsError(f"--opt {text}: write it as BACKEND.NAME=VALUE.", source=f"--opt {text}")
        typed.append((name, Typed(value, f"--opt {text}")))
    overrides: dict[str, Typed] = {}
    for name, item in typed:
        before = overrides.setdefault(name, item)
        if before.value != item.value:
            raise SettingsError(f"{before.where} and {item.where} contradict each other; give one of them.", source=item.where)
    return GivenFlags(overrides, Path(args.config) if isinstance(args.config, str) else args.config)


_ALONE = "\0"
"""Stands for the value of a flag that was typed without one; no argument can hold this character."""


class _Remember(argparse.Action):
    """Keeps every value of a setting with the flag as it was typed.

    A flag without a value means the first of ``switch_words``, one of those in ``falsy`` the second.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        falsy: Sequence[str] = (),
        switch_words: Sequence[str | bool] = (True, False),
        **rest: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(option_strings, dest, **rest)
        self.falsy, self.switch_words = falsy, switch_words

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401
        option_string: str | None = None,
    ) -> None:
        flag = str(option_string)
        alone = self.nargs == 0 or values == _ALONE
        item = Typed(self.switch_words[flag in self.falsy], flag) if alone else Typed(str(values), f"{flag} {values}")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, ()), item])


def _add(group: argparse._ArgumentGroup, one: Declaration, *, hidden: bool) -> None:
    """One flag. What a model file seals is hidden from the help, but known, so that the answer can name the file."""
    destination = f"setting_{one.name}"
    default = one.show(one.default)
    if one.kind == "bool":
        falsy = [one.negated, *one.flags]
        group.add_argument(
            one.flag, *falsy, dest=destination, action=_Remember, nargs=0, falsy=falsy, default=argparse.SUPPRESS,
            help=_help(one, f"default: {'auto' if one.default is None else 'yes' if one.default else 'no'}", hidden=hidden),
        )  # fmt: skip
        return
    if one.switch_words:
        group.add_argument(
            one.negated, dest=destination, action=_Remember, nargs=0, falsy=[one.negated], switch_words=one.switch_words,
            default=argparse.SUPPRESS, help=argparse.SUPPRESS if hidden else f"the same as {one.flag}={one.switch_words[1]}",
        )  # fmt: skip
    notes = [f"default: {default}"] + [note for note in (one.unit, one.allowed) if note]
    metavar = "FILE" if one.kind == "path" else "{" + ",".join(one.choices) + "}" if one.choices else one.kind.upper()
    group.add_argument(
        one.flag, *one.flags, dest=destination, action=_Remember, switch_words=one.switch_words or (True, False), metavar=metavar,
        default=argparse.SUPPRESS,
        help=_help(one, "; ".join(notes), hidden=hidden),
    )  # fmt: skip


def _help(one: Declaration, notes: str, *, hidden: bool) -> str:
    return argparse.SUPPRESS if hidden else f"{one.help} ({notes})".replace("%", "%%")


def _watch(parser: argparse.ArgumentParser, alone: Mapping[str, Declaration]) -> None:
    """Look at the arguments before they are parsed (for the options of a backend in the help) and after (for unknown flags).

    argparse has no hook for either: the help is printed as soon as its flag is met, and what is left over is reported elsewhere.
    ``alone`` are the flags that may stand without a value, which argparse would take from the scan that follows.
    """
    parse = parser.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - argparse's own signature
        words = _with_values(list(args or ()), alone)
        if {"-h", "--help"} & set(words):
            parser.epilog = _backend_options(words)
            parser.formatter_class = argparse.RawDescriptionHelpFormatter
        found, rest = parse(words, namespace)
        flag = next((word.partition("=")[0] for word in rest if word.startswith("--")), "")
        if flag:
            why = why_left_out(flag.removeprefix("--").replace("-", "_")).rstrip(".")
            near = did_you_mean(flag, parser._option_string_actions).strip()  # noqa: SLF001 - there is no public list of flags
            parser.error(f"there is no flag {flag}" + (f". {why}" if why else f" ({near})" if near else ""))
        return found, rest

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _with_values(words: list[str], alone: Mapping[str, Declaration]) -> list[str]:
    """The arguments with a value joined to each flag that may stand alone: the next word if that is one of its values."""
    found: list[str] = []
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        if word == "--":
            return found + words[number:]
        if before in alone and _is_value(word, alone[before]):
            continue
        if word in alone:
            after = words[number + 1] if number + 1 < len(words) else ""
            word = f"{word}={after if _is_value(after, alone[word]) else _ALONE}"
        found.append(word)
    return found


def _is_value(word: str, one: Declaration) -> bool:
    return word.lower() in (*one.choices, "true", "false", "1", "0")


def _backend_options(words: list[str]) -> str | None:
    """The options of the backends named on the command line, out of their manifests; nothing is imported."""
    named = [text for flag in ("--backend", "--backends") for text in _values_of(flag, words)]
    names = [name for text in named for name in text.split(",") if name]
    return "\n".join(_options_of(name) for name in names) or None


def _values_of(flag: str, words: list[str]) -> list[str]:
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
    return joined or [after for word, after in itertools.pairwise(words) if word == flag]


def _options_of(name: str) -> str:
    from ptycho_core.backends.registry import find_named

    try:
        row = find_named(name)[0]
    except PtychoError as error:
        return f"backend {name}: {error}"
    if row.spec is None:
        return f"backend {row.name}: {row.reason}"
    if not row.spec.options:
        return f"backend {row.name} has no options"
    declared = [option_declaration(row.name, one) for one in row.spec.options]
    notes = {one.name: "; ".join([f"default: {one.show(one.default)}", *filter(None, [one.allowed])]) for one in declared}
    lines = [f"  {one.name}={one.kind.upper()}  {one.help} ({notes[one.name]})" for one in declared]
    return "\n".join([f"options of backend {row.name}, given with --opt:", *lines])
