"""Each verb in a separate process: it gives the same bits again, and leaves the process and the disk as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.conformance.suite.inputs import random_batch
from ptycho_core.conformance.suite.marks import kit
from ptycho_core.conformance.suite.test_infer import MODEL, inferred
from ptycho_core.conformance.suite.test_reconstruct import QUICK, run
from ptycho_core.conformance.suite.test_train import SMALL, trained
from ptycho_core.model import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import Value

ANSWERS = ("test_evaluate_gives_numpy_arrays", "test_train_answers", "test_infer_answers", "test_reconstruct_answers")
REPEATABLE = ("on", "strict")


def job(bench: Bench, verb: str, folder: Path) -> tuple[Any, ...]:
    """The arguments of a small job; a training leaves its run in ``folder``."""
    settings, scan = bench.settings(), bench.scan(modes=1)
    if verb == "evaluate":
        return random_batch(), settings
    if verb == "reconstruct":
        return scan, settings | bench.as_taken(QUICK)
    if verb == "train":
        return scan, folder, settings | SMALL
    model = bench.model(**MODEL)  # type: ignore[arg-type]
    return scan, model.model_path, bench.light(scan), settings


def answer(bench: Bench, verb: str, **more: Value) -> dict[str, Any]:
    """The answer to that job, with further settings, in the first process; asked for once."""
    if verb == "evaluate":
        settings = bench.settings(**more)
        return bench.once(("evaluated", *sorted(settings.items())), lambda: bench.call("evaluate", random_batch(), settings))  # type: ignore[no-any-return]
    if verb == "reconstruct":
        return run(bench, QUICK | more)
    return trained(bench, **more) if verb == "train" else inferred(bench, **more)  # type: ignore[arg-type]


def watched(bench: Bench, verb: str) -> dict[str, Any]:
    """The job in a second process, and what it left behind."""
    folder = bench.folder / "watched"
    nothing: dict[str, Any] = {}
    arguments = (bench.name, verb, job(bench, verb, folder), nothing, [folder])
    target = "ptycho_core.conformance.suite.isolation:watched"
    found: dict[str, Any] = bench.once(("watched", verb), lambda: bench.call(target, *arguments, which="second"))
    return found


def arrays(verb: str, answer: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """What a job computed."""
    if verb == "evaluate":
        return {"intensities": answer["answer"].intensities, **answer["answer"].gradients}
    if verb == "reconstruct":
        return {name: getattr(answer["result"], name) for name in ("object", "probe", "positions")}
    if verb == "infer":
        return {"patches": answer["patches"]}
    model = load_model(answer["result"].last_path)
    return dict(model.weights) | dict(model.physics) | {"losses": np.array([row["loss"] for row in model.history])}


@kit(needs=ANSWERS)
def test_another_process_gives_the_same(bench: Bench, verb: str) -> None:
    first, second = answer(bench, verb), watched(bench, verb)["answer"]
    one, other = arrays(verb, first), arrays(verb, second)
    if first["execution"]["deterministic"] in REPEATABLE:
        assert [name for name in one if not np.array_equal(one[name], other[name])] == [], (
            "they differ, although it promises not to"
        )
    else:
        assert [name for name in one if not np.allclose(one[name], other[name], rtol=1e-2, atol=1e-3)] == []


@kit(needs=("test_another_process_gives_the_same",))
def test_global_random_state_is_left_alone(bench: Bench, verb: str) -> None:
    assert watched(bench, verb)["random"] == []


@kit(needs=("test_another_process_gives_the_same",))
def test_the_environment_is_left_alone(bench: Bench, verb: str) -> None:
    assert watched(bench, verb)["environment"] == []


@kit(needs=("test_another_process_gives_the_same",))
def test_the_working_directory_is_left_alone(bench: Bench, verb: str) -> None:
    assert watched(bench, verb)["directory"] == []


@kit(needs=("test_another_process_gives_the_same",))
def test_no_file_is_left_outside_of_the_output_folder(bench: Bench, verb: str) -> None:
    assert watched(bench, verb)["files"] == []


@kit(needs=("test_another_process_gives_the_same",))
def test_no_thread_and_no_process_is_left(bench: Bench, verb: str) -> None:
    assert watched(bench, verb)["running"] == []
