"""What users read says it in plain words: README, docs, help and messages."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ODD = {
    r"nobody|somebody|whoever": "name who it is, or write in the active voice",
    r"(?:is|are|was|were|be|being) told": "reported, shown, or 'ptycho says'",
    r"beside": "next to, besides, together with, in addition to",
    r"of (?:its|their|one's) own": "its own NAME, a separate NAME",
    r"of ours": "our NAME",
    r"judges?|judged": "validation; checks",
    r"goes on|go on": "continues",
    r"optimiser": "optimizer",
}
"""Words that make a reader translate, and what to write in their place."""

PATTERN = re.compile(rf"(?<![\w.`'/-])(?:{'|'.join(ODD)})(?![\w`'(.]\w?)", re.IGNORECASE)
PAGES = sorted(
    path
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"))
    if path.parent.name != "decisions"
)
SOURCES = sorted(
    path
    for folder in ("ptycho_core", "backends", "examples/plugins")
    for path in (ROOT / folder).rglob("*.py")
    if not {"conformance", "tests", "build"} & set(path.relative_to(ROOT).parts)
)


def found(text):
    return [text[max(0, one.start() - 40) : one.end() + 20] for one in PATTERN.finditer(text)]


def texts(tree):
    """The strings of a module that are no docstrings, such as help and messages: those that are sentences."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
            and id(node) not in documented
        ):
            yield node.value


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_use_plain_words(path):
    assert found(path.read_text("utf-8")) == [], ODD


def test_help_and_messages_use_plain_words():
    odd = {
        f"{path.relative_to(ROOT)}: {words}"
        for path in SOURCES
        for text in texts(ast.parse(path.read_text("utf-8")))
        for words in found(text)
    }
    assert sorted(odd) == [], ODD


def test_the_list_finds_what_it_is_for():
    assert len(found("Whoever judges it is told, and it goes on beside somebody of ours, in a process of its own.")) == 7
    assert found("a judgement, `source.beside`, its own options") == []
