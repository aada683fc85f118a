"""Each backend in a worker its own process, kept for the session; scans and model files that every one is given alike.

The worst difference of each quantity is printed next to its limit at the end of the session.
"""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.backends.worker import Worker
from ptycho_core.contract import BatchRecipe
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.model import load_model, save_model
from ptycho_core.physics import intensities
from ptycho_core.settings.resolution import resolve
from ptycho_core.training.data import training_data
from ptycho_core.training.prepare import initial_model

N = 32
SECONDS = 300
FRAMES = 30
WEIGHTS = {"nll_weight": 0.3, "amplitude_weight": 1.0, "mae_weight": 0.5, "tv_weight": 20.0, "realspace_weight": 7.0}
_worst = pytest.StashKey[dict[tuple[str, str], tuple[float, float, str]]]()


class Measured:
    """Takes differences, asserts their limits, and remembers the worst of each quantity."""

    def __init__(self, worst):
        self._worst = worst

    def __call__(self, quantity, precision, limit, differences, what):
        """``differences`` by name: all must be below the limit; ``what`` says where they were found."""
        name = max(differences, key=differences.get)
        value = differences[name]
        print(f"{what}: {quantity} in {precision} {value:.2g} ({name} of {len(differences)}), limit {limit:g}")
        before = self._worst.get((quantity, precision), (-1.0, limit, ""))
        self._worst[quantity, precision] = max(before, (value, limit, f"{what}, {name}"))
        assert value <= limit, f"{what}: {name} differs by {value:.3g}, more than {limit:g}"


@pytest.fixture(scope="session")
def measured(request):
    return Measured(request.config.stash.setdefault(_worst, {}))


def pytest_terminal_summary(terminalreporter):
    found = terminalreporter.config.stash.get(_worst, {})
    if found:
        terminalreporter.section("worst differences between backends")
    for (quantity, precision), (value, limit, where) in sorted(found.items()):
        terminalreporter.line(f"{quantity:<28} {precision:<8} {value:8.1e}  limit {limit:g}  ({where})")


@pytest.fixture(scope="session")
def worker():
    """``worker(name)``: the process of a backend, started when it is first asked for."""
    running = {}

    def found(name):
        if name not in running:
            running[name] = Worker(name, threads=1)
            running[name].__enter__()
        return running[name]

    yield found
    for one in running.values():
        one.__exit__(None, None, None)


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory):
    """``scan_file(modes, masked)``: a scan with its object; positions lie between the pixels but for the first two."""
    folder, made = tmp_path_factory.mktemp("parity-scans"), {}

    def make(modes=1, masked=False):
        path = folder / f"{modes}{masked}.npz"
        if path not in made:
            write_plain_npz(path, _arrays(modes, masked=masked))
            made[path] = True
        return path

    return make


def _arrays(modes, *, masked):
    random = np.random.default_rng(11)
    row, column = np.mgrid[:N, :N] - N / 2 + 0.3
    disc = 40 / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    probe = np.stack([disc * (column / 6) ** mode / (1 + mode) for mode in range(modes)]).astype(np.complex64)
    positions = random.uniform(0, 23, (FRAMES, 2))
    positions[:2] = np.floor(positions[:2])
    r, c = np.mgrid[: N + 24, : N + 24]
    truth = ((0.75 + 0.2 * np.sin(r / 2.5) * np.cos(c / 3)) * np.exp(0.8j * np.sin(r / 4 + c / 3))).astype(np.complex64)
    mask = random.random((N, N)) > (0.05 if masked else -1)
    counts = random.poisson(intensities(truth, probe, positions)) * mask
    return {
        "intensity": counts.astype(np.uint16), "positions_px": positions, "probe_guess": probe,
        "probe_in_counts": np.array(True), "object_true": truth, "mask": mask,
    }  # fmt: skip


@pytest.fixture(scope="session")
def training_job(scan_file, tmp_path_factory):
    """``training_job(modes=…, masked=…, **settings)``: a job whose model file has weights that are nowhere zero."""
    folder, known = tmp_path_factory.mktemp("parity-jobs"), {}

    def make(*, modes=1, masked=False, architecture=None, **settings):
        key = (modes, masked, architecture, *sorted(settings.items()))
        if key in known:
            return known[key]
        path = scan_file(modes, masked)
        asked = {"modes": modes, "network_width": 4, "update_steps": 3, "seed": 2} | WEIGHTS | settings
        groups = resolve("train", overrides=asked).groups()
        data = training_data([open_scan(path, groups["data"])], groups)
        model, random = initial_model(data, groups, {}, {}, architecture), np.random.default_rng(5)
        weights = {name: value + random.normal(0, 0.04, value.shape) for name, value in model.weights.items()}
        physics = dict(model.physics) | {"log_scale": np.full(1, 0.3, np.float32)}
        model = replace(model, weights={name: value.astype(np.float32) for name, value in weights.items()}, physics=physics)
        own = folder / f"{len(known)}.ptycho"
        save_model(own, model)
        assert all(np.any(value) for value in load_model(own).weights.values())
        known[key] = BatchRecipe((path,), own, groups, 0, np.zeros((0, 1), np.int64))
        return known[key]

    return make


@pytest.fixture(scope="session")
def evaluated(worker):
    """``evaluated(backend, job, groups, precision)``: the answer of a backend's process; remembered."""
    known = {}

    def ask(backend, job, groups, precision, accelerator):
        key = (backend, str(job.model_path), groups.tobytes(), precision)
        if key not in known:
            known[key] = worker(backend).call(
                "ptycho_core.evaluation:evaluate", replace(job, groups=groups), backend=backend, precision=precision,
                accelerator=accelerator, timeout=SECONDS,
            )  # fmt: skip
        return known[key]

    return ask
