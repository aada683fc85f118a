"""The table of all settings, and every page that is a view of it: ``python tests/liveness/settings_pages.py`` makes them anew.

A row is the declaration of a setting or of an option of a backend. The columns come from the declaration, the manifests, the
plans and tests of the liveness table, PtychoPINN's table of spellings and ``docs/cli/flags.toml``. What people write on a page
stands outside its marks.
"""

import argparse
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import liveness_table as liveness

from ptycho_core.backends.registry import find_named
from ptycho_core.cli.main import COMMANDS, add_command
from ptycho_core.compatibility.document import TABLES
from ptycho_core.compatibility.table import COMMANDS as PINN_COMMANDS
from ptycho_core.compatibility.table import entries
from ptycho_core.contract import BackendSpec
from ptycho_core.files.markdown import markdown_table, with_tables
from ptycho_core.settings.declare import Declaration, declarations_of, option_declaration
from ptycho_core.settings.facts import changeable, data_keys, inherited
from ptycho_core.settings.groups import GROUPS, declarations
from ptycho_core.settings.rules import acts_only
from ptycho_core.settings.sources import ORIGINS

DOCS = liveness.ROOT / "docs"
WORDS = tomllib.loads((DOCS / "cli" / "flags.toml").read_text("utf-8"))
"""What people say of a setting: why it is an execution flag, and what a backend does with it."""

Columns = Mapping[str, Callable[[Declaration], str]]


@cache
def specs() -> tuple[BackendSpec, ...]:
    """The manifests of the backends."""
    found = [find_named(name)[0].spec for name in liveness.BACKENDS]
    assert None not in found
    return tuple(one for one in found if one is not None)


@cache
def table() -> dict[str, tuple[Declaration, ...]]:
    """The rows by group, the options of each backend as a group of its own."""
    found = {str(group.GROUP): declarations_of(group) for group in GROUPS}
    options = {f"backend.{spec.name}": tuple(option_declaration(spec.name, one) for one in spec.options) for spec in specs()}
    return found | {group: rows for group, rows in options.items() if rows}


def is_option(one: Declaration) -> bool:
    return "." in one.name


def code(text: str) -> str:
    return f"`{text}`"


# The columns.


def flag(one: Declaration) -> str:
    return code(f"--opt {one.name}=…" if is_option(one) else one.flag)


def flags(one: Declaration) -> str:
    words = [f"{one.flag}={word}" for word in one.choices if one.switch_words and word not in one.switch_words]
    return flag(one) if is_option(one) else ", ".join(map(code, (*one.every_flag[: 1 + one.switches], *words, *one.flags)))


def variable(one: Declaration) -> str:
    return code(f"PTYCHO_OPT_{one.name.replace('.', '_').upper()}" if is_option(one) else one.variable)


def key(one: Declaration) -> str:
    return code(f"[{one.group}] {one.name.rpartition('.')[2]}")


def default(one: Declaration) -> str:
    return code(one.show(one.default))


def value(one: Declaration) -> str:
    """Type and range, in words."""
    kinds = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text", "path": "path of a file"}
    kind = one.allowed if one.choices else ", ".join(filter(None, [kinds[one.kind], one.allowed]))
    return kind + (f" ({one.unit})" if one.unit else "") + (f", or {code(one.show(None))}" if one.optional else "")


def verbs(one: Declaration) -> str:
    return ", ".join(one.verbs)


def acts(one: Declaration) -> str:
    return acts_only(one.name) or "always"


def also(one: Declaration) -> str:
    meaning = (("true", "1"), ("false", "0"))
    words = [*one.also, *((text, word) for texts, word in zip(meaning, one.switch_words, strict=False) for text in texts)]
    return ", ".join(f"`{other}` for `{word}`" for other, word in words)


def of_model(one: Declaration) -> str:
    """What a model file or checkpoint states of a setting."""
    found = []
    if "infer" in one.verbs and (one.group == "model" or one.name == "size"):
        found.append("infer: sealed")
    if "infer" in one.verbs and one.name == "inference_batch_size":
        found.append("infer: fact, else batch_size of the training")
    if "train" in one.verbs and inherited(one.name):
        found.append("resume: fact" if is_option(one) or one.name in changeable() else "resume: sealed")
    return "; ".join(found)


def of_data(one: Declaration) -> str:
    """What the file of a scan states of it."""
    known = data_keys()
    if one.name not in {*known, "size"}:
        return ""
    keys = ", ".join(map(code, known[one.name])) if one.name in known else "shape of the patterns"
    return f"{', '.join(verb for verb in one.verbs if verb not in ('train', 'evaluate'))}: {keys}"


def all_sources(one: Declaration) -> str:
    """Everything that can give it a value, but defaults."""
    return "; ".join(filter(None, [f"{flags(one)}, {variable(one)}, {key(one)}", of_model(one), of_data(one)]))


