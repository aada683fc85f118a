"""An inference by the reference backend: groups, probe, stitching and metrics, each worked out again from what came before."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_scans import SmallScan, small_scan

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.reference.batch import Batch, Held
from ptycho_core.conformance.reference.estimate import estimate
from ptycho_core.conformance.reference.passes import before_merging
from ptycho_core.events import EventHub
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.imaging.stitching import StitchedObject, Stitcher
from ptycho_core.inference.run import infer_payload
from ptycho_core.model import load_model, save_model
from ptycho_core.physics.forward import intensities
from ptycho_core.settings.payload import create_inference_payload
from ptycho_core.settings.resolution import resolve
from ptycho_core.training.data import training_data
from ptycho_core.training.prepare import initial_model

SCALE, NEAREST = 1.3, 7
ASKED = {
    "gridsize": 2,
    "neighbor_count": NEAREST,
    "modes": 2,
    "network_width": 4,
    "update_steps": 2,
    "probe_scale": SCALE,
    "seed": 2,
}


class Seen:
    """What came to the stitcher of a run, and what it gave."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patches: dict[int, np.ndarray] = {}
        add, finish = Stitcher.add, Stitcher.finish

        def added(stitcher: Stitcher, frames: Any, patches: Any) -> None:
            self.patches |= dict(zip(frames.tolist(), np.array(patches), strict=True))
            add(stitcher, frames, patches)

        def finished(stitcher: Stitcher) -> StitchedObject:
            self.stitched = finish(stitcher)
            return self.stitched

        patch.setattr(Stitcher, "add", added)
        patch.setattr(Stitcher, "finish", finished)


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallScan, Any, Seen, Any, dict[str, Any]]:
    """A masked scan with two modes whose file says how many counts the beam sends; result, what was seen, model, metrics."""
    folder = tmp_path_factory.mktemp("handed")
    scan, random = small_scan(size=32, side=12, photons=3e4, modes=2), np.random.default_rng(1)
    order = random.permutation(len(scan))
    arrays = {
        "intensity": scan.counts[order],
        "positions_px": scan.positions[order],
        "probe_guess": scan.guess,
        "mask": scan.mask,
    }
    write_plain_npz(folder / "scan.npz", arrays | {"probe_in_counts": np.array(True)})
    groups = resolve("train", overrides=ASKED).groups()
    model = initial_model(training_data([open_scan(folder / "scan.npz")], groups), groups, {}, {})
    weights = {name: (one + random.normal(0, 0.03, one.shape)).astype(np.float32) for name, one in model.weights.items()}
    save_model(folder / "m.ptycho", replace(model, weights=weights))
    with pytest.MonkeyPatch.context() as patch:
        seen = Seen(patch)
        words = {"backend": "reference", "inference_batch_size": 50, "progress": False}
        payload = create_inference_payload(folder / "m.ptycho", folder / "scan.npz", None, words)
        result, metrics = infer_payload(payload, EventHub([]))
    scan.counts, scan.positions = scan.counts[order], scan.positions[order]
    return scan, result, seen, load_model(folder / "m.ptycho"), metrics


def test_the_probe_is_the_scans_own_with_the_scale_of_the_training(inferred: Any) -> None:
    scan, result, *_ = inferred
    assert distance(result.probe, scan.guess * SCALE) < 1e-6


def test_each_frame_gets_the_patch_of_its_own_group(inferred: Any) -> None:
    scan, _, seen, model, _ = inferred
    assert sorted(seen.patches) == list(range(len(scan)))
    for frame in (0, 40, 143):
        far = np.rint(np.linalg.norm(scan.positions - scan.positions[frame], axis=1) * 1e6)
        nearest = np.lexsort((np.arange(len(scan)), far))[:NEAREST]
        group = nearest[[0, 2, 4, 6]]  # evenly from near to far
        batch = Batch(
            network=model.network,
            weights={name: value.astype(float) for name, value in model.weights.items()},
            probe=(scan.guess * SCALE).astype(np.complex64).astype(complex),
            positions=scan.positions[group],
            groups=np.arange(4)[None],
            roots=np.sqrt(np.fft.ifftshift(scan.counts[group], axes=(1, 2)).astype(float)),
            good=np.fft.ifftshift(scan.mask),
            labels=None,
            merge="none",
        )
        held = Held(*estimate(batch), batch.illumination, (), np.ones(0, dtype=complex))
        assert distance(seen.patches[frame], before_merging(batch, held)[0]) < 1e-6


def test_the_object_is_the_mean_of_the_patches_weighted_by_all_modes(inferred: Any) -> None:
    scan, result, seen, *_ = inferred
    light = (np.abs(scan.guess * SCALE) ** 2).sum(axis=0)
    above, below = np.zeros(result.object.shape, complex), np.zeros(result.object.shape)
    corners = np.floor(scan.positions).astype(int) - np.floor(scan.positions.min(axis=0)).astype(int)
    total = np.zeros(result.object.shape)
    for frame, (row, column) in enumerate(corners):
        place = slice(row, row + 32), slice(column, column + 32)
        above[place] += seen.stitched.trust[frame] * light * seen.stitched.phases[frame] * seen.patches[frame]
        below[place] += seen.stitched.trust[frame] * light
        total[place] += light
    assert distance(result.object, above / below) < 1e-5
    assert distance(seen.stitched.weight, total) < 1e-5
    assert np.array_equal(result.positions, scan.positions - np.floor(scan.positions.min(axis=0)))


def test_the_misfit_is_that_of_frames_spread_over_the_scan(inferred: Any) -> None:
    scan, result, _, _, metrics = inferred
    frames = np.unique([int(place) for place in np.linspace(0, 143, 128)])
    assert (metrics["misfit_frames"], metrics["frames"], len(frames)) == (128, 144, 128)
    model = np.sqrt(intensities(result.object, result.probe, result.positions[frames]))[:, scan.mask]
    roots = np.sqrt(scan.counts[frames])[:, scan.mask]
    assert metrics["misfit"] == pytest.approx(np.abs(model - roots).sum() / roots.sum(), rel=1e-6)
