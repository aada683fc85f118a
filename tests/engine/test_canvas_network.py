"""A network on the canvas of a tile: next to the reference in NumPy, and what the commands make of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from canvas_runs import simulated, train

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.conformance.limits import LIMITS
from ptycho_core.conformance.parity import differences
from ptycho_core.conformance.reference.evaluation import batch_of, evaluate_batch, scaled_probe
from ptycho_core.conformance.reference.passes import hold, slopes_to_labels
from ptycho_core.conformance.suite.inputs import FRAMES, known_scan, perturbed_model
from ptycho_core.engine.device_scan import DeviceScan
from ptycho_core.engine.evaluate import evaluate
from ptycho_core.engine.losses import built_in
from ptycho_core.engine.objective import Objective
from ptycho_core.evaluation import opened
from ptycho_core.model import load_model
from ptycho_core.training.epoch import Batch
from ptycho_core.training.turns import turned


@pytest.fixture
def job(tmp_path):
    """A batch of frames of a scan with labels, bad pixels and two modes, for a network on the canvas with weights."""
    scan = known_scan(tmp_path / "scan.npz", modes=2, masked=True)
    recipe = perturbed_model(tmp_path / "model.ptycho", scan, modes=2, network="canvas", realspace_weight=1.0, tv_weight=0.2)
    return opened(replace(recipe, groups=np.random.default_rng(8).permutation(FRAMES)[:9, None]))


def test_a_batch_gives_what_it_gives_in_the_reference(job, operations):
    found, wanted = evaluate(job, operations("float64")), evaluate_batch(job)
    rows = differences(found, wanted, LIMITS["float64"])
    assert {one.quantity for one in rows} >= {"patches", "gradient", "loss"}
    assert [f"{one.quantity} {one.name}: {one.value:.2g} > {one.limit:.2g}" for one in rows if not one.within] == []
    assert all(np.any(value) for name, value in found.gradients.items() if name.startswith("network."))


@pytest.mark.parametrize("turn", [0, 1, 6])
def test_a_turned_canvas_next_to_labels_gives_what_it_gives_in_the_reference(turn, job, operations):
    xp, one, model = operations("float64"), job.data.scans[0], job.model
    objective = Objective(xp, model, built_in(), {"realspace": 0.5}, mixed=False)
    assert objective.labels_alone
    stats, gradient = objective.of_labels(DeviceScan(xp, one), 0, Batch(0, job.groups, turn))
    probe = scaled_probe(model.physics["probe"][0], float(model.physics["log_scale"][0]))
    batch = batch_of(model, model.weights, probe, one.scan, one.positions, job.groups, one.labels)
    tile = hold(batch).tile
    assert tile is not None
    distance, slopes, _ = slopes_to_labels(batch, tile.turned(turn))
    assert stats.loss == pytest.approx(0.5 * distance, rel=1e-12)
    assert stats.difference is None
    for name, value in objective.trainable.named(gradient).items():
        wanted = 0.5 * slopes[name.removeprefix("network.")]
        assert np.linalg.norm(value - wanted) <= 1e-10 * np.linalg.norm(wanted), name


def test_eight_turns_are_the_symmetries_of_a_square():
    canvas = np.arange(6).reshape(2, 3)
    found = {turned(canvas, turn).tobytes() + bytes(turned(canvas, turn).shape) for turn in range(8)}
    assert len(found) == 8
    assert np.array_equal(turned(canvas, 0), canvas)
    assert turned(canvas, 1).tolist() == [[2, 5], [1, 4], [0, 3]]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three scans of 120 frames of 32 x 32 pixels, with other objects."""
    words = ["--object", "random-lines", "--size", "32", "--frames", "120", "--step", "3", "--photons", "1e6"]
    folder = tmp_path_factory.mktemp("scans")
    return [simulated(folder, seed, *words) for seed in (5, 6, 7)]


@pytest.fixture(scope="module")
def learned(scans, tmp_path_factory, backend):
    """A run that learned from the reconstructions of two scans, and is validated on a third."""
    folder = tmp_path_factory.mktemp("learned") / "run"
    words = ["--labels", "reconstruct", "--epochs", "16", "--batch-size", "40", "--learning-rate", "3e-3", "--network-width", "8"]
    assert train(*scans[:2], "-o", folder, "--validation", scans[2], *words, backend=backend) == 0
    return folder


def test_it_learns_from_what_scans_reconstruct_themselves_and_is_held_against_the_untrained_pass(learned, scans, capsys, backend):
    """A gate on quality, with room on each side. Measured: see the assertions; the long test has the figures of real sizes."""
    model = load_model(learned)
    figures = dict(model.untrained)
    assert figures == json.loads((learned / "metrics.json").read_text())["untrained"]
    assert figures["frames"] == 120
    assert figures["compared_with"] == "reconstruction"
    assert figures["network"] < 0.97 * figures["same_steps"]
    assert figures["steps"] > 5
    assert all(row["misfit"] is None and row["validation_misfit"] > 0 for row in model.history)
    assert model.facts["estimate"] == "tile"
    assert (
        main(["infer", str(scans[2]), "--model", str(learned), "-o", str(learned / "out"), "--backend", backend, "--quiet"]) == 0
    )
    told = capsys.readouterr().out.splitlines()[-2]  # the verdict stays last
    word = "better than" if figures["better"] else "no better than"
    assert told.startswith(
        f"The network is {word} untrained: error {figures['network']:.4g}, untrained {figures['untrained']:.4g}"
    )
    assert told.endswith("on 120 frames of 7.npz that it did not learn from.")


def test_batches_change_no_bit_of_an_inference_and_the_reference_infers_alike(learned, scans, backend, monkeypatch):
    found = [ptycho_core.infer(scans[2], learned, backend=backend, threads=1, inference_batch_size=size) for size in (1, 50)]
    assert np.array_equal(found[0].object, found[1].object)
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", f"{backend},reference")
    wanted = ptycho_core.infer(scans[2], learned, backend="reference").object
    assert np.linalg.norm(found[0].object - wanted) <= 2e-5 * np.linalg.norm(wanted)
    untrained = ptycho_core.infer(scans[2], backend=backend, threads=1, update_steps=5).object
    assert np.linalg.norm(untrained - wanted) > 1e-3 * np.linalg.norm(wanted)