def default_of(spec: BackendSpec) -> Callable[[Declaration], str]:
    def own(one: Declaration) -> str:
        if is_option(one):
            return default(one) if one.group == f"backend.{spec.name}" else ""
        found = one.of_backend(spec)
        return "" if found is None else code(str(found))

    return own


def done_by(spec: BackendSpec) -> Callable[[Declaration], str]:
    return lambda one: WORDS.get(one.name, {}).get(spec.name, "the same")


def why(one: Declaration) -> str:
    return str(WORDS[one.name]["why"])


def notes(one: Declaration) -> str:
    return "; ".join(filter(None, [acts_only(one.name), *(f"`{other}` means `{word}`" for other, word in one.also)]))


def proofs(one: Declaration, backend: str) -> dict[str, liveness.Proof]:
    """By verb, what shows that a backend acts on it."""
    known = {verb: one.name in liveness.names(verb, backend) for verb in liveness.VERBS}
    found = {verb: liveness.proof(verb, one.name, backend) for verb in one.verbs if known.get(verb)}
    return {verb: proof for verb, proof in found.items() if proof is not None}


def answers(one: Declaration) -> str:
    """What each backend's plan answers."""
    by_text: dict[str, list[str]] = {}
    for spec in specs():
        texts: dict[str, list[str]] = {}
        for verb, proof in proofs(one, spec.name).items():
            text = " or ".join(proof.answers) + (f" ({proof.note})" if proof.note else "")
            texts.setdefault(text, []).append(verb)
        whole = "; ".join(text if len(texts) == 1 else f"{', '.join(map(code, verbs))} {text}" for text, verbs in texts.items())
        by_text.setdefault(whole, []).append(spec.name)
    return ". ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items() if text)


def taken_by(one: Declaration) -> str:
    """The verbs, each with a link to the test that shows that it acts there, and one to each other test of a backend."""
    parts = []
    for verb in one.verbs:
        tests: dict[str, list[str]] = {}
        for spec in specs():
            if proof := proofs(one, spec.name).get(verb):
                tests.setdefault(proof.test.partition("::")[0], []).append(spec.name)
        names = [code(verb), *(", ".join(those) for those in list(tests.values())[1:])]
        links = [f"[{name}](../../{path})" for name, path in zip(names, tests, strict=False)]
        parts.append(f"{links[0]}" + (f" ({', '.join(links[1:])})" if links[1:] else "") if links else code(verb))
    return ", ".join(parts)


def in_pinn(one: Declaration) -> str:
    """The flags of PtychoPINN that speak of it."""
    return ", ".join(dict.fromkeys(code(f"--{name}") for name, _ in pinn_spellings(one)))


def in_files_of_pinn(one: Declaration) -> str:
    return ", ".join(dict.fromkeys(code(name) for name, field in pinn_spellings(one) if field))


def pinn_spellings(one: Declaration) -> Iterator[tuple[str, str]]:
    for command in PINN_COMMANDS:
        for entry in entries(command).values():
            if one.name in entry.settings and not entry.refused:
                yield entry.name, entry.field
                yield from ((name, "") for name in [entry.negative] if name)


def dashed(column: Callable[[Declaration], str]) -> Callable[[Declaration], str]:
    return lambda one: column(one) or "–"


# The views.


def sources() -> Columns:
    ranked = [flag, lambda one: "key" if one.group == "execution" else "", variable, key, of_model, of_data]
    found: dict[str, Callable[[Declaration], str]] = {"setting": lambda one: code(one.name), "verbs": verbs}
    found |= {str(rank): dashed(column) for rank, column in enumerate(ranked, 1)}
    found |= {f"{ORIGINS.index('backend default') + 1} {spec.name}": dashed(default_of(spec)) for spec in specs()}
    return found | {str(ORIGINS.index("core default") + 1): lambda one: "–" if is_option(one) else default(one)}


def inventory() -> Columns:
    head: Columns = {
        "flag": lambda one: ", ".join(map(code, one.every_flag)),
        "default": default,
        "type": value,
        "destination": lambda one: code(f"{one.group}.{one.name}"),
    }
    tail: Columns = {"taken by": lambda one: ", ".join(verb for verb in one.verbs if verb != "evaluate"), "notes": notes}
    return {**head, **{spec.name: done_by(spec) for spec in specs()}, **tail}


