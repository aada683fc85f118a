"""What pty-chi changes in its process is put back; it stops when asked, repeats itself, and says what is missing."""

import logging
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ptycho_core
from ptycho_core.contract import Event
from ptycho_core.errors import BackendError, BackendUnusableError
from ptycho_core.formats.product import load_reconstruction


def state() -> dict[str, Any]:
    import ptychi.maths
    import ptychi.utils

    return {
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "complex": ptychi.utils.get_default_complex_dtype(),
        "fft": ptychi.maths.get_use_double_precision_for_fft(),
        "free": ptychi.maths.get_allow_nondeterministic_algorithms(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "gradients": torch.is_grad_enabled(),
        "random": torch.random.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger("ptychi").level,
        "torchvision": [name for name in sys.modules if name.partition(".")[0] == "torchvision"],
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "folder": Path.cwd(),
        "Python threads": threading.active_count(),
    }


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("engine", ["lsqml", "dm", "autodiff"])
def test_the_process_is_as_it_was(engine: str, scan_file: Path, empty: Path) -> None:
    settings = {"backend": "ptychi", "epochs": 2, "ptychi.engine": engine, "seed": 3, "precision": "float64", "threads": 1}
    ptycho_core.reconstruct(scan_file, **{**settings, "precision": "float32"})
    before = state()
    found = ptycho_core.reconstruct(scan_file, **settings)
    assert state() == before
    assert found.object.dtype == np.complex128
    assert not list(empty.iterdir())


def test_it_is_as_it_was_after_a_failure_too(scan_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ptycho_backend_ptychi.fit

    ptycho_core.reconstruct(scan_file, backend="ptychi", epochs=1)
    monkeypatch.setattr(ptycho_backend_ptychi.fit.Fit, "epoch", lambda self: 1 / 0)
    before = state()
    with pytest.raises(BackendError, match="ZeroDivisionError"):
        ptycho_core.reconstruct(scan_file, backend="ptychi", epochs=1, precision="float64")
    assert state() == before


def test_a_stop_is_honoured_after_the_epoch_and_the_best_so_far_returned(scan_file: Path) -> None:
    from ptycho_core.settings.payload import create_reconstruction_payload

    seen: list[Event] = []

    class Sink:
        stop_requested = False

        snapshot_due = False

        def emit(self, event: Event) -> None:
            seen.append(event)
            self.stop_requested = event.kind == "epoch" and event.epoch == 3

    payload = create_reconstruction_payload(scan_file, None, {"backend": "ptychi", "epochs": 20}, environment={})
    result = payload.backend.reconstruct(job_of(scan_file, payload), payload.plan, Sink())
    assert result.interrupted
    assert result.stopped_by == "stop requested"
    assert len(result.history) == 3
    epochs = [event for event in seen if event.kind == "epoch"]
    assert [event.total for event in epochs] == [20] * 3
    assert epochs[0].values["patterns_per_second"] > 0
    assert np.isfinite(result.object).all()


def job_of(scan_file: Path, payload: Any) -> Any:
    from ptycho_core.contract import ReconstructJob

    with np.load(scan_file) as file:
        positions = file["positions_px"] - file["positions_px"].min(axis=0) + 2
        shape = tuple(np.ceil(positions.max(axis=0)).astype(int) + 36)
        probe = np.atleast_3d(file["probe_guess"].T).T.astype(np.complex64)
    scan = ptycho_core.open_scan(scan_file, payload.groups["data"])
    return ReconstructJob(scan, np.ones(shape, np.complex64), probe, positions, payload.groups)


def test_what_is_not_finite_ends_the_fit_with_the_best_so_far(scan_file: Path, reconstruct: Callable[..., Any]) -> None:
    folder, message = reconstruct(
        "--opt", "ptychi.engine=epie", "--opt", "ptychi.step=10", "--epochs", "60", "--batch-size", "49"
    )
    found = load_reconstruction(folder)
    assert np.isfinite(found.object).all()
    assert "is not finite" in message or "whose R was lowest" in message


@pytest.mark.parametrize("engine", ["lsqml", "rpie", "autodiff"])
def test_the_same_seed_gives_the_same_bits(engine: str, scan_file: Path) -> None:
    settings = {"backend": "ptychi", "epochs": 2, "ptychi.engine": engine, "deterministic": "strict", "threads": 1}
    first, second, other = (ptycho_core.reconstruct(scan_file, **settings, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(first.object, second.object)
    assert np.array_equal(first.probe, second.probe)
    assert not np.array_equal(first.object, other.object)


def test_without_torchvision_only_its_blur_is_missing_and_says_so() -> None:
    from ptycho_backend_ptychi.library import library

    library()
    if "torchvision" in sys.modules:
        pytest.skip("torchvision is installed here")
    from ptychi.utils import generate_gaussian_random_image

    assert generate_gaussian_random_image((8, 8), smoothing=0).shape == (8, 8)
    with pytest.raises(BackendError, match="blurs its random images with torchvision") as caught:
        generate_gaussian_random_image((8, 8))
    assert "start from" in caught.value.remedy


def test_without_pty_chi_the_backend_is_missing(scan_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ptychi", None)
    with pytest.raises(BackendUnusableError, match=r"pty-chi \(module 'ptychi'\) is not installed") as caught:
        ptycho_core.reconstruct(scan_file, backend="ptychi")
    assert caught.value.state == "missing"
    assert "pip install 'ptychi>=2.2,<3'" in caught.value.remedy


def test_pty_chis_warnings_reach_the_user_and_no_logger_of_his(scan_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    said: list[Event] = []
    before = list(logging.getLogger().handlers)
    settings = {"backend": "ptychi", "epochs": 1, "ptychi.engine": "autodiff"}
    ptycho_core.reconstruct(scan_file, observers=[said.append], **settings)
    warned = [record.getMessage() for record in caplog.records if record.name.startswith("ptychi")]
    assert any("parallelization" in text for text in warned)
    assert not any("pty-chi:" in event.message for event in said)  # what it says each time is no news
    assert list(logging.getLogger().handlers) == before


def test_what_pty_chi_warns_of_is_kept_once() -> None:
    from ptycho_backend_ptychi.surroundings import surroundings
    from ptycho_core.contract import ExecutionPlan

    execution = {"threads": 1, "deterministic": "on"}
    with surroundings(ExecutionPlan("cpu", execution, {}, {})) as warned:
        for _ in range(2):
            logging.getLogger().handle(logging.LogRecord("root", logging.WARNING, "/x/ptychi/y.py", 1, "too  small", None, None))
            logging.getLogger().handle(logging.LogRecord("root", logging.WARNING, "/x/other/y.py", 1, "not his", None, None))
    assert warned == ["too small"]
