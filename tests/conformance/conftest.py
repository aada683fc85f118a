"""Small batches of a training: a scan with its object, and a model file whose weights are nowhere zero."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.contract import BatchRecipe
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.model import save_model
from ptycho_core.physics import intensities
from ptycho_core.settings.resolution import resolve
from ptycho_core.training.data import training_data
from ptycho_core.training.prepare import initial_model

N, FRAMES = 32, 20
WEIGHTS = {"nll_weight": 0.3, "amplitude_weight": 1.0, "mae_weight": 0.5, "tv_weight": 20.0, "realspace_weight": 7.0}


def write_scan(path, *, modes, masked):
    random = np.random.default_rng(11)
    row, column = np.mgrid[:N, :N] - N / 2 + 0.3
    disc = 40 / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    probe = np.stack([disc * (column / 6) ** mode / (1 + mode) for mode in range(modes)]).astype(np.complex64)
    positions = random.uniform(3, 20, (FRAMES, 2))
    positions[:2] = np.floor(positions[:2])
    r, c = np.mgrid[: N + 24, : N + 24]
    truth = ((0.75 + 0.2 * np.sin(r / 2.5) * np.cos(c / 3)) * np.exp(0.8j * np.sin(r / 4 + c / 3))).astype(np.complex64)
    mask = random.random((N, N)) > (0.05 if masked else -1)
    counts = random.poisson(intensities(truth, probe, positions)).astype(np.float32)
    counts[:, ~mask] = np.nan
    write_plain_npz(
        path,
        {
            "intensity": counts, "positions_px": positions, "probe_guess": probe, "probe_in_counts": np.array(True),
            "object_true": truth, "mask": mask,
        },
    )  # fmt: skip


@pytest.fixture
def training_job(tmp_path):
    """``training_job(modes=…, masked=…, **settings)``: a batch of a training without groups."""

    def make(*, modes=1, masked=False, **settings):
        scan = tmp_path / f"scan-{modes}-{masked}.npz"
        if not scan.exists():
            write_scan(scan, modes=modes, masked=masked)
        asked = {"modes": modes, "network_width": 4, "update_steps": 3, "seed": 2} | WEIGHTS | settings
        groups = resolve("train", overrides=asked).groups()
        recipe = BatchRecipe((scan,), tmp_path / "model.ptycho", groups, 0, np.zeros((0, 1), np.int64))
        data = training_data([open_scan(scan, groups["data"])], groups)
        model, random = initial_model(data, groups, {}, {}), np.random.default_rng(5)
        weights = {name: value + random.normal(0, 0.04, value.shape) for name, value in model.weights.items()}
        physics = dict(model.physics) | {"log_scale": np.full(1, 0.3, np.float32)}
        model = replace(model, weights={name: value.astype(np.float32) for name, value in weights.items()}, physics=physics)
        save_model(recipe.model_path, model)
        return recipe

    return make
