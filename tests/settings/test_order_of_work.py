"""The factories: names and ranges, resolving, manifest, freezing, the one backend, its plan, and only then data.

Each step is seen to stop what follows: nothing is made on disk, no framework imported, no backend asked, no pattern read.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from ptycho_core import backends
from ptycho_core.errors import CapabilityError, DataError, SettingsError
from ptycho_core.model import Model, save_model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.settings import payload as factories

VERBS = ("train", "infer", "reconstruct")


@pytest.fixture
def folder(acme, tmp_path):
    """A scan whose patterns cannot be read, a model with two modes, and the backend acme, which remembers what it is asked."""
    plugin = acme(capabilities=VERBS)
    intensity = np.arange(3 * 64 * 64, dtype=np.uint32).reshape(3, 64, 64)
    np.savez(tmp_path / "scan.npz", intensity=intensity)
    content = bytearray((tmp_path / "scan.npz").read_bytes())
    content[content.index(intensity.tobytes()) + intensity.nbytes - 1] ^= 0xFF
    (tmp_path / "scan.npz").write_bytes(content)
    asked = {"backend": "acme", "modes": 2}
    groups = factories.create_training_payload([tmp_path / "scan.npz"], tmp_path / "x", asked, environment={}).groups
    network = describe(64, groups["model"])
    physics = {"probe": np.ones((1, 2, 64, 64), np.complex64), "log_scale": np.zeros(1, np.float32)}
    save_model(tmp_path / "m.ptycho", Model(network, initial_weights(network, 0), physics, {"size": 64, **groups["model"]}))
    plugin.requests.clear()
    return tmp_path


@pytest.fixture
def steps(monkeypatch):
    """The steps that were taken, in order, each as it really happens."""
    taken = []

    def watched(module, name, step):
        original = getattr(module, name)

        def call(*arguments, **rest):
            taken.append(step)
            return original(*arguments, **rest)

        monkeypatch.setattr(module, name, call)

    from ptycho_core.settings import facts, planning

    watched(planning, "Resolving", "resolve")
    for name in ("scan_facts", "inference_facts"):
        watched(facts, name, "headers")
    watched(planning, "check_together", "rules")
    watched(planning, "_check_manifest", "manifest")
    watched(backends, "load", "import")
    return taken


def make(verb, folder, overrides=None, *, scan="scan.npz", model="m.ptycho", **rest):
    rest = {"environment": {}} | rest
    asked = {"backend": "acme"} | (overrides or {})
    scan = folder / scan
    if verb == "train":
        return factories.create_training_payload([scan], folder / "out", asked, **rest)
    if verb == "infer":
        return factories.create_inference_payload(folder / model, scan, folder / "out", asked, **rest)
    return factories.create_reconstruction_payload(scan, folder / "out", asked, **rest)


@pytest.mark.parametrize("verb", VERBS)
def test_the_steps_come_in_this_order_and_no_pattern_is_read(folder, steps, verb):
    payload = make(verb, folder)
    order = list(dict.fromkeys(step for step in steps if step not in ("headers", "rules")))
    assert order == ["resolve", "manifest", "import"]
    if verb != "train":
        assert steps.index("resolve") < steps.index("headers") < steps.index("manifest")
    assert steps.index("rules") < steps.index("manifest")
    assert payload.plan.device == "cpu"
    assert not (folder / "out").exists()
    with pytest.raises(AttributeError):
        payload.resolved = None


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"sede": 1},
        {"seed": -1},
        {"seed": float("nan")},
        {"seed": "1"},
        {"acme.strems": 1},
        {"other.streams": 1},
        {"acme.streams": 9},
        {"": 1},
    ],
    ids=str,
)
def test_a_wrong_name_type_or_range_stops_before_everything(folder, steps, verb, wrong):
    with pytest.raises(SettingsError) as caught:
        make(verb, folder, wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert not {"manifest", "import"} & set(steps)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_name_is_told_before_a_missing_file_and_before_an_unknown_backend(folder, steps, verb):
    with pytest.raises(SettingsError, match="sede"):
        make(verb, folder, {"sede": 1, "backend": "none of them"}, scan="none.npz", model="none.ptycho")
    assert steps == ["resolve"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_contradiction_between_settings_is_told_before_the_manifest(folder, steps, verb):
    wrong = {"detector_distance_m": 1.0} if verb != "train" else {"momentum": 0.5}
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        make(verb, folder, wrong | {"precision": "fp16-mixed"})
    assert not {"manifest", "import"} & set(steps)


@pytest.mark.parametrize("verb", VERBS)
def test_what_the_manifest_excludes_is_told_before_the_import(folder, steps, verb):
    with pytest.raises(CapabilityError, match="fp16-mixed"):
        make(verb, folder, {"precision": "fp16-mixed"})
    assert steps[-1] == "manifest"
    assert not (folder / "out").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_is_missing_is_told_before_the_manifest(folder, steps, verb):
    with pytest.raises(DataError, match=r"none\.npz"):
        make(verb, folder, scan="none.npz")
    assert not {"manifest", "import"} & set(steps)


def test_the_inference_payload_says_which_values_the_model_gave(folder):
    payload = make("infer", folder, {"modes": 2})
    stated = payload.resolved.stated("model")
    size = payload.groups["data"]["size"]
    assert {name: one.value for name, one in stated.items()} | {"modes": 2} == payload.groups["model"] | {"size": size}
    assert all(one.where.startswith(f"{folder / 'm.ptycho'}: ") for one in stated.values())
    modes = payload.resolved.values["modes"]
    assert (modes.origin, modes.losers[0].origin, modes.losers[0].value) == ("override", "model", 2)
    kept = payload.audit["settings"]
    assert {name for name, entry in kept.items() if entry["origin"] == "model"} == set(stated)
    json.dumps(payload.audit)


@pytest.mark.parametrize("verb", VERBS)
def test_the_groups_of_a_payload_are_what_was_resolved_and_planned(folder, verb):
    payload = make(verb, folder, {"threads": 8})
    assert payload.groups["execution"] == payload.plan.execution
    for name, one in payload.resolved.values.items():
        group = next(values for values in payload.groups.values() if name in values)
        assert group[name] == payload.audit["settings"][name]["effective"] or (name, one.value) == ("backend", "acme")


def test_nothing_is_imported_or_written_where_a_setting_is_wrong(tmp_path):
    code = (
        "import os, sys\n"
        "from ptycho_core.cli.main import main\n"
        "for verb, rest in (('train', []), ('infer', ['--model', 'none']), ('reconstruct', [])):\n"
        "    for wrong in (['--seed', '-1'], ['--opt', 'torch.nothing=1'], ['--precision', 'float16']):\n"
        "        words = [verb, 'sample:siemens-star', *rest, '-o', 'out', '--backend', 'torch', *wrong]\n"
        "        assert main(words) == 2, words\n"
        "heavy = {'torch', 'tensorflow', 'ptycho_backend_torch'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & heavy), os.listdir())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[] []"
