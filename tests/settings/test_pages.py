"""Pages that are made from declarations, parsers and manifests are current, and say what the code does."""

import re
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.backends.registry import find_named
from ptycho_core.cli.flags import flag_inventory
from ptycho_core.cli.main import COMMANDS, main
from ptycho_core.cli.schema import schema
from ptycho_core.formats.opening import ScanFile
from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.facts import scan_facts
from ptycho_core.settings.groups import GROUPS, declarations
from ptycho_core.settings.matrix import main as matrix

DOCS = Path(__file__).parents[2] / "docs"
EQUIVALENTS = tomllib.loads((DOCS / "cli" / "equivalents.toml").read_text("utf-8"))
BACKENDS = ("torch", "tensorflow")
EVERY = [one for group in GROUPS for one in declarations_of(group)]
PAGES = {
    "override-matrix.md": cache(lambda: matrix(BACKENDS)),
    "cli/flag-inventory.md": cache(lambda: flag_inventory(EQUIVALENTS)),
    "cli/argparse-schema.md": cache(schema),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_current(name):
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: make pages"


def test_an_equivalent_is_told_for_every_backend_of_a_setting_that_exists():
    assert len(EQUIVALENTS) > 3
    for name, told in EQUIVALENTS.items():
        assert name in {one.name for one in EVERY}
        assert tuple(told) == BACKENDS


def rows(page, first):
    """The cells of the rows whose first cell begins so."""
    found = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(f"| {first}")]
    assert found, first
    return found


@pytest.mark.parametrize("one", EVERY, ids=lambda one: f"{one.group}.{one.name}")
def test_every_setting_is_on_each_page(one):
    inventory = rows(PAGES["cli/flag-inventory.md"](), f"`{one.flag}`")
    assert any(f"`{one.group}.{one.name}`" in row and f"`{one.show(one.default)}`" in row for row in inventory)
    table = PAGES["override-matrix.md"]().partition(f"## {one.group}\n")[2].partition("\n## ")[0]
    row = rows(table, f"`{one.name}` ")[0]
    assert (row[2], row[4], row[5], row[-1]) == (
        f"`{one.flag}`", f"`{one.variable}`", f"`[{one.group}] {one.name}`", f"`{one.show(one.default)}`",
    )  # fmt: skip


def test_the_matrix_names_exactly_what_a_scan_file_states(tmp_path):
    stated = {"photon_energy_ev": 8000.0, "detector_distance_m": 1.0, "detector_pixel_size_m": 1e-4, "photons": 1e5}
    np.savez(tmp_path / "scan.npz", intensity=np.ones((3, 8, 8), np.uint16), **stated)
    page = PAGES["override-matrix.md"]()
    named = {one.name for one in EVERY if rows(page, f"`{one.name}` ")[0][7] != "–"}
    assert named == set(scan_facts(ScanFile(tmp_path / "scan.npz")))


def test_options_of_backends_are_in_the_matrix():
    page = PAGES["override-matrix.md"]()
    assert [name for name in BACKENDS if find_named(name)[0].spec.options]
    for name in BACKENDS:
        for option in find_named(name)[0].spec.options:
            assert f"PTYCHO_OPT_{name.upper()}_{option.name.upper()}" in page


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schema_has_every_flag_that_the_help_of_a_command_shows(command, capsys):
    page = PAGES["cli/argparse-schema.md"]()
    assert main([command, "--help"]) == 0
    section = "".join(re.findall(rf"### ptycho {command}\b.*?(?=\n### |\Z)", page, re.DOTALL))
    settings = {flag for verb in ("train", "infer", "reconstruct") for one in declarations(verb).values() for flag in flags(one)}
    for flag in re.findall(r"^  (?:-\w(?: \S+)?, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE):
        assert flag in settings | {"--help", "--config", "--opt"} or f"`{flag}`" in section, flag


def flags(one):
    return (one.flag, f"--no-{one.flag[2:]}", *one.flags)


def test_the_page_on_selection_says_of_each_execution_setting_why_it_exists():
    page = (DOCS / "cli" / "flag-selection.md").read_text("utf-8")
    assert {one.flag for one in EVERY if one.group == "execution"} == set(re.findall(r"^\| `(--[\w-]+)`", page, re.MULTILINE))


def test_the_page_on_names_shows_flags_that_there_are():
    page = (DOCS / "cli" / "flag-naming.md").read_text("utf-8")
    shown = {flag for row in rows(page, "`--") for flag in re.findall(r"`(--[\w-]+)", row[0])}
    assert shown <= {flag for one in EVERY for flag in flags(one)} | {"--validation", "--config"}
