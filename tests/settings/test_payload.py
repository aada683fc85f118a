import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from ptycho_core.errors import CapabilityError, DataError, HookError, SettingsError
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.payload import create_reconstruction_payload
from ptycho_core.settings.planning import plan_verb


@pytest.fixture
def scan(tmp_path):
    """A scan whose patterns cannot be read: their stored bytes are not those that the archive's checksum says."""
    path = tmp_path / "scan.npz"
    intensity = np.arange(3 * 128 * 128, dtype=np.uint32).reshape(3, 128, 128)
    np.savez(path, intensity=intensity, positions_px=np.zeros((3, 2)), photon_energy_ev=8000.0)
    content = bytearray(path.read_bytes())
    content[content.index(intensity.tobytes()) + intensity.nbytes - 1] ^= 0xFF
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() == "intensity.npy"
    return path


def payload_of(scan, *arguments, **rest):
    return create_reconstruction_payload(scan, None, *arguments, **{"environment": {}} | rest)


def test_a_payload_is_made_without_reading_a_pattern(acme, scan):
    plugin = acme()
    payload = payload_of(scan, {"backend": "acme", "modes": 2, "acme.streams": 3})
    assert payload.plan.device == "cpu"
    assert payload.scan == scan
    assert payload.groups["reconstruction"]["modes"] == 2
    assert len(plugin.requests) == 1


def test_what_a_backend_is_asked_is_what_somebody_requested(acme, scan):
    plugin = acme()
    payload_of(scan, {"backend": "acme", "modes": 1, "acme.streams": 2}, {"threads": 1}, environment={"PTYCHO_SEED": "0"})
    request = plugin.requests[0]
    assert request.requested == {"backend", "modes", "acme.streams", "threads", "seed"}
    assert request.options == {"compile": False, "streams": 2, "kernel": "fast"}
    assert request.settings["reconstruction"]["iterations"] > 0
    assert set(request.settings) == {"data", "reconstruction"}


def test_groups_are_plain_and_a_new_copy_each_time(acme, scan):
    acme()
    payload = payload_of(scan, {"backend": "acme"})
    payload.groups["reconstruction"]["modes"] = 7
    assert payload.groups["reconstruction"]["modes"] == 1
    assert pickle.loads(pickle.dumps(payload.groups)) == json.loads(json.dumps(payload.groups)) == payload.groups
    with pytest.raises(AttributeError):
        payload.plan = None


def test_the_audit_says_for_each_setting_what_was_asked_resolved_and_done(acme, scan, tmp_path):
    acme()
    (tmp_path / "run.toml").write_text("[execution]\nthreads = 8\n[backend.acme]\nstreams = 5\n", "utf-8")
    payload = payload_of(
        scan, {"backend": "acme"}, {"seed": 0}, environment={"PTYCHO_SEED": "3"}, config_file=tmp_path / "run.toml"
    )
    audit = json.loads(json.dumps(payload.audit))
    threads = audit["settings"]["threads"]
    assert (threads["value"], threads["effective"], threads["requested"], threads["origin"]) == (8, 2, True, "file")
    assert threads["disposition"] == {"kind": "adjusted", "why": "at most two"}
    assert "line 2" in threads["where"]
    seed = audit["settings"]["seed"]
    assert (seed["value"], seed["origin"]) == (0, "execution object")
    assert [(one["value"], one["origin"]) for one in seed["beat"]] == [(3, "environment"), (0, "core default")]
    assert audit["settings"]["acme.streams"]["effective"] == 5
    accelerator = audit["settings"]["accelerator"]
    assert (accelerator["value"], accelerator["effective"], accelerator["requested"]) == ("auto", "cpu", False)
    assert accelerator["disposition"] is None
    assert audit["settings"]["photon_energy_ev"]["origin"] == "data"
    assert audit["backend"]["name"] == "acme"


def test_what_the_file_states_is_a_fact_that_a_setting_overrules(acme, scan):
    acme()
    payload = payload_of(scan, {"backend": "acme"})
    assert payload.groups["data"]["photon_energy_ev"] == 8000.0
    assert "photon_energy_ev" not in payload.resolved.requested
    rest = {"photon_energy_ev": 9000.0, "detector_distance_m": 1.0, "detector_pixel_size_m": 1e-4}
    assert payload_of(scan, {"backend": "acme", **rest}).groups["data"]["photon_energy_ev"] == 9000.0
    with pytest.raises(SettingsError, match="detector_distance_m"):
        payload_of(scan, {"backend": "acme", "detector_pixel_size_m": 1e-4})


