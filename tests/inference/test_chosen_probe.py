"""The probe that a model gives for a scan of its training is the one that was learned for that scan."""

from dataclasses import replace

import numpy as np
import pytest

import ptycho_core
from ptycho_core.formats.opening import open_scan
from ptycho_core.inference.probe import choose_probe
from ptycho_core.model import load_model

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")


def test_a_learned_probe_is_that_of_the_scan_by_its_place(truth, scans, tmp_path):
    ptycho_core.train(list(scans), tmp_path / "run", backend="truth", epochs=1, train_probe=True)
    model = load_model(tmp_path / "run")
    probes = [model.physics["probe"][0], np.roll(model.physics["probe"][1], 3, axis=-1)]
    model = replace(model, physics={**model.physics, "probe": np.stack(probes)})
    for path, own in zip(scans, probes, strict=True):
        chosen = choose_probe(open_scan(path, {}), model, given=None, seed=0)
        assert chosen.origin == "the model's for this scan"
        alike = [abs(np.vdot(chosen.probe, one)) / np.linalg.norm(chosen.probe) / np.linalg.norm(one) for one in probes]
        assert np.isclose(alike[0 if own is probes[0] else 1], 1)
        assert min(alike) < 0.99
