"""The tables of ``specs/scan-data.md`` are the keys that the readers know."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from ptycho_core.formats import pinn_npz, plain_npz
from ptycho_core.scan.scan import Scan
from ptycho_core.settings.data import DataSettings

SPEC = Path(__file__).parents[2] / "specs" / "scan-data.md"


def section(title):
    return SPEC.read_text(encoding="utf-8").split(f"{title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(("title", "reader"), [("The plain npz layout", plain_npz), ("The npz layout of PtychoPINN", pinn_npz)])
def test_key_tables_are_those_of_the_readers(title, reader):
    assert dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section(title), re.MULTILINE)) == dict(reader.KEYS)


@pytest.mark.parametrize(("keys", "module"), [(plain_npz.KEYS, "plain_npz"), (pinn_npz.KEYS, "pinn_npz")])
def test_a_reader_knows_each_key_that_is_read(keys, module):
    folder = Path(plain_npz.__file__).parent
    code = (folder / f"{module}.py").read_text().partition("class ")[2] + (folder / "npz_scan.py").read_text()
    for key, need in keys.items():
        assert (f'"{key}"' in code) == (need in ("required", "optional", "alias")) or need in ("ignored", "truth"), key


def test_the_settings_table_is_the_group_of_data_settings():
    named = re.findall(
        r"`(\w+)`", " ".join(line.split("|")[1] for line in section("What a user may state").splitlines() if "|" in line)
    )
    assert named == [item.name for item in fields(DataSettings)]


def test_the_scan_table_names_attributes_of_a_scan():
    named = re.findall(r"^\| `(\w+)` \|", section("The scan"), re.MULTILINE)
    assert set(named) == {item.name for item in fields(Scan)} - {"source", "format", "signal", "notes"}
