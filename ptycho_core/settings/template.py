"""A settings file to begin with: every setting of a job with its help, commented out, at its default."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from ptycho_core.settings.declare import option_declaration
from ptycho_core.settings.groups import declarations
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ptycho_core.contract import BackendSpec, Value
    from ptycho_core.settings.declare import Declaration

__all__ = ["template"]

_WIDTH = 110
_LISTS = """\
# Which backends the jobs of this file may use, by NAME or NAME@DISTRIBUTION, is said in a separate table:
# [backends]
# allow = ["NAME"]
# block = ["NAME"]"""


def template(verb: str, spec: BackendSpec | None = None, named: str = "") -> str:
    """The text of a file for ``ptycho VERB --config FILE``.

    A line that begins with ``#`` and no blank is a setting at its default; a comment begins with ``# ``. For *infer* the group
    *model* is left out: the model file fixes it.

    Args:
        verb: the job.
        spec: a backend, which is then the one that the file chooses, for its options.
        named: how the file names it, ``NAME@DISTRIBUTION`` where the name is not enough; empty for its name.
    """
    parts = [_head(verb, spec)]
    tables: dict[str, list[Declaration]] = {}
    for one in declarations(verb).values():
        if verb != "infer" or one.group != "model":
            tables.setdefault(one.group, []).append(one)
    for group, declared in tables.items():
        parts.append(f"[{group}]")
        parts += [_entry(one, one.name, spec, named) for one in declared]
    if spec is not None:
        parts.append(f"[backend.{spec.name}]" if spec.options else f"# Backend {spec.name} has no options.")
        parts += [_entry(option_declaration(spec.name, one), one.name, None) for one in spec.options]
    return "\n\n".join([*parts, _LISTS]) + "\n"


def _head(verb: str, spec: BackendSpec | None) -> str:
    parts = [
        f"Settings of a job: ptycho {verb} ... --config FILE. Flags and PTYCHO_* variables go before this file.",
        "Remove the # before a setting to ask for it; what is shown is its default, and to ask for a default is a request too: "
        "what could not act together with the others (the momentum of an optimizer that has none) is refused.",
    ]
    if verb == "infer":
        parts.append("What the network is stands in the model file and cannot be set.")
    if spec is None:
        parts.append(f"'ptycho config init {verb} --backend NAME' adds the options of a backend.")
    return "\n".join(line for text in parts for line in _comment(text))


def _entry(one: Declaration, key: str, spec: BackendSpec | None, named: str = "") -> str:
    """Help, what is allowed, and the line itself; a backend that was named is not commented out."""
    kind = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "path": "a path"}[one.kind]
    notes = [one.allowed if one.choices else ", ".join(filter(None, [kind, one.allowed])), f"in {one.unit}" if one.unit else ""]
    notes.append(f'or "{one.show(None)}"' if one.optional else "")
    chosen = spec is not None and one.name == "backend"
    own = None if spec is None else one.of_backend(spec)
    default = one.default if own is None else own
    value = _toml(one, named or spec.name if chosen and spec is not None else default)
    line = f"{key} = {value}"
    text = f"{one.help[0].upper()}{one.help[1:]} ({'; '.join(filter(None, notes))})"
    return "\n".join([*_comment(text), line if chosen else f"#{line}"])


def _comment(text: str) -> Iterable[str]:
    plain = shown(" ".join(text.split()))
    return (f"# {line}" for line in textwrap.wrap(plain, _WIDTH, break_long_words=False, break_on_hyphens=False))


def _toml(one: Declaration, value: Value) -> str:
    word = one.show(value)
    return word if isinstance(value, bool | int | float) else json.dumps(word, ensure_ascii=False)
