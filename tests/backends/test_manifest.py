"""The manifest is checked key by key, and every refusal says which key and why."""

from __future__ import annotations

import re

import pytest

from ptycho_core.backends.manifest import read_manifest
from ptycho_core.contract import BackendSpec, Framework, OptionSpec
from ptycho_core.errors import BackendUnusableError

GOOD = """
name = "acme"
contract = "2.0"
title = "Acme"
capabilities = ["reconstruct", "positions", "x-acme.magic"]
accelerators = ["cpu", "cuda"]
precisions = ["float64"]
issues_url = "https://example.org"
only_by_name = true

[framework]
module = "fakeflow"
distributions = ["fakeflow"]
minimum = "2"

[environment]
FAKEFLOW_QUIET = "1"

[[options]]
name = "compile"
type = "bool"
default = false
help = "translate the model first"

[[options]]
name = "level"
type = "int"
help = "how much"
minimum = 1
maximum = 3
"""


def read(tmp_path, text):
    path = tmp_path / "ptycho-backend.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_manifest(path, "acme")


def test_a_manifest_becomes_a_specification(tmp_path):
    assert read(tmp_path, GOOD) == BackendSpec(
        name="acme",
        title="Acme",
        contract=(2, 0),
        framework=Framework("fakeflow", ("fakeflow",), "2", ""),
        capabilities=("reconstruct", "positions", "x-acme.magic"),
        accelerators=("cpu", "cuda"),
        precisions=("float64",),
        options=(
            OptionSpec("compile", "bool", False, "translate the model first"),
            OptionSpec("level", "int", None, "how much", (), 1, 3),
        ),
        environment={"FAKEFLOW_QUIET": "1"},
        issues_url="https://example.org",
        only_by_name=True,
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('title = "Acme"', "title = 3", "'title' must be text, not a whole number"),
        ('title = "Acme"', 'title = " "', "'title' is empty"),
        ('title = "Acme"', "", "the key 'title' is missing"),
        ('title = "Acme"', 'titel = "Acme"', "the key 'titel' is not known. Did you mean 'title'?"),
        ('module = "fakeflow"', "", "the key 'framework.module' is missing"),
        ('module = "fakeflow"', 'modul = "fakeflow"', "the key 'framework.modul' is not known. Did you mean 'module'?"),
        ('["fakeflow"]', "[]", "'framework' must name a module and at least one distribution"),
        ('minimum = "2"', 'minimum = ">=2"', "'framework.minimum' must be a version such as '2.2', not '>=2'"),
        ('name = "acme"', 'name = "amce"', "'name' is 'amce', but the entry point is called 'acme'"),
        ('contract = "2.0"', "", "the key 'contract' is missing"),
        ('contract = "2.0"', 'contract = "one"', "'contract' must be 'MAJOR.MINOR', not 'one'"),
        ('contract = "2.0"', "contract = 2.0", "'contract' must be text, not a number"),
        ("only_by_name = true", 'only_by_name = "yes"', "'only_by_name' must be true or false, not text"),
        ('"reconstruct"', '"reconstrct"', "Did you mean 'reconstruct'?"),
        ('"reconstruct", ', "", "'capabilities' names none of the verbs train, infer, reconstruct, evaluate"),
        ('"cpu", "cuda"', '"gpu"', "the accelerator 'gpu' is not known (known: cpu, cuda, mps, tpu)"),
        ('"float64"', '"double"', "the precision 'double' is not known"),
        ('"float64"', "64", "'precisions[1]' must be text, not a whole number"),
        ('FAKEFLOW_QUIET = "1"', "FAKEFLOW_QUIET = 1", "'environment.FAKEFLOW_QUIET' must be text, not a whole number"),
        ('type = "bool"', 'type = "flag"', "the type of the option 'compile' 'flag' is not known"),
        ("default = false", "default = 1", "the option 'compile' is of type 'bool', but its default is 1"),
        ("default = false", "defualt = false", "the key 'options[1].defualt' is not known. Did you mean 'default'?"),
        (
            'help = "how much"',
            'help = "how much"\ndefault = true',
            "the option 'level' is of type 'int', but its default is True",
        ),
        (
            'help = "how much"',
            'help = "how much"\ndefault = 4',
            "the option 'level' has the default 4, which is outside its own range",
        ),
        ('help = "how much"', 'help = "how much"\nchoices = ["1"]', "the option 'level' has choices"),
        ('name = "level"', 'name = "compile"', "the option 'compile' is declared twice"),
        (
            'help = "how much"',
            'help = "how much"\nverbs = ["train"]',
            "'level' acts in 'train', which is no verb",
        ),
        ('name = "level"', 'name = "Level"', "the option 'Level' is not a name of lower-case letters"),
    ],
)
def test_a_fault_is_told_with_its_key(tmp_path, old, new, reason):
    assert old in GOOD
    with pytest.raises(BackendUnusableError, match=re.escape(reason)) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert caught.value.code == "backend.broken"
    assert str(tmp_path / "ptycho-backend.toml") in caught.value.message


@pytest.mark.parametrize(("content", "reason"), [(b"\xff\xfe", "is not UTF-8 (byte 0)"), (b"name = ", "is not TOML: ")])
def test_a_file_that_is_no_text_or_no_toml_is_told(tmp_path, content, reason):
    with pytest.raises(BackendUnusableError, match=re.escape(reason)):
        read(tmp_path, content)


def test_the_contract_is_looked_at_before_anything_else(tmp_path):
    with pytest.raises(BackendUnusableError) as caught:
        read(tmp_path, 'contract = "3.0"\nshape = "new"')
    assert caught.value.state == "incompatible"


def test_a_manifest_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BackendUnusableError, match="cannot be read: No such file") as caught:
        read_manifest(tmp_path / "none.toml", "acme")
    assert caught.value.state == "undeclared"
