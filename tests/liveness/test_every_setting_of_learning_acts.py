"""Each setting that ``train`` and ``infer`` take is given to the real commands twice, and the difference is seen in the result.

What a model file fixes cannot be given to ``infer``: ``tests/settings/test_payload_of_learning.py`` tries each.
"""

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
from reading_flags import READING as READING_FLAGS

from ptycho_core.cli.main import main
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.imaging.stitching import Stitcher
from ptycho_core.model import load_model, load_with_manifest
from ptycho_core.scan.kept import KeptPatterns
from ptycho_core.scan.reading import READER_NAME
from ptycho_core.settings.groups import declarations

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")

SMALL = {"--epochs": "1", "--network-width": "4", "--update-steps": "2", "--batch-size": "12"}
SUPERVISED = ["--model-type", "supervised"]
SGD = ["--optimizer", "sgd", "--learning-rate", "0.01"]
STILL = ["--epochs", "4", "--learning-rate", "1e-30"]
"""So slow that no epoch is better than the one before."""

THREE = ["--epochs", "3"]
"""Of which each is better than the one before."""


class Spy:
    """Counts what is read and stitched, and watches, without changing it, how PyTorch is set up while the backend reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        self.reads, self.threads, self.mode = 0, 0, 0
        self.readers: set[str] = set()
        self.begun: list[int] = []  # by each reading ahead: how many batches were stitched then
        self.stitched = 0
        original, add = KeptPatterns.read, Stitcher.add

        def watched(patterns: KeptPatterns, frames: Any) -> Any:
            self.reads += 1
            if threading.current_thread().name.startswith(READER_NAME):
                self.begun.append(self.stitched)
            self.readers.add(threading.current_thread().name)  # at once, unlike a union
            torch: Any = sys.modules.get("torch")
            if torch is not None and torch.get_deterministic_debug_mode():  # the backend reads, not the core before it
                self.mode = torch.get_deterministic_debug_mode()
                self.threads = torch.get_num_threads()
            return original(patterns, frames)

        def stitched(stitcher: Stitcher, frames: Any, patches: Any) -> None:
            self.stitched += 1
            add(stitcher, frames, patches)

        monkeypatch.setattr(KeptPatterns, "read", watched)
        monkeypatch.setattr(Stitcher, "add", stitched)

    @property
    def ahead(self) -> int:
        """The most readings that were begun and not stitched."""
        return max(number - stitched for number, stitched in enumerate(self.begun, 1))


class Run:
    """One run of a command, and what it left."""

    def __init__(self, verb: str, folder: Path, arguments: list[str], base: dict[str, str], capsys: Any, spy: Spy) -> None:
        given = [item for name, value in base.items() if name not in arguments for item in (name, value)]
        capsys.readouterr()
        status = main([verb, "-o", str(folder), *given, *arguments])
        self.stderr, self.spy, self.folder = capsys.readouterr().err, spy, folder
        assert status == 0, self.stderr
        self.audit = json.loads((folder / "settings.json").read_text())
        if verb == "train":
            self.metrics = json.loads((folder / "metrics.json").read_text())
            self.model = load_with_manifest(folder / "last.ptycho", training=None)[1]
            self.history, self.facts, self.physics = self.model.history, self.model.facts, self.model.physics
        else:
            self.result = load_reconstruction(folder)

    def effective(self, name: str) -> Any:
        return self.audit["settings"][name]["effective"]

    def why(self, name: str) -> str:
        return str(self.audit["settings"][name]["disposition"]["why"])

    def last(self, name: str) -> Any:
        return self.history[-1][name]


Two = Callable[[Run, Run], bool]


def changed(a: Run, b: Run) -> bool:
    """Whether another network was learned."""
    return any(not np.array_equal(a.model.weights[name], b.model.weights[name]) for name in a.model.weights)


def reshaped(a: Run, b: Run) -> bool:
    return {name: one.shape for name, one in a.model.weights.items()} != {
        name: one.shape for name, one in b.model.weights.items()
    }


def other_probe(a: Run, b: Run) -> bool:
    return a.physics["probe"].shape != b.physics["probe"].shape or not np.allclose(a.physics["probe"], b.physics["probe"])


def other_rate(a: Run, b: Run) -> bool:
    return a.last("learning_rate") != b.last("learning_rate")


def fluxes(run: Run) -> list[float]:
    """The flux that was fitted before the training."""
    found: list[float] = run.model.settings["scans"][0].get("flux", [])
    return found


def steps(run: Run) -> int:
    """How many batches were learned from."""
    assert run.model.training is not None
    return int(run.model.training.state["steps"])


def models(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.rglob("*.ptycho"))


def best_epoch(run: Run) -> int:
    return len(load_model(run.folder / "best.ptycho").history)


def logged_steps(run: Run) -> list[int]:
    rows = csv.DictReader((run.folder / "steps.csv").read_text().splitlines())
    return [int(row["step"]) for row in rows if float(row["loss"]) > 0 and float(row["learning_rate"]) > 0]


def drawn(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.glob("*.png"))


def other_object(a: Run, b: Run) -> bool:
    return not np.array_equal(a.result.object, b.result.object)


RUNNING: dict[str, tuple[list[str], list[str], Two]] = {
    "backend": (
        [],
        ["--backend", "{alias}"],
        lambda a, b: "only one installed" in a.stderr and "only one installed" not in b.stderr,
    ),
    "accelerator": (
        [],
        ["--accelerator", "cpu"],
        lambda a, b: "accelerator auto" in a.stderr and "accelerator auto" not in b.stderr,
    ),
    "deterministic": (
        ["--no-deterministic"],
        ["--deterministic", "strict"],
        lambda a, b: (a.spy.mode, b.spy.mode) == (0, 2),
    ),
    "threads": (["--threads", "1"], ["--threads", "2"], lambda a, b: (a.spy.threads, b.spy.threads) == (1, 2)),
    "figures": ([], ["--no-figures"], lambda a, b: bool(drawn(a)) and not drawn(b) and (b.folder / "metrics.json").exists()),
    "progress": ([], ["--quiet"], lambda a, b: not quiet(a) and quiet(b)),
    "pin_memory": (
        ["--allow-unsupported"],
        ["--allow-unsupported", "--pin-memory"],
        lambda a, b: not a.effective("pin_memory") and not b.effective("pin_memory") and "pinned" in b.why("pin_memory"),
    ),
}


def other_readers(a: Run, b: Run) -> bool:
    """Two threads have read instead of none, the results are the same, and no thread is left."""
    assert not [one for one in threading.enumerate() if one.name.startswith(READER_NAME)]
    same = not changed(a, b) if hasattr(a, "model") else not other_object(a, b)
    return same and b.spy.readers - a.spy.readers == {f"{READER_NAME}-0", f"{READER_NAME}-1"}


def other_prefetch(a: Run, b: Run) -> bool:
    return bool(a.metrics["facts"]["read_ahead"] == 1 < b.metrics["facts"]["read_ahead"] <= 3)


LONG = ["{folder}/long.npz", "--n-subsample", "12"]
"""A scan of several portions, of which few frames are learned from."""

SMALL_BATCHES = ["--inference-batch-size", "3"]
READING: dict[str, tuple[list[str], list[str], Two]] = {
    "num_workers": (LONG, [*LONG, "--num-workers", "2"], other_readers),
    "prefetch": (
        [*LONG, "--num-workers", "2", "--prefetch", "1"],
        [*LONG, "--num-workers", "2", "--prefetch", "3"],
        other_prefetch,
    ),
}
KEPT: dict[str, tuple[list[str], list[str], Two]] = {
    "enable_checkpointing": (
        THREE,
        [*THREE, "--disable-checkpointing"],
        lambda a, b: (models(a), models(b)) == (["best.ptycho", "last.ptycho"], ["last.ptycho"]) and b.model.training is None,
    ),
    "checkpoint_save_top_k": (
        THREE,
        [*THREE, "--checkpoint-save-top-k", "2"],
        lambda a, b: set(models(b)) - set(models(a)) == {"epoch-0002.ptycho", "epoch-0003.ptycho"},
    ),
    "checkpoint_monitor": (
        [*STILL, "--validation-split", "0.25"],
        [*STILL, "--validation-split", "0.25", "--checkpoint-monitor", "loss"],
        # What judges is the same each time, and of equals the first is the best; what is learned from is cut differently.
        lambda a, b: best_epoch(a) == 1 < best_epoch(b),
    ),
    "checkpoint_mode": (THREE, [*THREE, "--checkpoint-mode", "max"], lambda a, b: (best_epoch(a), best_epoch(b)) == (3, 1)),
    "early_stop_patience": (
        STILL,
        [*STILL, "--early-stop-patience", "1"],
        lambda a, b: len(b.history) < len(a.history) == 4,
    ),
    "logger": (
        THREE,
        [*THREE, "--logger", "none"],
        lambda a, b: (a.folder / "log.csv").exists() and not (b.folder / "log.csv").exists(),
    ),
    "log_every": (
        THREE,
        [*THREE, "--log-every", "2"],
        lambda a, b: not (a.folder / "steps.csv").exists() and logged_steps(b) == list(range(2, steps(b) + 1, 2)),
    ),
}
TRAIN: dict[str, tuple[list[str], list[str], Two]] = (
    RUNNING
    | READING
    | KEPT
    | {
        "signal": ([], ["--signal", "amplitude"], changed),
        "photons": ([], ["--photons", "1e3"], lambda a, b: changed(a, b) and other_probe(a, b)),
        "size": ([], ["--size", "48"], lambda a, b: (a.model.size, b.model.size) == (32, 48)),
        "mask": ([], ["--mask", "{folder}/mask.npy"], changed),
        "dark": (["--clip-negative"], ["--clip-negative", "--dark", "2"], changed),
        "background_file": ([], ["--background-file", "{folder}/behind.npy"], changed),
        "flux": (["--no-refine-flux"], ["--no-refine-flux", "--flux", "{folder}/flux.csv"], changed),
        "refine_flux": ([], ["--refine-flux"], lambda a, b: changed(a, b) and not fluxes(a) and len(fluxes(b)) == 36),
        "saturation": ([], ["--saturation", "40"], changed),
        "probe": ([], ["--probe", "{folder}/probe.npy"], lambda a, b: changed(a, b) and other_probe(a, b)),
        "probe_defocus": (
            ["--probe", "auto", "--probe-defocus", "10rad"],
            ["--probe", "auto", "--probe-defocus", "20rad"],
            lambda a, b: changed(a, b) and other_probe(a, b),
        ),
        "model_type": ([], SUPERVISED, changed),
        "gridsize": ([], ["--gridsize", "2"], reshaped),
        "neighbor_count": (["--gridsize", "2", "--neighbor-count", "4"], ["--gridsize", "2", "--neighbor-count", "9"], changed),
        "modes": ([], ["--modes", "2"], other_probe),
        "merge": ([], ["--merge", "none"], changed),
        "update_steps": ([], ["--update-steps", "5"], changed),
        "estimate": ([], ["--estimate", "tile"], changed),
        "network": ([], ["--network", "deep"], reshaped),
        "network_depth": (["--network", "deep"], ["--network", "deep", "--network-depth", "1"], reshaped),
        "network_width": ([], ["--network-width", "8"], reshaped),
        "output_form": ([], ["--output-form", "amplitude-phase"], changed),
        "amplitude_activation": (
            ["--output-form", "amplitude-phase"],
            ["--output-form", "amplitude-phase", "--amplitude-activation", "sigmoid"],
            changed,
        ),
        "train_probe": ([], ["--train-probe"], other_probe),
        "train_scale": ([], ["--train-scale"], lambda a, b: not a.physics["log_scale"].any() and b.physics["log_scale"].any()),
        "probe_scale": (
            [],
            ["--probe-scale", "1.25"],
            lambda a, b: changed(a, b) and np.allclose(b.physics["probe"], 1.25 * a.physics["probe"]),
        ),
        "probe_mask_diameter": ([], ["--probe-mask-diameter", "8"], other_probe),
        "probe_mask_edge": (
            ["--probe-mask-diameter", "8"],
            ["--probe-mask-diameter", "8", "--probe-mask-edge", "6"],
            other_probe,
        ),
        "probe_smoothing": ([], ["--probe-smoothing", "2"], other_probe),
        "epochs": ([], ["--epochs", "3"], lambda a, b: (len(a.history), len(b.history)) == (1, 3)),
        "batch_size": ([], ["--batch-size", "18"], changed),
        "learning_rate": ([], ["--learning-rate", "1e-4"], changed),
        "optimizer": ([], ["--optimizer", "sgd"], changed),
        "weight_decay": (["--optimizer", "adamw"], ["--optimizer", "adamw", "--weight-decay", "0.5"], changed),
        "adam_beta1": ([], ["--adam-beta1", "0.5"], changed),
        "adam_beta2": ([], ["--adam-beta2", "0.5"], changed),
        "adam_epsilon": ([], ["--adam-epsilon", "0.1"], changed),
        "momentum": (SGD, [*SGD, "--momentum", "0"], changed),
        "scheduler": ([], ["--scheduler", "constant"], changed),
        "warmup_epochs": ([], ["--warmup-epochs", "0"], changed),
        "decay": (
            ["--epochs", "2", "--scheduler", "exponential"],
            ["--epochs", "2", "--scheduler", "exponential", "--decay", "0.1"],
            other_rate,
        ),
        "plateau_factor": (
            [*STILL, "--scheduler", "plateau", "--plateau-patience", "1"],
            [*STILL, "--scheduler", "plateau", "--plateau-patience", "1", "--plateau-factor", "0.1"],
            other_rate,
        ),
        "plateau_patience": (
            [*STILL, "--scheduler", "plateau"],
            [*STILL, "--scheduler", "plateau", "--plateau-patience", "1"],
            other_rate,
        ),
        "min_learning_rate": (
            ["--epochs", "2", "--scheduler", "exponential", "--decay", "0.01"],
            ["--epochs", "2", "--scheduler", "exponential", "--decay", "0.01", "--min-learning-rate", "5e-4"],
            lambda a, b: a.last("learning_rate") < 5e-4 == b.last("learning_rate"),
        ),
        "gradient_clip_val": (SGD, [*SGD, "--gradient-clip-val", "1e-3"], changed),
        "gradient_clip_algorithm": (
            [*SGD, "--gradient-clip-val", "1e-3"],
            [*SGD, "--gradient-clip-val", "1e-3", "--gradient-clip-algorithm", "value"],
            changed,
        ),
        "accumulate_grad_batches": ([], ["--accumulate-grad-batches", "2"], changed),
        "nll_weight": ([], ["--nll-weight", "1"], changed),
        "amplitude_weight": (["--mae-weight", "1"], ["--mae-weight", "1", "--amplitude-weight", "0"], changed),
        "mae_weight": ([], ["--mae-weight", "1"], changed),
        "tv_weight": ([], ["--tv-weight", "1"], changed),
        "realspace_weight": ([], ["--realspace-weight", "1"], changed),
        "inference_batch_size": (
            ["--validation-split", "0.5"],
            ["--validation-split", "0.5", "--inference-batch-size", "3"],
            lambda a, b: a.last("validation_loss") != b.last("validation_loss") and not changed(a, b),
        ),
        "validation_split": (
            [],
            ["--validation-split", "0.25"],
            lambda a, b: a.history[0].get("validation_loss") is None and b.history[0]["validation_loss"] > 0,
        ),
        "oversampling": (["--gridsize", "2"], ["--gridsize", "2", "--oversampling", "2"], changed),
        "n_groups": ([], ["--n-groups", "12"], lambda a, b: changed(a, b) and steps(a) > steps(b)),
        "n_subsample": ([], ["--n-subsample", "20"], changed),
        "sequential_sampling": (["--n-subsample", "20"], ["--n-subsample", "20", "--sequential-sampling"], changed),
        "subsample_seed": (["--n-subsample", "20"], ["--n-subsample", "20", "--subsample-seed", "7"], changed),
        "labels": (SUPERVISED, [*SUPERVISED, "--labels", "{folder}/labels.npy"], changed),
        "precision": ([], ["--precision", "float64"], changed),
        "seed": ([], ["--seed", "1"], changed),
    }
)
METRES = ["--photon-energy-ev", "8000", "--detector-distance-m", "1", "--detector-pixel-size-m", "75e-6"]


def in_metres(**changes: str) -> tuple[list[str], list[str], Two]:
    """One of the three halved or doubled, such that the pixel of the object doubles."""
    (name, value), flag = next(iter(changes.items())), f"--{next(iter(changes)).replace('_', '-')}"
    other = [value if before == flag else word for before, word in zip(["", *METRES], METRES, strict=False)]
    assert name in ("photon_energy_ev", "detector_distance_m", "detector_pixel_size_m")
    return METRES, other, lambda a, b: b.result.pixel_size_m[0] == pytest.approx(2 * a.result.pixel_size_m[0])


INFER: dict[str, tuple[list[str], list[str], Two]] = RUNNING | {
    "num_workers": (SMALL_BATCHES, [*SMALL_BATCHES, "--num-workers", "2"], other_readers),
    "prefetch": (
        [*SMALL_BATCHES, "--num-workers", "2", "--prefetch", "1"],
        [*SMALL_BATCHES, "--num-workers", "2", "--prefetch", "3"],
        # One batch more may have been taken and not yet be stitched.
        lambda a, b: 1 <= a.spy.ahead <= 2 < b.spy.ahead <= 4,
    ),
    "signal": ([], ["--signal", "amplitude"], other_object),
    "photons": ([], ["--photons", "1e3"], lambda a, b: np.abs(b.result.probe).max() < np.abs(a.result.probe).max() / 5),
    "size": ([], ["--size", "32"], lambda a, b: a.result.N == b.result.N == 32 and other_object(a, b)),
    "mask": ([], ["--mask", "{folder}/mask.npy"], other_object),
    "dark": (["--clip-negative"], ["--clip-negative", "--dark", "2"], other_object),
    "background_file": ([], ["--background-file", "{folder}/behind.npy"], other_object),
    "flux": (["--no-refine-flux"], ["--no-refine-flux", "--flux", "{folder}/flux.csv"], other_object),
    "refine_flux": (
        [],
        ["--refine-flux"],
        lambda a, b: other_object(a, b) and a.result.flux is None and np.ptp(b.result.flux) > 0,
    ),
    "saturation": ([], ["--saturation", "40"], other_object),
    "probe": ([], ["--probe", "{folder}/probe.npy"], lambda a, b: not np.allclose(a.result.probe, b.result.probe)),
    "probe_defocus": (
        ["--probe", "auto", "--probe-defocus", "10rad"],
        ["--probe", "auto", "--probe-defocus", "20rad"],
        lambda a, b: not np.allclose(a.result.probe, b.result.probe),
    ),
    "photon_energy_ev": in_metres(photon_energy_ev="4000"),
    "detector_distance_m": in_metres(detector_distance_m="2"),
    "detector_pixel_size_m": in_metres(detector_pixel_size_m="37.5e-6"),
    "inference_batch_size": ([], ["--inference-batch-size", "3"], lambda a, b: b.spy.reads > a.spy.reads + 6),
    "precision": ([], ["--precision", "float64"], other_object),
    "seed": ([], ["--seed", "1"], lambda a, b: not np.allclose(a.result.probe[1], b.result.probe[1])),
    "refine_probe": ([], ["--refine-probe"], lambda a, b: not np.allclose(a.result.probe, b.result.probe)),
    "background": (
        [],
        ["--background", "constant"],
        lambda a, b: a.result.background is None and b.result.background.shape == (32, 32),
    ),
}
NO_MODEL = {"refine_probe", "background"}
"""Those that act without a model alone; how the *model* settings act there, ``test_tile_estimate.py`` tries."""

SCANS = {"size": "wide.npz"}
"""Scans inferred the second time where it is not the same: only a scan of another size can be given that of the model."""

ELSEWHERE = {"frame_axis", "clip_negative", "margin", "allow_mixed_frameworks", *READING_FLAGS}
"""What needs a file of another layout or with other counts, or a process that holds another framework (``tests/scan``,
``tests/liveness``, ``tests/parity``)."""

ALIASES = {"torch": "pytorch", "tensorflow": "tf", "numpy": "numpy"}
OWN = {"numpy": {"deterministic", "threads"}}
"""What a test of the backend shows."""

FIXED = {"tensorflow": {"deterministic", "threads"}}
"""What a framework cannot change in a process that it runs in: each value is given to a separate process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, train: Any) -> Path:
    """36 frames of 32 x 32, files for the settings that take one, and a model with two modes."""
    folder = tmp_path_factory.mktemp("every")
    path = folder / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "36", "--photons", "1e5", "--seed", "8"]) == 0
    wide = ["simulate", str(folder / "wide.npz"), "--size", "48", "--frames", "36", "--photons", "1e5", "--seed", "8"]
    assert main(wide) == 0
    long = ["--size", "32", "--frames", "200", "--photons", "1e5", "--seed", "9"]
    assert main(["simulate", str(folder / "long.npz"), *long]) == 0
    mask = np.ones((32, 32), bool)
    mask[10:14, 10:14] = False
    np.save(folder / "mask.npy", mask)
    np.save(folder / "behind.npy", np.full(mask.shape, 2.0))
    np.savetxt(folder / "flux.csv", np.linspace(1, 3, 36))
    with np.load(path) as file:
        np.save(folder / "probe.npy", np.roll(file["probe_guess"], 1, axis=-1))
        np.save(folder / "labels.npy", file["object_true"].conj())
    small = [item for pair in SMALL.items() for item in pair]
    train(path, "-o", folder / "run", "--modes", "2", *small)
    return folder


