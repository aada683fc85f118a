"""The estimate of tiles: the engine next to the reference in NumPy, and what ``ptycho infer`` makes of a scan without a model."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.conformance.limits import LIMITS as LIMITS_OF_A_BATCH
from ptycho_core.conformance.parity import differences
from ptycho_core.conformance.reference.evaluation import evaluate_batch
from ptycho_core.conformance.reference.tile import TileFit
from ptycho_core.conformance.suite.inputs import FRAMES as FRAMES_KNOWN
from ptycho_core.conformance.suite.inputs import known_scan, perturbed_model
from ptycho_core.engine.evaluate import evaluate
from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.saturation import ceilings
from ptycho_core.engine.state import Measured
from ptycho_core.engine.tile import Tile
from ptycho_core.evaluation import opened
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model
from ptycho_core.networks.bare import tile_estimate
from ptycho_core.physics import intensities
from ptycho_core.physics.near_field import Propagation

N, FRAMES = 32, 40
LIMITS = {"float64": 1e-12, "float32": 2e-5}
"""Relative l2 after ten steps. Measured at most 2e-15 and 6e-7, with either backend."""


def tile(*, modes, masked, light, background=None, way=None):
    """Probe, positions between the pixels, counts in the order of the FFT, and good pixels."""
    random = np.random.default_rng(11)
    row, column = np.mgrid[:N, :N] - N / 2 + 0.3
    disc = light * 40 / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    probe = np.stack([disc * (column / 6) ** mode / (1 + mode) for mode in range(modes)]).astype(np.complex64)
    positions = random.uniform(0, 23, (FRAMES, 2))
    positions[:2] = np.floor(positions[:2])
    r, c = np.mgrid[: N + 24, : N + 24]
    truth = (0.75 + 0.2 * np.sin(r / 2.5) * np.cos(c / 3)) * np.exp(0.8j * np.sin(r / 4 + c / 3))
    expected = intensities(truth, probe, positions, way=way) + (0 if background is None else np.fft.fftshift(background))
    good = np.fft.ifftshift(random.random((N, N)) > (0.05 if masked else -1))
    counts = np.fft.ifftshift(random.poisson(expected), axes=(1, 2))
    return probe, positions, np.where(good, counts, 0), good


@pytest.mark.parametrize(
    ("likelihood", "modes", "masked", "light", "behind", "way", "clipped"),
    [
        ("amplitude", 1, False, 1.0, 0.0, None, False),
        ("amplitude", 3, True, 1.0, 20.0, None, False),
        ("amplitude", 2, True, 1.0, 20.0, None, True),
        ("poisson", 2, True, 0.1, 0.0, None, False),
        ("poisson", 1, True, 0.1, 0.5, None, False),
        ("poisson", 1, False, 0.3, 0.0, None, True),
        ("amplitude", 2, True, 1.0, 0.0, Propagation("fresnel", 20.0, 0.01), False),
        ("poisson", 1, True, 0.1, 0.5, Propagation("angular-spectrum", 20.0, 1.6), False),
    ],
)
@pytest.mark.parametrize("precision", LIMITS)
def test_ten_steps_give_what_they_give_in_the_reference(
    precision, likelihood, modes, masked, light, behind, way, clipped, operations
):
    background = behind * np.linspace(0, 2, N * N).reshape(N, N) if behind else None
    probe, positions, counts, good = tile(modes=modes, masked=masked, light=light, background=background, way=way)
    asked, xp = tile_estimate(10, likelihood), operations(precision)
    ends = np.round(np.linspace(0.3, 0.5, FRAMES) * counts.max()) if clipped else None
    levels = None if ends is None else ends[:, None, None]
    counts = counts if levels is None else np.minimum(counts, levels)
    wanted = TileFit(probe.astype(complex), positions, np.sqrt(counts), good, asked, background, way, levels)
    mask = xp.from_numpy(good.astype(np.float32)) if masked else None
    amplitudes, added = (
        xp.sqrt(xp.from_numpy(counts.astype(np.float32))),
        None if background is None else xp.from_numpy(background),
    )
    seen = Measured(amplitudes, mask, ceilings(xp, SimpleNamespace(saturation=ends), np.arange(FRAMES)))
    found = Tile(xp, xp.from_numpy(probe), positions, seen, asked, added, forward=forward_of(xp, way, N))
    wanted.fit()
    found.fit()
    patches, step = wanted.patches()
    estimate = found.estimate()
    pairs = {
        "picture": (found.picture(), wanted.picture()),
        "patches": (estimate.patches[:, 0], patches),
        "step": (estimate.step[:, 0], step),
    }
    # The step is small compared with what it is added to, and has the rounding of that.
    scale = {"picture": wanted.picture(), "patches": patches, "step": patches}
    measured = {
        name: np.linalg.norm(xp.to_numpy(one) - other) / np.linalg.norm(scale[name]) for name, (one, other) in pairs.items()
    }
    assert max(measured.values()) <= LIMITS[precision], measured
    assert np.abs(np.abs(patches) - np.abs(patches).mean()).max() > 0.05, "a flat object would prove nothing"


def test_a_batch_of_a_training_is_one_tile_and_gives_what_it_gives_in_the_reference(operations, tmp_path):
    scan = known_scan(tmp_path / "scan.npz", modes=2, masked=True)
    recipe = perturbed_model(tmp_path / "model.ptycho", scan, modes=2, estimate="tile", realspace_weight=1.0)
    assert load_model(tmp_path / "model.ptycho").network["estimate"]["likelihood"] == "amplitude"
    job = opened(replace(recipe, groups=np.random.default_rng(8).permutation(FRAMES_KNOWN)[:9, None]))
    found, wanted = evaluate(job, operations("float64")), evaluate_batch(job)
    rows = differences(found, wanted, LIMITS_OF_A_BATCH["float64"])
    assert {one.quantity for one in rows} >= {"patches", "gradient"}
    assert [f"{one.quantity} {one.name}: {one.value:.2g} > {one.limit:.2g}" for one in rows if not one.within] == []


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A scan of 300 frames of 32 x 32 pixels."""
    path = tmp_path_factory.mktemp("known") / "known.npz"
    words = ["--object", "random-lines", "--size", "32", "--frames", "300", "--step", "2.5", "--defocus-fraction", "1"]
    assert main(["simulate", str(path), *words, "--photons", "1e6", "--seed", "5"]) == 0
    return path


