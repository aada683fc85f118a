"""Pages that are made from declarations, parsers and manifests are current, and say what the code does."""

import re

import numpy as np
import pytest
from liveness_table import BACKENDS
from settings_pages import DOCS, VIEWS, WORDS, page

from ptycho_core.backends.registry import find_named
from ptycho_core.cli.main import COMMANDS, main
from ptycho_core.formats.opening import ScanFile
from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.facts import scan_facts
from ptycho_core.settings.groups import GROUPS, declarations

EVERY = [one for group in GROUPS for one in declarations_of(group)]


@pytest.mark.parametrize("name", VIEWS)
def test_a_page_is_current(name):
    assert (DOCS / name).read_text("utf-8") == page(name), "run: make pages"


def test_words_are_of_settings_that_exist_and_for_every_backend_or_none():
    assert len(WORDS) > 3
    assert {name for name, words in WORDS.items() if "why" in words} == {one.name for one in EVERY if one.group == "execution"}
    for name, words in WORDS.items():
        assert name in {one.name for one in EVERY}
        assert tuple(word for word in words if word != "why") in ((), BACKENDS)


def rows(text, first):
    """The cells of the rows whose first cell begins so."""
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| {first}")]
    assert found, first
    return found


@pytest.mark.parametrize("one", EVERY, ids=lambda one: f"{one.group}.{one.name}")
def test_every_setting_is_on_each_page(one):
    inventory = rows(page("cli/flag-inventory.md"), f"`{one.flag}`")
    assert any(f"`{one.group}.{one.name}`" in row and f"`{one.show(one.default)}`" in row for row in inventory)
    table = page("override-matrix.md").partition(f"## {one.group}\n")[2].partition("\n## ")[0]
    row = rows(table, f"`{one.name}` ")[0]
    assert (row[2], row[4], row[5], row[-1]) == (
        f"`{one.flag}`", f"`{one.variable}`", f"`[{one.group}] {one.name}`", f"`{one.show(one.default)}`",
    )  # fmt: skip
    section = page("reference/settings.md").partition(f"\n## {one.group}\n")[2].partition("\n## ")[0]
    section = section.partition(f"### `{one.name}`\n")[2].partition("\n### ")[0]
    assert f"- default: `{one.show(one.default)}`" in section
    assert all(f"`{word}`" in section for word in (one.flag, one.variable, f"[{one.group}] {one.name}"))
    assert all(f"[`{verb}`](../../tests/" in section for verb in one.verbs if verb != "evaluate")


def test_the_matrix_names_exactly_what_a_scan_file_states(tmp_path):
    stated = {"photon_energy_ev": 8000.0, "detector_distance_m": 1.0, "detector_pixel_size_m": 1e-4, "photons": 1e5}
    stated |= {"focus_to_sample_m": 1.0}
    np.savez(tmp_path / "scan.npz", intensity=np.ones((3, 8, 8), np.uint16), **stated)
    named = {one.name for one in EVERY if rows(page("override-matrix.md"), f"`{one.name}` ")[0][7] != "–"}
    assert named == set(scan_facts(ScanFile(tmp_path / "scan.npz")))


def test_options_of_backends_are_in_the_matrix():
    assert [name for name in BACKENDS if find_named(name)[0].spec.options]
    for name in BACKENDS:
        for option in find_named(name)[0].spec.options:
            assert f"PTYCHO_OPT_{name.upper()}_{option.name.upper()}" in page("override-matrix.md")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schema_has_every_flag_that_the_help_of_a_command_shows(command, capsys):
    assert main([command, "--help"]) == 0
    section = "".join(re.findall(rf"### ptycho {command}\b.*?(?=\n### |\Z)", page("cli/argparse-schema.md"), re.DOTALL))
    settings = {flag for verb in ("train", "infer", "reconstruct") for one in declarations(verb).values() for flag in flags(one)}
    for flag in re.findall(r"^  (?:-\w(?: \S+)?, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE):
        assert flag in settings | {"--help", "--config", "--opt"} or f"`{flag}`" in section, flag


def flags(one):
    return (one.flag, f"--no-{one.flag[2:]}", *one.flags)