SCHEMA: Columns = {
    "option strings": lambda one: ", ".join(map(code, one.every_flag)),
    "metavar": lambda one: {"bool": "", "path": "FILE"}.get(
        one.kind, f"[={one.kind.upper()}]" if one.switch_words else one.kind.upper()
    ),
    "default": default,
    "validation": value,
    "acts": acts,
    "help": lambda one: one.help,
}
SELECTION: Columns = {"flag": flag, "why it exists": why}
NAMING: Columns = {
    "here": lambda one: ", ".join(map(code, one.every_flag)),
    "flags there": in_pinn,
    "keys of its settings files": dashed(in_files_of_pinn),
}
SECTION: Columns = {
    "value": value,
    "default": default,
    "sources": all_sources,
    "also written": also,
    "acts": lambda one: acts_only(one.name),
    "taken by": taken_by,
    "answered": answers,
}


def view(columns: Columns, rows: Iterable[Declaration]) -> str:
    return markdown_table(list(columns), ([column(one) for column in columns.values()] for one in rows))


def by_group(columns: Columns, *, options: bool = False) -> str:
    """A table for each group."""
    shown = {group: rows for group, rows in table().items() if options or not group.startswith("backend.")}
    return "\n".join(f"## {group}\n\n{view(columns, rows)}" for group, rows in shown.items())


def sections() -> str:
    """A section for each setting."""
    parts = []
    for group, rows in table().items():
        parts.append(f"## {group}\n\nTable `[{group}]` of a settings file.\n")
        for one in rows:
            facts = [f"- {label}: {text}" for label, column in SECTION.items() if (text := column(one))]
            parts.append("\n".join([f"### `{one.name}`\n", f"{one.help[0].upper()}{one.help[1:]}\n", *facts]) + "\n")
    return "\n".join(parts)


def by_verb() -> str:
    """For each verb the flags that its help shows."""
    shown = {
        verb: [one for one in declarations(verb).values() if verb != "infer" or one.group != "model"] for verb in liveness.VERBS
    }
    return "\n".join(f"### Settings of {verb}\n\n{view(SCHEMA, rows)}" for verb, rows in shown.items())


def commands() -> str:
    """The arguments of every command, and of every command below it, as they are parsed when they run."""
    root = argparse.ArgumentParser(prog="ptycho")
    below = root.add_subparsers()
    for name in COMMANDS:
        add_command(name, below)
    return "\n".join(command(parser) for name in COMMANDS for parser in leaves(below.choices[name]))


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for one in action.choices.values():
            yield from leaves(one)


def command(parser: argparse.ArgumentParser) -> str:
    others: dict[str, str] = {}
    for group in parser._mutually_exclusive_groups:
        for one in group._group_actions:
            others[one.dest] = ", ".join(code(other.option_strings[-1]) for other in group._group_actions if other is not one)
    own = [one for one in parser._actions if not one.dest.startswith("setting_") and one.dest not in ("help", "config", "opt")]
    rows = [argument(one, others.get(one.dest, "")) for one in own]
    settings = any(action.dest.startswith("setting_") for action in parser._actions)
    tail = "\nAnd settings, `--config` and `--opt`, as above.\n" if settings else ""
    head = ["argument", "default", "type", "required", "excludes", "help"]
    return f"### {parser.prog}\n\n{markdown_table(head, rows)}{tail}"


def argument(action: argparse.Action, excluded: str) -> list[str]:
    strings = ", ".join(map(code, action.option_strings)) or code(str(action.metavar or action.dest))
    flag_only = action.nargs == 0
    kind = "" if flag_only else getattr(action.type, "__name__", "text").replace("str", "text")
    kind = f"one of {', '.join(map(str, action.choices))}" if action.choices else kind
    several = " several" if action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction) else ""
    given = "–" if action.default in (None, [], argparse.SUPPRESS) else code(str(action.default))
    required = action.required if action.option_strings else action.nargs not in ("*", "?")
    return [strings, "off" if flag_only else given, kind + several, "yes" if required else "", excluded, action.help or ""]


def execution_flags() -> str:
    return view(SELECTION, table()["execution"])


def names() -> str:
    every = {one.name: one for group, rows in table().items() for one in rows if in_pinn(one)}
    return view(NAMING, every.values())


VIEWS: dict[str, dict[str, Callable[[], str]]] = {
    "reference/settings.md": {"settings": sections},
    "override-matrix.md": {"sources": lambda: by_group(sources(), options=True)},
    "cli/flag-inventory.md": {"inventory": lambda: by_group(inventory())},
    "cli/flag-selection.md": {"execution flags": execution_flags},
    "cli/flag-naming.md": {"names": names},
    "cli/argparse-schema.md": {"settings": by_verb, "commands": commands},
    "migrating-from-ptychopinn.md": dict(TABLES),
}
"""By page its tables, each between the mark of its name and the next end."""


@cache
def page(name: str) -> str:
    """A page with its tables as they are now."""
    return with_tables((DOCS / name).read_text("utf-8"), VIEWS[name])


if __name__ == "__main__":
    for name in VIEWS:
        (DOCS / name).write_text(page(name), "utf-8")
