"""Each setting that ``reconstruct`` takes is given to the real command twice, and the difference is seen in the result."""

import csv
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from quick import quiet
from reading_flags import READING

from ptycho_core.cli.main import main
from ptycho_core.engine.patterns import DevicePatterns
from ptycho_core.formats.product import Reconstruction, load_reconstruction
from ptycho_core.scan.reading import READER_NAME
from ptycho_core.settings.groups import declarations

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test")


class Run:
    """One run of the command, and what it left."""

    def __init__(self, folder: Path, scan: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        base = {"--epochs": "2", "--iterations": "2", "--threads": "1"}
        given = [item for name, value in base.items() if name not in arguments for item in (name, value)]
        capsys.readouterr()
        self.status = main(["reconstruct", str(scan), "-o", str(folder), *given, *arguments])
        self.stderr = capsys.readouterr().err
        assert self.status == 0, self.stderr
        self.result: Reconstruction = load_reconstruction(folder)
        log = folder / "log.csv"
        self.logged = [row["stage"] for row in csv.DictReader(log.read_text().splitlines())] if log.exists() else None
        self.misfit = json.loads((folder / "metrics.json").read_text())["misfit"]
        self.drawn = len([*folder.glob("*.png")])
        self.audit = json.loads((folder / "settings.json").read_text())

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.result.history if row["stage"] == "joint"]

    @property
    def stages(self) -> list[str]:
        return [str(row["stage"]) for row in self.result.history]

    def effective(self, name: str) -> Any:
        return self.audit["settings"][name]["effective"]


def changed(first: Run, second: Run, limit: float = 0.0) -> bool:
    one, other = first.result.object, second.result.object
    return one.shape != other.shape or bool(np.linalg.norm(one - other) > limit * np.linalg.norm(one))


def power(run: Run) -> float:
    return float((np.abs(run.result.probe) ** 2).sum())


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """1 for probes that are equal but for a factor."""
    return float(abs(np.vdot(first, second)) / (np.linalg.norm(first) * np.linalg.norm(second)))


def other_readers(a: Run, b: Run) -> bool:
    """Two threads have read instead of none, and none is left."""
    assert not [one for one in threading.enumerate() if one.name.startswith(READER_NAME)]
    assert (a.result.facts["readers"], b.result.facts["readers"]) == (0, 2)
    return b.readers - a.readers == {f"{READER_NAME}-0", f"{READER_NAME}-1"}


GEOMETRY = ["--photon-energy-ev", "8000", "--detector-distance-m", "1", "--detector-pixel-size-m", "75e-6"]
SEARCHED = ["--refine-positions", "search", "--position-error", "1"]