def test_an_impossible_fact_is_left_to_the_reader_of_the_scan(acme, tmp_path):
    acme()
    np.savez(tmp_path / "scan.npz", photon_energy_ev=-1.0)
    assert payload_of(tmp_path / "scan.npz", {"backend": "acme"}).groups["data"]["photon_energy_ev"] is None


@pytest.mark.parametrize(
    ("overrides", "changes", "parts"),
    [
        ({"refine_positions": True}, {}, ["'positions'", "reconstruct, evaluate", "override 'refine_positions'"]),
        ({"background": "constant"}, {}, ["'background'"]),
        ({"accelerator": "tpu"}, {}, ["'tpu'", "auto, cpu, cuda"]),
        ({"precision": "fp16-mixed"}, {}, ["'fp16-mixed'", "float32, float64"]),
        ({}, {"capabilities": ("evaluate",)}, ["'reconstruct'", "it provides evaluate"]),
    ],
)
def test_what_the_manifest_excludes_is_refused_before_the_backend_is_loaded(acme, scan, overrides, changes, parts):
    plugin = acme(**changes)
    with pytest.raises(CapabilityError) as caught:
        payload_of(scan, {"backend": "acme", **overrides})
    assert caught.value.exit_status == 4
    assert all(part in str(caught.value) for part in parts)
    assert plugin.requests == []


def test_a_backend_with_one_precision_needs_no_request_for_it(acme, scan):
    acme(precisions=("float64",))
    assert payload_of(scan, {"backend": "acme"}).groups["execution"]["precision"] == "float64"


def test_an_unsupported_option_stops_the_run_unless_allowed(acme, scan):
    acme()
    with pytest.raises(CapabilityError, match="unlucky") as caught:
        payload_of(scan, {"backend": "acme"}, environment={"PTYCHO_SEED": "13"})
    assert (caught.value.exit_status, caught.value.source) == (4, "PTYCHO_SEED")
    payload = payload_of(scan, {"backend": "acme", "seed": 13}, allow_unsupported=True)
    assert payload.audit["settings"]["seed"]["disposition"] == {"kind": "unsupported", "why": "it is unlucky"}


def test_a_plan_that_forgets_a_setting_is_a_broken_backend(acme, scan):
    acme().forgets = "seed"
    with pytest.raises(HookError, match=r"ptycho_plan.*no effective value for seed"):
        payload_of(scan, {"backend": "acme"})


def test_a_wrong_setting_is_told_before_anything_else_is_looked_at(tmp_path):
    with pytest.raises(SettingsError, match="modes"):
        payload_of(tmp_path / "no scan", {"backend": "no such backend", "modes": 0})


def test_a_scan_that_is_not_there_is_told(acme, tmp_path):
    plugin = acme()
    with pytest.raises(DataError, match=r"none\.npz"):
        payload_of(tmp_path / "none.npz", {"backend": "acme"})
    assert plugin.requests == []


def test_an_execution_object_of_defaults_requests_nothing(acme, scan):
    acme()
    assert payload_of(scan, {"backend": "acme"}, ExecutionSettings()).resolved.requested == {"backend"}


def test_evaluate_takes_execution_settings_only(acme):
    plugin = acme()
    backend, plan = plan_verb("evaluate", {"backend": "acme", "precision": "float64"}, {})
    assert (backend.name, plan.execution["precision"]) == ("acme", "float64")
    assert plugin.requests[0].requested == {"backend", "precision"}
    with pytest.raises(SettingsError, match="modes"):
        plan_verb("evaluate", {"backend": "acme", "modes": 2}, {})


def test_resolving_for_a_backend_imports_no_plugin_and_no_framework():
    code = (
        "import sys\n"
        "from ptycho_core.backends import find_backends\n"
        "from ptycho_core.settings.planning import resolve_for\n"
        "usable = [row.name for row in find_backends() if row.state == 'ok']\n"
        "if usable: resolve_for('reconstruct', {'overrides': {'backend': usable[0]}, 'environment': {}})\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(name for name in tops if name.startswith('ptycho_') or name in ('torch', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['ptycho_core']"
