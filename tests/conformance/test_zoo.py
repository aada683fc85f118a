"""The kit tells every backend of the zoo what is wrong with it, and each test of the kit has a backend that only it can tell.

Each fails exactly the tests that name its fault; what depends on them is blocked, all else passes.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from zoo import ZOO

from ptycho_core.conformance import suite

KEEPER = Path(__file__).with_name("keeper.py")
OF_THE_CORE = {
    "test_an_option_of_its_own_refuses_what_it_cannot_be",
    "test_a_verb_that_is_not_claimed_is_refused",
    "test_a_precision_that_is_not_claimed_is_refused",
    "test_an_accelerator_that_is_not_claimed_is_refused",
    "test_what_reconstruct_does_not_claim_is_refused",
}
"""What the core refuses from the manifest alone: no code of a backend can make it go wrong."""

EVERY = [pytest.param(name, marks=pytest.mark.long if one.long else ()) for name, one in ZOO.items()]


def run(command, folder, site):
    (folder / "tmp").mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    return done.stdout[-6000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def reports(request, tmp_path_factory):
    """``reports(name)``: what the kit found of a backend; those that leave their process alone share one."""
    folder = tmp_path_factory.mktemp("zoo")
    chosen = {item.callspec.params["name"] for item in request.session.items if "reports" in item.fixturenames}
    tame = [name for name in ZOO if name in chosen and not ZOO[name].alone]
    for name in chosen:
        ZOO[name].install(name, folder / name)
    written = run([str(KEEPER), str(folder), *tame], folder, KEEPER.parent) if tame else ""

    def report(name):
        path, said = folder / f"{name}.json", written
        if ZOO[name].alone:
            arguments = ["--pyargs", "ptycho_core.conformance", "--ptycho-backend", name, f"--ptycho-report={path}", "-q"]
            rest = ["--ptycho-timeout", str(ZOO[name].timeout), "-p", "no:cacheprovider"]
            said = run(["-m", "pytest", *arguments, *rest], folder, folder / name)
        assert path.exists(), said
        return json.loads(path.read_text())

    return report


@pytest.mark.parametrize("name", EVERY)
def test_a_wrong_backend_fails_exactly_what_names_its_fault(name, reports):
    found = reports(name)
    outcomes = {one["id"]: one["outcome"] for one in found["tests"]}
    failed = {one["id"]: one["reason"] for one in found["tests"] if one["outcome"] == "failed"}
    assert failed.keys() == ZOO[name].told_by, failed
    assert set(outcomes.values()) <= {"passed", "failed", "blocked"}
    assert found["proven"] == (not ZOO[name].told_by)


def test_every_test_of_the_kit_has_a_backend_that_fails_it():
    told = {test.partition("::")[2].partition("[")[0] for animal in ZOO.values() if not animal.long for test in animal.told_by}
    kit = set()
    for path in Path(suite.__file__).parent.glob("test_*.py"):
        names = [one.name for one in ast.parse(path.read_text("utf-8")).body if isinstance(one, ast.FunctionDef)]
        kit |= {name for name in names if name.startswith("test_")}
    assert len(kit) > 70
    assert sorted(kit - told - OF_THE_CORE) == []
    assert sorted((told | OF_THE_CORE) - kit) == []
