"""Every setting of a reconstruction is answered; what pty-chi applies acts, and what it cannot do is refused with the reason."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.errors import CapabilityError
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.payload import create_reconstruction_payload

ACTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ptychi.engine": ({}, {"ptychi.engine": "rpie"}),
    "ptychi.batching uniform": ({}, {"ptychi.batching": "uniform"}),
    "ptychi.batching compact": ({}, {"ptychi.batching": "compact"}),
    "ptychi.momentum": (
        {"epochs": 12, "ptychi.batching": "compact"},
        {"epochs": 12, "ptychi.batching": "compact", "ptychi.momentum": 0.5},
    ),
    "ptychi.position_start": (
        {"epochs": 4, "refine_positions": True, "ptychi.position_start": 0},
        {"epochs": 4, "refine_positions": True, "ptychi.position_start": 3},
    ),
    "ptychi.position_step": (
        {"epochs": 4, "refine_positions": True, "ptychi.position_start": 0},
        {"epochs": 4, "refine_positions": True, "ptychi.position_start": 0, "ptychi.position_step": 0.01},
    ),
    "batch_size": ({}, {"batch_size": 5}),
    "object_alpha": ({"ptychi.engine": "rpie"}, {"ptychi.engine": "rpie", "object_alpha": 0.5}),
    "likelihood": ({}, {"likelihood": "poisson"}),
    "refine_probe": ({}, {"refine_probe": False}),
    "refine_positions": ({"epochs": 7}, {"epochs": 7, "refine_positions": True}),
    "held_out": ({}, {"held_out": 0.2}),
    "modes": ({}, {"modes": 2}),
    "mask": ({}, {"mask": "{folder}/mask.npy"}),
    "seed": ({}, {"seed": 1}),
    "precision": ({}, {"precision": "float64"}),
}
ACTS |= {
    f"ptychi.step {name}": ({"ptychi.engine": name}, {"ptychi.engine": name, "ptychi.step": 0.5})
    for name in ("rpie", "epie", "autodiff")
}


@pytest.mark.parametrize("name", ACTS)
def test_it_acts(name: str, scan_file: Path, tmp_path: Path) -> None:
    mask = np.ones((32, 32), bool)
    mask[12:14, 9:17] = False
    np.save(tmp_path / "mask.npy", mask)
    found = []
    for asked in ACTS[name]:
        filled = {key: value.format(folder=tmp_path) if isinstance(value, str) else value for key, value in asked.items()}
        found.append(ptycho_core.reconstruct(scan_file, **{"backend": "ptychi", "threads": 1, "epochs": 2, **filled}))
    first, second = found
    assert first.object.shape != second.object.shape or not np.array_equal(first.object, second.object)


@pytest.mark.parametrize("engine", ["lsqml", "dm", "rpie", "autodiff"])
def test_a_probe_that_is_not_fitted_stays_as_it_was(engine: str, scan_file: Path) -> None:
    with np.load(scan_file) as file:
        guess = file["probe_guess"]
    settings = {"backend": "ptychi", "threads": 1, "epochs": 2, "refine_probe": False, "ptychi.engine": engine}
    found = ptycho_core.reconstruct(scan_file, **settings).probe
    assert np.linalg.norm(found - guess) < 1e-5 * np.linalg.norm(guess)


ANSWERS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "epochs": ({"epochs": 7}, "applied", 7),
    "epochs auto": ({"epochs": None}, "adjusted", 100),
    "iterations": ({"iterations": 5}, "unsupported", "no joint fit"),
    "no iterations": ({"iterations": 0}, "applied", 0),
    "tolerance": ({"tolerance": 0.1}, "unsupported", "all epochs are run"),
    "memory_gib": ({"memory_gib": 1.0}, "unsupported", "keeps all patterns in memory"),
    "total_variation": ({"total_variation": 1.0}, "unsupported", "photon noise"),
    "total_variation auto": ({"total_variation": None}, "adjusted", 0.0),
    "coarse_start": ({"coarse_start": True}, "unsupported", "whole detector"),
    "coarse_start auto": ({"coarse_start": None}, "adjusted", False),
    "no coarse_start": ({"coarse_start": False}, "applied", False),
    "batch_size of dm": ({"batch_size": 4, "ptychi.engine": "dm"}, "unsupported", "all frames at once"),
    "batching of dm": ({"ptychi.batching": "compact", "ptychi.engine": "dm"}, "unsupported", "all frames at once"),
    "object_alpha of lsqml": ({"object_alpha": 0.1}, "unsupported", "regularises rpie"),
    "likelihood of lsqml": ({"likelihood": "poisson"}, "applied", "poisson"),
    "likelihood of rpie": ({"likelihood": "poisson", "ptychi.engine": "rpie"}, "unsupported", "only lsqml fits"),
    "likelihood auto of rpie": ({"likelihood": "auto", "ptychi.engine": "rpie"}, "adjusted", "amplitude"),
    "momentum of rpie": ({"ptychi.momentum": 0.5, "ptychi.engine": "rpie"}, "unsupported", "only lsqml has"),
    "step of lsqml": ({"ptychi.step": 0.5}, "unsupported", "step of a given length"),
    "position_start": ({"ptychi.position_start": 3}, "unsupported", "--refine-positions"),
    "position_start of autodiff": (
        {"ptychi.position_start": 3, "refine_positions": True, "ptychi.engine": "autodiff"}, "unsupported", "first epoch",
    ),
    "position_step": ({"ptychi.position_step": 3}, "unsupported", "--refine-positions"),
    "threads": ({"threads": 1}, "applied", 1),
    "num_workers": ({"num_workers": 2}, "adjusted", 0),
    "prefetch": ({"prefetch": 2, "num_workers": 2}, "adjusted", None),
    "pin_memory": ({"pin_memory": True}, "unsupported", "pinned memory|before its first epoch"),
    "accelerator": ({"accelerator": "auto"}, "adjusted", "cpu"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_it_is_answered(name: str, scan_file: Path) -> None:
    asked, kind, value = ANSWERS[name]
    payload = create_reconstruction_payload(
        scan_file, None, {"backend": "ptychi", **asked}, environment={}, allow_unsupported=True
    )
    answer = payload.plan.dispositions[next(iter(asked))]
    assert answer.kind == kind
    if kind == "unsupported":
        assert re.search(value, answer.why)
        with pytest.raises(CapabilityError, match=value):
            create_reconstruction_payload(scan_file, None, {"backend": "ptychi", **asked}, environment={})
    else:
        assert answer.value == value
        assert answer.why or kind == "applied"


def test_a_likelihood_that_another_distribution_brings_is_refused_by_every_engine() -> None:
    from ptycho_backend_ptychi.planning import _likelihood

    for engine in ("lsqml", "rpie"):
        answer = _likelihood("log_cosh", engine)
        assert answer.kind == "unsupported"
        assert "none that another distribution brings" in answer.why


def test_no_setting_of_a_reconstruction_is_forgotten(scan_file: Path) -> None:
    asked = {
        one.name: one.default for one in declarations("reconstruct").values() if one.group in ("reconstruction", "execution")
    }
    payload = create_reconstruction_payload(
        scan_file, None, asked | {"backend": "ptychi"}, environment={}, allow_unsupported=True
    )
    answers = payload.plan.dispositions
    assert set(answers) == set(asked)
    # A default that stands for something that pty-chi has not is not passed off as applied.
    for name in ("iterations", "tolerance", "memory_gib", "object_alpha"):
        assert answers[name].kind == "unsupported"


def test_a_background_is_refused_by_the_manifest(scan_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--backend", "ptychi", "--background", "pixel"]
    assert main(["reconstruct", str(scan_file), "-o", str(tmp_path / "out"), *words]) == 4
    assert "does not provide 'background'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
