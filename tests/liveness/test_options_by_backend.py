"""Every setting and option of every backend has the test that proves it, and the real plans answer as the table says."""

import json

import liveness_table as table
import numpy as np
import pytest
from reading_flags import write_scan

from ptycho_core.cli.main import main
from ptycho_core.settings.groups import declarations

pytestmark = pytest.mark.usefixtures("undrawn")

EVERY = [(verb, name, backend) for backend in table.BACKENDS for verb in table.VERBS for name in table.names(verb, backend)]


@pytest.mark.parametrize(("verb", "name", "backend_of"), EVERY, ids=lambda word: str(word))
def test_every_setting_has_a_test_that_exists(verb, name, backend_of):
    found = table.proof(verb, name, backend_of)
    assert found is not None, f"no test shows that {name} acts on {verb} with {backend_of}; see {table.CASES[verb][0]}"
    assert table.is_there(found.test), f"{found.test}, which should prove {name}, is not there"


def test_what_is_tried_elsewhere_has_its_test_named():
    for verb in table.VERBS:
        assert set(table.module(table.CASES[verb][0]).ELSEWHERE) <= set(table.ELSEWHERE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train):
    """A scan and a model."""
    folder = tmp_path_factory.mktemp("liveness")
    assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "36", "--seed", "8"]) == 0
    assert main(["simulate", str(folder / "long.npz"), "--size", "32", "--frames", "40", "--seed", "9"]) == 0
    with np.load(folder / "scan.npz") as file:
        write_scan(folder, file["intensity"], file["positions_px"])
    train(folder / "scan.npz", "-o", folder / "run", *["--epochs", "1", "--network-width", "4", "--update-steps", "1"])
    return folder


@pytest.fixture
def ask(folder, backend, capsys):
    """Ask the real command for its plan: exit status, plan, and what it said."""

    alone = {declarations("infer")[name].flag for name in table.module(table.CASES["infer"][0]).NO_MODEL}

    def ask(verb, *words):
        model = ["--model", str(folder / "run")] if verb == "infer" and not alone & set(words) else []
        named = [] if "--backend" in words else ["--backend", backend]
        capsys.readouterr()
        common = ["-o", str(folder / "out"), "--dry-run", "--json", *named, *model]
        scan = folder / ("scan.h5" if any("two.toml" in word for word in words) else "scan.npz")
        status = main([verb, *common, str(scan), *words])  # words may begin with a second scan
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return ask


@pytest.mark.parametrize("verb", table.VERBS)
def test_the_real_plan_answers_as_the_table_says(verb, backend, folder, ask):
    aliases = table.module(table.CASES[verb][0]).ALIASES
    for name in table.names(verb, backend):
        found = table.proof(verb, name, backend)
        if found.answers == ("refused",):
            continue  # the test named tries each
        status, plan, err = ask(verb, *(word.format(folder=folder, alias=aliases[backend]) for word in found.words))
        assert status == 0, err
        entry = plan["settings"][name]
        assert entry["requested"], f"{found.words} do not ask for {name}"
        assert entry["disposition"]["kind"] in found.answers, (name, entry)
        if entry["disposition"]["kind"] != "applied":
            assert entry["disposition"]["why"]


def test_values_that_a_backend_does_not_offer_are_refused(backend, ask):
    _, plan, _ = ask("reconstruct", "--accelerator", "auto")
    found = plan["settings"]["accelerator"]["effective"]
    for name in {**table.REFUSED, **table.REFUSED_BY.get(backend, {})}:
        for value in set(table.refused(name, backend)) - {found}:  # a GPU that is there is used
            for verb in (one for one in table.VERBS if table.names(one, backend)):
                status, plan, err = ask(verb, f"--{name}", value)
                assert (status, plan) == (4, None)
                assert value in err