def test_every_setting_has_its_test() -> None:
    assert set(TRAIN) | ELSEWHERE == set(declarations("train"))
    fixed = {name for name, one in declarations("infer").items() if one.group == "model"}
    assert set(INFER) | ELSEWHERE | fixed == set(declarations("infer"))


@pytest.fixture(scope="module")
def done() -> dict[Any, Run]:
    """Runs by verb and arguments: what many settings are compared with is run once."""
    return {}


@pytest.fixture
def run(
    folder: Path, done: dict[Any, Run], backend: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Run]:
    """Run a verb with arguments, or give what the same gave before."""
    bases = {
        "train": SMALL | {"--threads": "1"},
        "infer": {"--threads": "1", "--model": str(folder / "run")},
        "alone": {"--threads": "1"},
    }

    def run(verb: str, words: list[str], scan: str = "scan.npz") -> Run:
        key = (verb, scan, *words)
        if key not in done:
            filled = [str(folder / scan), *(word.format(folder=folder, alias=ALIASES[backend]) for word in words)]
            done[key] = Run(
                "infer" if verb == "alone" else verb, folder / str(len(done)), filled, bases[verb], capsys, Spy(monkeypatch)
            )
        return done[key]

    return run


@pytest.fixture(scope="module")
def processes(folder: Path, watched: Any, backend: str) -> dict[str, list[SimpleNamespace]]:
    """By verb, what two processes saw: one with the first values of what is fixed, one with the second."""
    seen: dict[str, list[SimpleNamespace]] = {"train": [], "infer": []}
    if backend not in FIXED:
        return seen
    for number in (0, 1):
        fixed = [word for name in sorted(FIXED[backend]) for word in RUNNING[name][number]]
        commands = []
        for verb, base in (("train", SMALL), ("infer", {"--model": str(folder / "run")})):
            words = [word for pair in base.items() for word in pair]
            commands.append([verb, str(folder / "scan.npz"), "-o", str(folder / f"{verb}-{number}"), *words, *fixed, "--quiet"])
        for verb, one in zip(seen, watched(commands), strict=True):
            seen[verb].append(SimpleNamespace(spy=SimpleNamespace(**one)))
    return seen


@pytest.mark.parametrize("name", TRAIN)
def test_the_setting_acts_on_a_training(name: str, run: Callable[..., Run], backend: str, processes: Any) -> None:
    first, second, differs = TRAIN[name]
    fixed = name in FIXED.get(backend, ())
    assert differs(*processes["train"]) if fixed else differs(run("train", first), run("train", second))


@pytest.mark.parametrize("name", INFER)
def test_the_setting_acts_on_an_inference(name: str, run: Callable[..., Run], backend: str, processes: Any) -> None:
    first, second, differs = INFER[name]
    if name in OWN.get(backend, ()):
        pytest.skip("a test of the backend shows it")
    fixed = name in FIXED.get(backend, ())
    if fixed:
        assert differs(*processes["infer"])
        return
    verb = "alone" if name in NO_MODEL else "infer"
    assert differs(run(verb, first), run(verb, second, SCANS.get(name, "scan.npz")))