def infer(scan, folder, backend, *words):
    return main(["infer", str(scan), "-o", str(folder), "--backend", backend, "--quiet", "--no-figures", *words])


def test_a_scan_alone_becomes_a_picture_that_is_right(known, tmp_path, backend, capsys):
    """Quality: a tolerance on each side, so that what breaks the steps is seen. Measured: see the assertions."""
    assert infer(known, tmp_path / "out", backend, "--threads", "1", "--require-good") == 0
    assert "good: R is" in capsys.readouterr().out
    score = ptycho_core.score(tmp_path / "out", known)
    assert score.ssim_amplitude > 0.96
    assert score.ssim_phase > 0.96
    assert score.nrmse < 0.06
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["model"], metrics["frames"], metrics["verdict"]) == (None, 300, "good")
    # A fit begins where the pass ended: R after one epoch is near that of the pass, far below that from flat.
    assert main(["reconstruct", str(known), "-o", str(tmp_path / "fit"), "--backend", backend, "--quiet", "--no-figures",
                 "--start", str(tmp_path / "out"), "--epochs", "1", "--iterations", "0"]) == 0  # fmt: skip
    fitted = json.loads((tmp_path / "fit" / "metrics.json").read_text())
    assert fitted["misfit"] < 1.1 * metrics["misfit"]