ACTS: dict[str, tuple[list[str], list[str], Callable[[Run, Run], bool]]] = {
    "signal": ([], ["--signal", "amplitude"], changed),
    "photons": ([], ["--photons", "1e3"], lambda a, b: power(b) == pytest.approx(power(a) * 1e3 / a.counts, rel=1e-3)),
    "size": ([], ["--size", "48"], lambda a, b: (a.result.N, b.result.N) == (64, 48) and b.misfit < 1.5 * a.misfit),
    "mask": (
        [],
        ["--mask", "{folder}/mask.npy"],
        lambda a, b: (
            changed(a, b) and a.result.mask.all() and np.array_equal(np.argwhere(~b.result.mask)[[0, -1]], [[20, 22], [29, 31]])
        ),
    ),
    "background_file": (
        [],
        ["--background-file", "{folder}/behind.npy"],
        lambda a, b: a.result.background is None and b.result.background == pytest.approx(np.full((64, 64), 2.0)),
    ),
    "dark": (["--clip-negative"], ["--clip-negative", "--dark", "2"], changed),
    "photon_energy_ev": (
        GEOMETRY,
        ["--photon-energy-ev", "4000", "--detector-distance-m", "1", "--detector-pixel-size-m", "75e-6"],
        lambda a, b: b.result.pixel_size_m[0] == pytest.approx(2 * a.result.pixel_size_m[0]),
    ),
    "detector_distance_m": (
        GEOMETRY,
        ["--photon-energy-ev", "8000", "--detector-distance-m", "2", "--detector-pixel-size-m", "75e-6"],
        lambda a, b: b.result.pixel_size_m[0] == pytest.approx(2 * a.result.pixel_size_m[0]),
    ),
    "detector_pixel_size_m": (
        GEOMETRY,
        ["--photon-energy-ev", "8000", "--detector-distance-m", "1", "--detector-pixel-size-m", "25e-6"],
        lambda a, b: b.result.pixel_size_m[0] == pytest.approx(3 * a.result.pixel_size_m[0]),
    ),
    "modes": ([], ["--modes", "2"], lambda a, b: (len(a.result.probe), len(b.result.probe)) == (1, 2)),
    "probe": (
        [],
        ["--probe", "{folder}/probe.npy"],
        lambda a, b: likeness(b.result.probe, np.roll(a.result.probe, 1, axis=-1)) > likeness(b.result.probe, a.result.probe),
    ),
    "probe_defocus": (
        ["--probe", "auto", "--probe-defocus", "20rad"],
        ["--probe", "auto", "--probe-defocus", "40rad"],
        lambda a, b: changed(a, b) and likeness(a.result.probe, b.result.probe) < 0.99,
    ),
    "start": (
        [],
        ["--start", "{folder}/start.npz"],
        lambda a, b: changed(a, b) and "coarse" in a.stages and "coarse" not in b.stages,
    ),
    "epochs": ([], ["--epochs", "3"], lambda a, b: (a.stages.count("pie"), b.stages.count("pie")) == (2, 3)),
    "iterations": (
        [],
        ["--iterations", "3"],
        lambda a, b: (a.stages.count("joint"), b.stages.count("joint")) == (2, 3),
    ),
    "batch_size": ([], ["--batch-size", "50"], changed),
    "object_alpha": ([], ["--object-alpha", "0.5"], changed),
    "likelihood": ([], ["--likelihood", "poisson"], changed),
    "total_variation": ([], ["--total-variation", "3"], lambda a, b: changed(a, b) and b.losses[0] > 1.05 * a.losses[0]),
    "coarse_start": (
        [],
        ["--no-coarse-start"],
        lambda a, b: "coarse" in a.stages and "coarse" not in b.stages,
    ),
    "refine_probe": (
        [],
        ["--no-refine-probe"],
        lambda a, b: likeness(b.result.probe[0], b.guess) > 1 - 1e-6 > likeness(a.result.probe[0], a.guess) + 1e-3,
    ),
    "refine_positions": (
        [],
        ["--epochs", "5", "--refine-positions"],
        lambda a, b: not same_positions(a, b),
    ),
    "refine_flux": (
        [],
        ["--refine-flux"],
        lambda a, b: a.result.flux is None and b.result.flux.shape == (36,) and np.ptp(b.result.flux) > 0,
    ),
    "flux": (
        ["--no-refine-flux"],
        ["--no-refine-flux", "--flux", "{folder}/flux.csv"],
        lambda a, b: changed(a, b) and b.result.flux == pytest.approx(np.linspace(0.5, 1.5, 36)),
    ),
    "saturation": ([], ["--saturation", "40"], changed),
    "position_error": (SEARCHED, [*SEARCHED[:2], "--position-error", "2.5"], lambda a, b: not same_positions(a, b)),
    "position_radius": (SEARCHED, [*SEARCHED, "--position-radius", "2"], lambda a, b: not same_positions(a, b)),
    "background": (
        [],
        ["--background", "pixel"],
        lambda a, b: a.result.background is None and b.result.background.shape == (64, 64),
    ),
    "held_out": ([], ["--held-out", "0.2"], lambda a, b: (len(a.result.held_out), len(b.result.held_out)) == (0, 7)),
    "tolerance": (
        ["--iterations", "25", "--tolerance", "1e-9"],
        ["--iterations", "25", "--tolerance", "100"],
        lambda a, b: a.stages.count("joint") > b.stages.count("joint"),
    ),
    "memory_gib": ([], ["--memory-gib", "0"], lambda a, b: b.reads > 5 * a.reads and not changed(a, b)),
    "backend": (
        [],
        ["--backend", "{alias}"],
        lambda a, b: "only one installed" in a.stderr and "only one installed" not in b.stderr,
    ),
    "accelerator": (
        [],
        ["--accelerator", "cpu"],
        lambda a, b: "accelerator auto" in a.stderr and "accelerator auto" not in b.stderr and b.result.facts["device"] == "cpu",
    ),
    "precision": (
        [],
        ["--precision", "float64"],
        lambda a, b: (a.result.object.dtype, b.result.object.dtype) == (np.complex64, np.complex128),
    ),
    "deterministic": (["--no-deterministic"], ["--deterministic", "strict"], lambda a, b: (a.mode, b.mode) == (0, 2)),
    "seed": ([], ["--seed", "1"], changed),
    "threads": (["--threads", "1"], ["--threads", "2"], lambda a, b: (a.threads, b.threads) == (1, 2)),
    "logger": (
        [],
        ["--logger", "none"],
        lambda a, b: a.logged == a.stages and b.logged is None,
    ),
    "figures": ([], ["--no-figures"], lambda a, b: (a.drawn, b.drawn) == (4, 0) and not changed(a, b)),
    "progress": ([], ["--quiet"], lambda a, b: not quiet(a) and quiet(b)),
    "num_workers": (
        ["--memory-gib", "0"],
        ["--memory-gib", "0", "--num-workers", "2"],
        lambda a, b: not changed(a, b) and other_readers(a, b),
    ),
    "prefetch": (
        ["--memory-gib", "0", "--num-workers", "2", "--prefetch", "1"],
        ["--memory-gib", "0", "--num-workers", "2", "--prefetch", "3"],
        lambda a, b: a.result.facts["read_ahead"] == 1 < b.result.facts["read_ahead"] <= 3,
    ),
    "pin_memory": (
        [],
        ["--allow-unsupported", "--pin-memory"],
        lambda a, b: not b.effective("pin_memory") and "pinned" in b.audit["settings"]["pin_memory"]["disposition"]["why"],
    ),
}
ALIASES = {"torch": "pytorch", "tensorflow": "tf", "numpy": "numpy"}
FIXED = {"tensorflow": {"deterministic", "threads"}}
"""What a framework cannot change in a process that it runs in: each value is given to a separate process."""

