"""``specs/model-file.md`` says what the code does."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from ptycho_core.errors import DataError
from ptycho_core.model import load_model, read_model_manifest, save_model
from ptycho_core.modelfile.archive import LARGEST
from ptycho_core.modelfile.manifest import FIELDS, VERSION
from ptycho_core.modelfile.tensors import Layout

SPEC = Path(__file__).parents[2] / "specs" / "model-file.md"
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}
NOUNS = {"text": str, "whole number": int, "object": dict, "list": list}


def section(title):
    return SPEC.read_text(encoding="utf-8").split(f". {title}\n")[1].split("\n## ")[0]


def rows(title):
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*$", section(title), re.MULTILINE)]


def test_the_members_and_their_bounds_are_those_of_the_archive():
    stated = {}
    for name, _, most, _ in rows("The archive"):
        number, unit = most.split()
        stated[name.strip("`")] = int(number) * UNITS[unit]
    assert stated == LARGEST


def test_a_member_that_is_required_is(file, tamper):
    needs = {name.strip("`"): need for name, need, *_ in rows("The archive")}
    assert set(tamper.members_of(file)) == {name for name, need in needs.items() if need == "required"}


def test_the_members_are_written_in_the_order_of_the_table(tmp_path, make, state):
    with zipfile.ZipFile(save_model(tmp_path / "last.ptycho", make(training=state))) as archive:
        assert archive.namelist() == [name.strip("`") for name, *_ in rows("The archive")]


def test_the_fields_of_the_manifest_are_those_of_the_table(file):
    stated = {name.strip("`"): NOUNS[kind] for name, kind, _ in rows("The manifest")}
    assert stated == FIELDS
    assert {name: type(value) for name, value in read_model_manifest(file).items()} == stated


def test_format_and_version_are_those_that_the_table_gives(file):
    told = {name.strip("`"): text for name, _, text in rows("The manifest")}
    manifest = read_model_manifest(file)
    assert told["format"] == f"`{manifest['format']}`"
    assert told["version"].startswith(f"{manifest['version']};")
    assert manifest["version"] == VERSION


def test_the_facts_that_the_table_names_are_required(make, tmp_path):
    text = next(text for name, _, text in rows("The manifest") if name == "`facts`")
    named = re.findall(r"`(\w+)` \(", text)
    assert named == ["size", "gridsize", "modes"]
    model = make()
    for name in named:
        facts = {key: value for key, value in model.facts.items() if key != name}
        with pytest.raises(DataError, match=f"the fact '{name}'"):
            save_model(tmp_path / "a.ptycho", make(facts=facts))


def test_the_tensors_are_those_of_the_table(file):
    stated = {name.strip("`"): dtype for name, dtype, *_ in rows("Tensors")}
    model, table = load_model(file), read_model_manifest(file)["tensors"]
    weights = {f"network.{name}": stated["network.NAME"] for name in model.weights}
    rest = {name: dtype for name, dtype in stated.items() if not name.startswith("network.")}
    assert {name: entry["dtype"] for name, entry in table.items()} == weights | rest


def test_complex_arrays_are_stored_as_pairs(tmp_path, make, state, tamper):
    members = tamper.members_of(save_model(tmp_path / "last.ptycho", make(training=state)))
    stored = load(members["weights.safetensors"])["physics.probe"]
    probe = make().physics["probe"]
    assert stored.dtype == np.float32
    assert np.array_equal(stored, np.stack([probe.real, probe.imag], axis=-1))
    stored = load(members["training/optimizer.safetensors"])["double"]
    assert stored.dtype == np.float64
    assert stored.tolist() == [[1, 2], [3, -4]]
    assert json.loads(members["training/state.json"])["arrays"]["double"] == {"dtype": "complex128", "shape": [2]}


def test_every_type_that_is_stated_for_a_training_state_can_be_stored():
    text = section("Checkpoints")
    assert "float16, float32, float64, complex64, complex128,\nbool, or signed or unsigned integers of 8 to 64 bits" in text
    whole = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    for dtype in ("float16", "float32", "float64", "complex64", "complex128", "bool", *whole):
        assert Layout.known(dtype)
    assert not Layout.known("object")
    assert not Layout.known("str")


def test_the_comment_of_the_archive_is_the_stated_one(file):
    import hashlib

    with zipfile.ZipFile(file) as archive:
        digest = hashlib.sha256(archive.read("manifest.json")).hexdigest()
        assert archive.comment.decode() == f"ptycho model, manifest sha256 {digest}"
    assert "`ptycho model, manifest sha256 `" in section("The archive")