def test_batch_size_threads_and_order_of_frames_change_no_bit(known, tmp_path, backend):
    with np.load(known) as file:
        arrays = {name: file[name] for name in file.files}
    turned = tmp_path / "turned.npz"
    np.savez(turned, **arrays | {name: arrays[name][::-1] for name in ("intensity", "positions_px")})
    found = [
        ptycho_core.infer(scan, backend=backend, update_steps=4, **how).object
        for scan, how in (
            (known, {"threads": 1, "inference_batch_size": 1}),
            (known, {"threads": 2, "inference_batch_size": 77}),
            (turned, {"threads": 1}),
        )
    ]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_what_only_a_network_has_is_refused_and_steps_are_taken(known, tmp_path, backend, capsys):
    assert infer(known, tmp_path / "out", backend, "--gridsize", "2") == 2
    assert "gridsize = 2 contradicts an inference without --model, which fixes it at 1" in capsys.readouterr().err
    assert infer(known, tmp_path / "out", backend, "--precision", "bf16-mixed") == 2
    assert "bf16-mixed acts in the layers of a network, and there is no model." in capsys.readouterr().err
    if backend == "torch":
        assert infer(known, tmp_path / "out", backend, "--opt", "torch.compile=true") == 2
        assert "compile acts in the layers of a network, and there is no model." in capsys.readouterr().err
    objects = [ptycho_core.infer(known, backend=backend, update_steps=steps) for steps in (6, 1)]
    scores = [ptycho_core.score(one, known).nrmse for one in objects]
    assert scores[0] < 0.6 * scores[1]
    plain = ptycho_core.infer(known, backend=backend, update_steps=1).probe
    for shaped in (
        {"probe_smoothing": 1.0},
        {"probe_mask_diameter": 12.0},
        {"probe_mask_diameter": 12.0, "probe_mask_edge": 6.0},
    ):
        found = ptycho_core.infer(known, backend=backend, update_steps=1, **shaped).probe
        assert not np.allclose(found, plain), shaped
        plain = found


def test_a_guessed_probe_is_refined_where_that_is_asked_for(tmp_path, backend, capsys):
    words = ["--object", "random-lines", "--size", "32", "--frames", "300", "--step", "2.5", "--defocus-fraction", "0.7"]
    assert main(["simulate", str(tmp_path / "guess.npz"), *words, "--photons", "1e6", "--seed", "5"]) == 0
    found = {}
    for name, more in (("guess", []), ("refined", ["--refine-probe"])):
        assert infer(tmp_path / "guess.npz", tmp_path / name, backend, "--threads", "1", *more) == 0
        found[name] = ptycho_core.score(tmp_path / name, tmp_path / "guess.npz")
    assert found["refined"].nrmse < 0.6 * found["guess"].nrmse
    metrics = json.loads((tmp_path / "refined" / "metrics.json").read_text())
    assert metrics["probe"] == "the scan's own, refined"


def test_a_background_is_fitted_and_taken_into_account_where_that_is_asked_for(known, tmp_path, backend):
    with np.load(known) as file:
        arrays = {name: file[name] for name in file.files}
    counts = arrays["intensity"] + np.random.default_rng(2).poisson(60.0, arrays["intensity"].shape)
    np.savez(tmp_path / "grey.npz", **arrays | {"intensity": counts.astype(np.uint16)})
    found = {}
    for name in ("none", "constant"):
        assert infer(tmp_path / "grey.npz", tmp_path / name, backend, "--threads", "1", "--background", name) == 0
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        found[name] = ptycho_core.score(tmp_path / name, known).nrmse, metrics["misfit"]
    assert found["constant"][0] < 0.6 * found["none"][0]
    assert found["constant"][1] < 0.6 * found["none"][1]
    background = load_reconstruction(tmp_path / "constant").background
    assert np.ptp(background) == 0
    assert background.mean() == pytest.approx(60, rel=0.1)


def test_a_scan_without_a_probe_gets_one_that_is_made(known, tmp_path, backend, capsys):
    with np.load(known) as file:
        np.savez(tmp_path / "dark.npz", intensity=file["intensity"][:120], positions_px=file["positions_px"][:120])
    assert infer(tmp_path / "dark.npz", tmp_path / "out", backend, "--threads", "1") == 0
    made = json.loads((tmp_path / "out" / "metrics.json").read_text())["made_probe"]
    assert made["made_from"] == "the mean pattern"
    assert made["misfit"] < 0.3
    assert "Probe: made from the mean pattern" in capsys.readouterr().err
