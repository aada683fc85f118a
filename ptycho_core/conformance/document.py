"""The page of features, made from the reports of the kit: what each backend claims, and what was proven of it.

``python -m ptycho_core.conformance.document REPORT.json … > docs/backends.md`` brings the page up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.contract import ACCELERATORS, CAPABILITIES, PRECISIONS, VERBS
from ptycho_core.errors import DataError
from ptycho_core.files.markdown import markdown_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["page", "read_report"]

_FORMAT = 1
_HEAD = """# Backends and what is proven of them

Made from reports of the [conformance kit](conformance.md) by `python -m ptycho_core.conformance.document REPORT.json …`, which
`make report` runs; do not edit.
A number is how many tests of a claim passed; tests that prove two claims count for both.
"""
_MEANING = {
    "contract": "loading, probe, plan, options, isolation, repeatability",
    "train": "`ptycho train`",
    "infer": "`ptycho infer`",
    "reconstruct": "`ptycho reconstruct`",
    "evaluate": "forward model, loss terms, gradients",
    "positions": "`--refine-positions`",
    "position-search": "`--refine-positions=search` and `=affine`",
    "background": "`--background`",
    "flux": "`--refine-flux`",
    "saturation": "`--saturation`",
    "near-field": "`--regime near`",
}


def read_report(path: Path) -> dict[str, Any]:
    """The report in a file.

    Raises:
        DataError: it cannot be read, or is no report that this version knows.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"The report {path} cannot be read: {error}.") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise DataError(f"{path} is no report of the kit in the format {_FORMAT}.")
    return found


def page(reports: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, as Markdown."""
    names = [f"`{one['backend']}`" for one in reports]
    words = ["contract", *VERBS, *sorted(CAPABILITIES - set(VERBS))]
    rows = [[_MEANING[word], *(_proof(one, word) for one in reports)] for word in words]
    claims = [
        *([f"precision `{word}`", *(_claimed(one, "precisions", word) for one in reports)] for word in PRECISIONS),
        *([f"accelerator `{word}`", *(_claimed(one, "accelerators", word) for one in reports)] for word in ACCELERATORS),
        ["own options", *(", ".join(f"`{name}`" for name in one["claims"].get("options", [])) or "–" for one in reports)],
    ]
    parts = [_HEAD, "## Proven\n", markdown_table(["", *names], rows), "## Claimed\n", markdown_table(["", *names], claims)]
    return "\n".join([*parts, *(_section(one) for one in reports)])


def _proof(report: Mapping[str, Any], word: str) -> str:
    counts = report["counts"].get(word)
    if counts is None:
        return "–"
    text = f"{counts['passed']} of {sum(counts.values())}"
    return text if counts["passed"] == sum(counts.values()) else f"**{text}**"


def _claimed(report: Mapping[str, Any], key: str, word: str) -> str:
    if word not in report["claims"].get(key, []):
        return "–"
    return "yes" if key != "accelerators" or word == report["device"] else "claimed, not run here"


def _section(report: Mapping[str, Any]) -> str:
    claims, passed = report["claims"], sum(one["outcome"] == "passed" for one in report["tests"])
    lines = [
        f"## `{report['backend']}`: {claims.get('title', report['backend'])}\n",
        f"- state: {report['state']}; contract {claims.get('contract', 'unknown')}; provided by {report['distribution']}",
        f"- framework: {claims.get('framework') or 'none'} {report['framework_version']}".rstrip(),
        f"- proven on {report['device']}: {'all that it claims' if report['proven'] else 'not all that it claims'}"
        f" ({passed} of {len(report['tests'])} tests passed)",
    ]
    others = [one for one in report["tests"] if one["outcome"] != "passed"]
    lines += [f"- {one['outcome']}: `{one['id']}`" + (f": {one['reason']}" if one["reason"] else "") for one in others]
    lines += [f"- {problem}" for problem in report["problems"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page([read_report(Path(name)) for name in sys.argv[1:]]))
