"""`specs/backend-contract.md` and the code say the same."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ptycho_core import contract, errors, hookspecs
from ptycho_core.backends.discovery import GROUP, OBSERVERS
from ptycho_core.backends.known import known_backends
from ptycho_core.backends.lists import ALLOW, BLOCK
from ptycho_core.backends.loading import REQUIRED_HOOKS
from ptycho_core.backends.manifest import FRAMEWORK_KEYS, KEYS, MANIFEST, OPTION_KEYS
from ptycho_core.backends.registry import RESERVED
from ptycho_core.backends.signatures import FUNCTIONS, signatures
from ptycho_core.backends.states import STATES

TEXT = Path(__file__).parents[2].joinpath("specs/backend-contract.md").read_text(encoding="utf-8")


def table(first: str) -> list[list[str]]:
    """The cells of the table whose head starts with a word, without the back-quotes of the first cell."""
    block = re.search(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert block, f"no table '{first}'"
    lines = [re.split(r"(?<!\\)\|", line.strip("|\n")) for line in block[1].splitlines()]
    return [[cell.strip().replace(r"\|", "|") for cell in line] for line in lines]


def names(first: str) -> list[str]:
    return [row[0].strip("`") for row in table(first)]


def test_the_hooks_their_arguments_and_returns_are_those_of_the_table():
    written = [(row[0].strip("`"), re.findall(r"`(\w+)`", row[1]), row[2].strip("`"), row[3] == "yes") for row in table("hook")]
    coded = []
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("ptycho_"):
            signature = inspect.signature(function)
            returns = str(signature.return_annotation).replace("contract.", "")
            coded.append((name, list(signature.parameters), returns, name in REQUIRED_HOOKS))
    assert sorted(written) == sorted(coded)


def test_the_manifest_keys_and_which_are_required_are_those_of_the_table():
    written = {row[0].strip("`"): row[2] == "yes" for row in table("key")}
    coded = {key: required for key, (_, required) in KEYS.items()}
    coded |= {f"framework.{key}": required for key, (_, required) in FRAMEWORK_KEYS.items()}
    coded |= {f"options.{key}": required for key, (_, required) in OPTION_KEYS.items()}
    assert written == coded


def test_the_words_are_those_of_the_tables():
    assert set(names("word")) == contract.CAPABILITIES
    assert names("state") == list(STATES)
    rows = {row[0].strip("`"): row[3] for row in table("key")}
    assert tuple(re.findall(r"`([\w-]+)`", rows["accelerators"].partition(";")[0])) == contract.ACCELERATORS
    assert tuple(re.findall(r"`([\w-]+)`", rows["precisions"].partition(";")[0])) == contract.PRECISIONS
    kinds = re.search(r"Kinds: (.*?)\.", TEXT)
    assert kinds
    assert re.findall(r"`(\w+)`", kinds[1]) == re.findall(r"'(\w+)'", contract.Event.__annotations__["kind"].replace('"', "'"))


def test_the_codes_and_exit_statuses_are_those_of_the_table():
    written = {row[1].strip("`"): (row[0].strip("`"), int(row[2])) for row in table("code")}
    coded = {
        name: (kind.code, kind.exit_status)
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.PtychoError)
    }
    coded["BackendUnusableError"] = ("backend.STATE", errors.BackendUnusableError.exit_status)
    assert written == coded
    for state in STATES[1:]:
        assert errors.BackendUnusableError("", state=state).code == f"backend.{state}"


@pytest.mark.parametrize("name", sorted(signatures()["classes"]))
def test_the_fields_of_each_class_their_types_and_defaults_are_those_of_its_table(name):
    block = re.search(rf"^\*\*`{name}`\.\*\* .*\n\n\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert block, f"no table of {name}"
    lines = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in block[1].splitlines()]
    written = [(cells[0].strip(" `"), cells[1].strip(" `").replace("\\|", "|"), cells[2].strip().strip("`")) for cells in lines]
    coded = [(field, one["type"], one.get("default", "")) for field, one in signatures()["classes"][name].items()]
    assert written == coded
    assert all(cells[3].strip() for cells in lines)


def test_the_functions_that_a_backend_may_call_stand_in_the_text():
    assert all(f"`{name.partition(':')[2]}`" in TEXT for name in FUNCTIONS)


def test_the_example_is_a_backend(site):
    blocks = dict(re.findall(r"```(toml|python)\n(.*?)```", TEXT[TEXT.index("A complete backend.") :], re.DOTALL)[:2])
    site.distribution("ptycho-acme", entry_points="[ptycho.backends]\nacme = acme.plugin\n")
    site.write("acme/__init__.py", "")
    site.write("acme/ptycho-backend.toml", blocks["toml"])
    site.write("acme/plugin.py", blocks["python"])
    then = """
        import numpy as np
        from ptycho_core import contract, evaluate
        job = contract.EvaluateJob(np.ones((4, 4), complex), np.ones((1, 4, 4), complex), np.zeros((1, 2)), np.zeros((1, 4, 4)))
        print(evaluate(job, backend="acme", threads=2).losses)
    """
    done = site.choose("acme", then)
    assert (done.returncode, done.stdout) == (0, "{'amplitude': 1.0}\n"), done.stderr
    assert site.ptycho("backends", "doctor", "acme").returncode == 0


@pytest.mark.parametrize("word", [GROUP, OBSERVERS, MANIFEST, BLOCK, ALLOW, *sorted(RESERVED)])
def test_the_fixed_names_stand_in_the_text(word):
    assert f"`{word}`" in TEXT


def test_the_version_and_the_aliases_stand_in_the_text():
    assert TEXT.startswith("# The backend contract, version {}.{}\n".format(*contract.CONTRACT))
    for known in known_backends().values():
        assert all(f"`{word}`" in TEXT for word in (known.name, *known.aliases))
