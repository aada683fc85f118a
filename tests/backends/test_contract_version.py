"""A contract that changed has another version, and within a major version it only grows."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ptycho_core import contract
from ptycho_core.backends.signatures import breaks, file_name, is_version, signatures, write_signatures
from ptycho_core.errors import UsageError

FOLDER = Path(__file__).parents[2] / "specs" / "contract"
WHAT_TO_DO = (
    "The contract is not what specs/contract says of its version. If it only grew (hooks that need not be there, arguments, "
    "fields with defaults, words), raise the minor version of CONTRACT in ptycho_core/contract.py, else the major one. Run "
    "python -m ptycho_core.backends.signatures specs/contract; say in specs/backend-contract.md and CHANGELOG.md what is new. "
    "A setting may be added at any time; one that is taken away, moved to another group or given another type is a break."
)


def test_the_contract_is_that_of_its_version():
    path = FOLDER / file_name()
    assert path.exists(), WHAT_TO_DO
    assert is_version(json.loads(path.read_text("utf-8")), signatures()), WHAT_TO_DO


def test_every_version_up_to_this_one_is_kept_and_each_grows_out_of_the_one_before():
    major, minor = contract.CONTRACT
    files = [FOLDER / f"{major}.{number}.json" for number in range(minor + 1)]
    assert sorted(FOLDER.glob(f"{major}.*.json")) == sorted(files)
    versions = [json.loads(path.read_text("utf-8")) for path in files]
    for number, old in enumerate(versions):
        for new in versions[number:]:
            assert breaks(old, new) == []


def grown(change):
    """The present contract after a change of its data."""
    new = copy.deepcopy(signatures())
    change(new)
    return breaks(signatures(), new)


FIELD = {"type": "str", "default": "''"}


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["hooks"].update(ptycho_export={"arguments": {}, "returns": "Path", "required": False}),
        lambda c: c["hooks"]["ptycho_probe"]["arguments"].update(level={"type": "str"}),
        lambda c: c["classes"]["Device"].update(memory=FIELD),
        lambda c: c["classes"].update(Novelty={"name": {"type": "str"}}),
        lambda c: c["manifest"].update(homepage={"types": ["str"], "required": False}),
        lambda c: c["words"]["capabilities"].append("export"),
        lambda c: c["classes"]["Event"]["kind"].update(type="Literal['started', 'epoch', 'step', 'message', 'finished', 'more']"),
        lambda c: c["errors"].update(NewError={"code": "new", "exit_status": 3}),
        lambda c: c["functions"]["ptycho_core.formats.opening:open_scan"]["arguments"].update(
            quiet={"type": "bool", "default": "True"}
        ),
    ],
)
def test_growth_breaks_nothing(change):
    widened = signatures()["classes"]["Event"]["kind"]["type"]
    found = [what for what in grown(change) if widened not in what]
    assert found == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["hooks"].pop("ptycho_infer"), "ptycho_infer is gone"),
        (
            lambda c: c["hooks"].update(ptycho_export={"arguments": {}, "returns": "Path", "required": True}),
            "ptycho_export is new and required",
        ),
        (lambda c: c["hooks"]["ptycho_infer"].update(required=True), "ptycho_infer: it is required now"),
        (lambda c: c["hooks"]["ptycho_infer"]["arguments"].pop("plan"), "ptycho_infer: 'plan' is gone"),
        (
            lambda c: c["hooks"]["ptycho_infer"].update(returns="list"),
            "ptycho_infer: it returns list, not Iterator[InferBatch | InferTile]",
        ),
        (lambda c: c["classes"]["Device"].pop("title"), "Device: 'title' is gone"),
        (lambda c: c["classes"]["Device"].update(memory={"type": "int"}), "Device: 'memory' is new and has no default"),
        (lambda c: c["classes"]["Device"]["name"].update(type="int"), "Device: 'name' is int, not str"),
        (lambda c: c["classes"]["Device"]["title"].update(default="'x'"), "Device: the default of 'title' is 'x', not ''"),
        (
            lambda c: c["classes"].update(Device={"memory": FIELD, **c["classes"]["Device"]}),
            "Device: the order has changed",
        ),
        (
            lambda c: c["classes"]["Disposition"]["kind"].update(type="Literal['applied', 'unsupported']"),
            "Disposition: 'kind' is Literal['applied', 'unsupported'], not Literal['applied', 'adjusted', 'unsupported']",
        ),
        (lambda c: c["manifest"]["issues_url"].update(required=True), "issues_url: it is required now"),
        (lambda c: c["words"]["precisions"].remove("float64"), "precisions: 'float64' is gone"),
        (lambda c: c["words"]["reserved"].append("acme"), "reserved: 'acme' is taken"),
        (lambda c: c["errors"]["DataError"].update(exit_status=6), "DataError: it is"),
        (lambda c: c["settings"]["train"].pop("training.epochs"), "train: the setting training.epochs (int) is gone or another"),
        (lambda c: c["settings"]["infer"].update({"execution.seed": "str"}), "infer: the setting execution.seed (int) is gone"),
        (lambda c: c.update(values="str"), "a setting holds str, not"),
    ],
)
def test_whatever_else_is_found(change, told):
    found = grown(change)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_a_changed_contract_is_not_written_over_its_version(tmp_path):
    path = write_signatures(tmp_path)
    assert write_signatures(tmp_path) == path
    changed = json.loads(path.read_text())
    changed["words"]["verbs"].append("dance")
    path.write_text(json.dumps(changed))
    with pytest.raises(UsageError, match=r"the contract differs from .* Raise CONTRACT"):
        write_signatures(tmp_path)


def test_a_broken_contract_is_not_written_within_its_major_version(tmp_path, monkeypatch):
    old = write_signatures(tmp_path)
    lost = json.loads(old.read_text())
    lost["words"]["verbs"].append("dance")
    old.write_text(json.dumps(lost))
    monkeypatch.setattr(contract, "CONTRACT", (contract.CONTRACT[0], contract.CONTRACT[1] + 1))
    with pytest.raises(UsageError, match=r"breaks .* verbs: 'dance' is gone. Raise the major version"):
        write_signatures(tmp_path)
    assert not (tmp_path / file_name()).exists()


def test_the_command_writes_the_file_of_the_present_version(tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    command = [sys.executable, "-m", "ptycho_core.backends.signatures", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / file_name()}\n"), done.stderr
    assert json.loads((tmp_path / file_name()).read_text()) == signatures()
