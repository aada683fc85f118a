"""Every command that the documents and ``make demo`` show is one that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

from ptycho_core.cli.main import _parser

ROOT = Path(__file__).parents[2]


def commands():
    """The lines that start with ``ptycho``, continued where they end in a backslash, without what is left open with dots."""
    for name in ("README.md", "docs/tutorial.md", "docs/guides/pytorch.md", "docs/guides/tensorflow.md", "Makefile"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in re.findall(r"^(?:\t\$\(BIN\)/)?ptycho (.*)$", text, re.MULTILINE):
            if "…" not in line:
                yield pytest.param(shlex.split(line, comments=True), id=f"{name}: {line}")


def test_there_are_such_commands():
    assert len(list(commands())) > 15


@pytest.mark.parametrize("words", list(commands()))
def test_the_command_line_takes_it(words):
    assert callable(_parser(words).parse_args(words).func)