OWN = {"numpy": {"deterministic", "threads"}}
"""What a test of the backend shows."""

ELSEWHERE = {"frame_axis", "clip_negative", "margin", "allow_mixed_frameworks", *READING}
"""What needs a file of another layout or with other counts, or a process that holds another framework (``tests/scan``,
``tests/liveness``, ``tests/parity``)."""


def same_positions(first: Run, second: Run) -> bool:
    moved = second.result.positions + second.result.origin - first.result.positions - first.result.origin
    return bool(np.allclose(moved, 0))


@pytest.fixture(scope="module")
def scan_of_64(tmp_path_factory: pytest.TempPathFactory, train: Any) -> Path:
    """36 frames of 64 x 64, large enough for a coarse start, with files for the settings that take one."""
    folder = tmp_path_factory.mktemp("every")
    path = folder / "scan.npz"
    assert main(["simulate", str(path), "--size", "64", "--frames", "36", "--photons", "1e5", "--seed", "8"]) == 0
    mask = np.ones((64, 64), bool)
    mask[20:30, 22:32] = False
    np.save(folder / "mask.npy", mask)
    np.save(folder / "behind.npy", np.full((64, 64), 2.0))
    np.savetxt(folder / "flux.csv", np.linspace(1, 3, 36))
    with np.load(path) as file:
        np.save(folder / "probe.npy", np.roll(file["probe_guess"], 1, axis=-1))
        np.savez(folder / "start.npz", object=file["object_true"], positions_px=file["positions_px"])
    train(path, "-o", folder / "run", *["--epochs", "1", "--network-width", "4", "--update-steps", "1", "--batch-size", "18"])
    return path


def test_every_setting_has_its_test() -> None:
    assert set(ACTS) | ELSEWHERE == set(declarations("reconstruct"))


@pytest.fixture(scope="module")
def processes(scan_of_64: Path, watched: Any, backend: str) -> list[SimpleNamespace]:
    """What two processes saw: one with the first values of what is fixed, one with the second."""
    seen = []
    for number in (0, 1) if backend in FIXED else ():
        fixed = [word for name in sorted(FIXED[backend]) for word in ACTS[name][number]]
        quick = ["--epochs", "2", "--iterations", "1", "--quiet"]
        found = watched([["reconstruct", str(scan_of_64), "-o", str(scan_of_64.parent / f"process-{number}"), *quick, *fixed]])
        seen.append(SimpleNamespace(**found[0]))
    return seen


@pytest.fixture(scope="module")
def ran(scan_of_64: Path, backend: str, undrawn: None) -> Callable[[list[str], Any], Run]:
    """``ran(words, capsys)``: the command with these words, run when it is first asked for."""
    known: dict[tuple[str, ...], Run] = {}
    with np.load(scan_of_64) as file:
        guess, counts = file["probe_guess"][0], float(file["intensity"].sum(axis=(1, 2)).mean())

    def found(words: list[str], capsys: pytest.CaptureFixture[str]) -> Run:
        key = tuple(item.format(folder=scan_of_64.parent, alias=ALIASES[backend]) for item in words)
        if key not in known:
            with pytest.MonkeyPatch.context() as patch:
                spy = Spy(patch)
                run = Run(scan_of_64.parent / f"run-{len(known)}", scan_of_64, list(key), capsys)
            run.reads, run.threads, run.mode, run.readers = spy.reads, spy.threads, spy.mode, spy.readers
            run.guess, run.counts = guess, counts
            known[key] = run
        return known[key]

    return found


@pytest.mark.parametrize("name", ACTS)
def test_the_setting_acts(name: str, backend: str, ran: Any, processes: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, differs = ACTS[name]
    if name in OWN.get(backend, ()):
        pytest.skip("a test of the backend shows it")
    if name in FIXED.get(backend, ()):
        assert differs(*processes)
    else:
        assert differs(ran(first, capsys), ran(second, capsys))


class Spy:
    """Counts, without changing it, how often the engine reads patterns, and watches how PyTorch is set up meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads, self.threads, self.mode = 0, 0, 0
        self.readers: set[str] = set()
        original = DevicePatterns.read

        def watched(held: Any, numbers: Any) -> Any:
            self.reads += 1
            self.readers.add(threading.current_thread().name)  # at once, unlike a union
            if "torch" in sys.modules:
                torch = sys.modules["torch"]
                self.threads = torch.get_num_threads()
                self.mode = torch.get_deterministic_debug_mode()
            return original(held, numbers)

        monkeypatch.setattr(DevicePatterns, "read", watched)
