"""What a scan's file and a model state has its own rank: below every request, above every default."""

import numpy as np
import pytest

from ptycho_core.errors import SettingsError
from ptycho_core.formats.opening import ScanFile
from ptycho_core.settings.facts import scan_facts
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.resolution import Facts, resolve

REQUESTS = ["override", "environment", "file"]


@pytest.fixture
def scan(tmp_path):
    """PtychoPINN's layout with the frames last, as old files have them; it states its photons."""
    path = tmp_path / "scan.npz"
    np.savez(path, diffraction=np.ones((48, 48, 5)), xcoords=np.arange(5.0), ycoords=np.zeros(5), nphotons=2e5)
    return path


def asked(source, name, value, tmp_path, facts):
    group = declarations("reconstruct")[name].group if name != "n_groups" else "training"
    (tmp_path / "run.toml").write_text(f"[{group}]\n{name} = {value}\n", "utf-8")
    given = {
        "override": {"overrides": {name: value}}, "environment": {"environment": {f"PTYCHO_{name.upper()}": str(value)}},
        "file": {"file": tmp_path / "run.toml"},
    }[source]  # fmt: skip
    return resolve("train" if name == "n_groups" else "reconstruct", **given, facts=facts).values[name]


def test_a_file_states_its_size_and_photons_without_a_pattern_being_read(scan):
    found = resolve("reconstruct", facts=Facts(scan_facts(ScanFile(scan)))).values
    assert (found["size"].value, found["size"].origin, found["size"].where) == (48, "data", f"{scan}: 'diffraction'")
    assert (found["photons"].value, found["photons"].origin, found["photons"].where) == (2e5, "data", f"{scan}: 'nphotons'")
    assert [(one.value, one.origin) for one in found["photons"].losers] == [(None, "core default")]


@pytest.mark.parametrize("source", REQUESTS)
@pytest.mark.parametrize(("name", "value", "beaten"), [("size", 32, 48), ("photons", 1e4, 2e5)])
def test_every_request_goes_before_the_file_and_lists_what_it_beat(source, name, value, beaten, scan, tmp_path):
    found = asked(source, name, value, tmp_path, Facts(scan_facts(ScanFile(scan))))
    assert (found.value, found.origin) == (value, source)
    assert [(one.value, one.origin) for one in found.losers] == [(beaten, "data"), (None, "core default")]


@pytest.mark.parametrize("source", REQUESTS)
def test_the_number_of_groups_is_asked_for_or_that_of_the_checkpoint_or_all(source, tmp_path):
    stated = Facts(model={"n_groups": (40, "last.ptycho: n_groups")})
    assert resolve("train").values["n_groups"].value is None
    fact = resolve("train", facts=stated).values["n_groups"]
    assert (fact.value, fact.origin, fact.where) == (40, "model", "last.ptycho: n_groups")
    found = asked(source, "n_groups", 8, tmp_path, stated)
    assert (found.value, found.origin, found.losers[0].value) == (8, source, 40)


def test_at_inference_the_model_states_the_size_and_the_file_loses(scan):
    stated = Facts(scan_facts(ScanFile(scan)), {"size": (32, "best.ptycho: size")}, frozenset({"size"}))
    found = resolve("infer", facts=stated).values["size"]
    assert (found.value, found.origin, [one.value for one in found.losers]) == (32, "model", [48, None])
    assert resolve("infer", overrides={"size": 32}, facts=stated).values["size"].origin == "override"
    with pytest.raises(SettingsError, match=r"size = 48 contradicts best\.ptycho: size, which fixes it at 32"):
        resolve("infer", overrides={"size": 48}, facts=stated)
