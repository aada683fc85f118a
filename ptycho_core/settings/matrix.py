"""Where each setting can come from: the table of every source, its rank and every default.

``python -m ptycho_core.settings.matrix NAME ... > docs/override-matrix.md`` brings the page up to date.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ptycho_core.settings.declare import declarations_of, option_declaration
from ptycho_core.settings.document import markdown_table
from ptycho_core.settings.groups import GROUPS
from ptycho_core.settings.sources import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ptycho_core.contract import BackendSpec
    from ptycho_core.settings.declare import Declaration

__all__ = ["override_matrix"]

_RANKS = ", ".join(f"{rank} {name}" for rank, name in enumerate(ORIGINS, 1))

_HEAD = f"""# Override matrix

Made from the declarations and the manifests by `make pages`; do not edit. Of the sources
of a value the leftmost that gives one wins, and the others are listed as beaten: {_RANKS}. What each rank is, stands in
[`specs/options.md`](../specs/options.md).

* Rank 1: the flag, or the name as a key of the overrides that a factory or a call is given. Rank 2: a key of the
  execution object. Rank 4: the key in its table of the file.
* Rank 5: what the model file states at inference, and the checkpoint with `--resume`. *Sealed*: another value from
  any source is refused. *Fact*: a request wins.
* Rank 6: what the scan's file states.
* Rank 7: another program's default, where a job is run in its words ([coming from PtychoPINN](migrating-from-ptychopinn.md)).
* Rank 8: the default of the backend, where it has its own. Rank 9: the default of the declaration, which
  serves every backend that has none.
"""


def override_matrix(specs: Sequence[BackendSpec]) -> str:
    """The page, as Markdown.

    Args:
        specs: the manifests of the backends to show.
    """
    head = ["setting", "verbs", *map(_rank, ORIGINS[:6]), *(f"{_rank('backend default')} {spec.name}" for spec in specs)]
    head.append(_rank("core default"))
    parts = [_HEAD]
    for group in GROUPS:
        name = str(group.GROUP)  # type: ignore[attr-defined]
        parts.append(f"## {name}\n\n{markdown_table(head, (_row(one, specs) for one in declarations_of(group)))}")
    for spec in specs:
        rows = [_option(option_declaration(spec.name, one)) for one in spec.options]
        told = (
            markdown_table(["option", *map(_rank, ("override", "environment", "file", "model", "backend default"))], rows)
            if rows
            else "No options.\n"
        )
        parts.append(f"## Options of backend {spec.name}\n\n{told}")
    return "\n".join(parts)


def _rank(origin: str) -> str:
    return str(ORIGINS.index(origin) + 1)


def _row(one: Declaration, specs: Sequence[BackendSpec]) -> list[str]:
    return [
        f"`{one.name}`",
        ", ".join(one.verbs),
        f"`{one.flag}`",
        "key" if one.group == "execution" else "–",
        f"`{one.variable}`",
        f"`[{one.group}] {one.name}`",
        "; ".join(_of_model(one)) or "–",
        _of_data(one) or "–",
        *("–" if own is None else f"`{own}`" for own in map(one.of_backend, specs)),
        f"`{one.show(one.default)}`",
    ]


def _option(one: Declaration) -> list[str]:
    name = one.name.partition(".")[2]
    variable = f"`PTYCHO_OPT_{one.name.replace('.', '_').upper()}`"
    return [
        f"`{one.name}`",
        f"`--opt {one.name}=…`",
        variable,
        f"`[{one.group}] {name}`",
        "resume: fact",
        f"`{one.show(one.default)}`",
    ]


def _of_model(one: Declaration) -> list[str]:
    """What a model file or checkpoint states of a setting."""
    from ptycho_core.settings.facts import changeable, inherited

    found = []
    if "infer" in one.verbs and (one.group == "model" or one.name == "size"):
        found.append("infer: sealed")
    if "infer" in one.verbs and one.name == "inference_batch_size":
        found.append("infer: fact, else batch_size of the training")
    if "train" in one.verbs and inherited(one.name):
        found.append("resume: fact" if one.name in changeable() else "resume: sealed")
    return found


def _of_data(one: Declaration) -> str:
    from ptycho_core.settings.facts import data_keys

    known = data_keys()
    if one.name not in {*known, "size"}:
        return ""
    keys = ", ".join(f"`{key}`" for key in known[one.name]) if one.name in known else "shape of the patterns"
    return f"{', '.join(verb for verb in one.verbs if verb not in ('train', 'evaluate'))}: {keys}"


def main(names: Sequence[str]) -> str:
    """The page with these backends, which are installed, their frameworks perhaps not."""
    from ptycho_core.backends.registry import find_named

    rows = [find_named(name)[0] for name in names]
    return override_matrix([row.spec for row in rows if row.spec is not None])


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
