"""Inference: each frame once, the same patches whatever the batch and the order of the frames, and those of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.conformance.suite.inputs import FRAMES, N
from ptycho_core.conformance.suite.marks import kit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.conformance.suite.bench import Bench
    from ptycho_core.contract import Value

MODEL: dict[str, Value] = {"gridsize": 2, "merge": "none"}
OTHER_MODEL: dict[str, Value] = {
    "gridsize": 2, "neighbor_count": 7, "modes": 2, "merge": "group", "update_steps": 2, "network": "deep", "network_depth": 1,
    "network_width": 8, "output_form": "amplitude-phase", "amplitude_activation": "sigmoid", "train_probe": True,
    "train_scale": True,
}  # fmt: skip
"""No fact that inference looks at has its default."""

STORED = {"float64": 1e-12, "float32": 1e-5}
"""Relative L2 of patches."""

ESTIMATED = {"float64": 1e-12, "float32": 2e-5}
"""The same of tiles after `STEPS`."""

AGAIN = {"float64": 1e-12, "float32": 1e-5}
"""The same batch in other company: larger products may be summed in another order."""

STEPS: dict[str, Value] = {"update_steps": 5}
"""Of an inference without a model; the frames of the known scan are one tile."""

TILES: dict[str, Value] = {"gridsize": 1, "estimate": "tile", "modes": 2}
"""Of a network that corrects estimates of tiles."""

CANVAS: dict[str, Value] = {"network": "canvas", "modes": 2}
"""Of a network that corrects a tile as a whole."""

BOUND = 400.0
"""Counts from which on pixels of the known scan are taken as lower bounds: those of the brightest."""

MODELS: dict[str, dict[str, Any]] = {
    "plain": MODEL, "every fact": OTHER_MODEL | {"masked": True}, "tiles": TILES | {"masked": True},
    "canvas": CANVAS | {"masked": True},
}  # fmt: skip


def inferred(bench: Bench, *, scan: Path | None = None, model: str = "plain", **settings: Value) -> dict[str, Any]:
    """The answer for a model of groups of four frames and its scan, asked for once."""
    job = bench.model(**MODELS[model])
    taken, asked = scan or job.scans[0], bench.settings(**settings)
    key = ("inferred", taken, model, *sorted(asked.items()))
    found: dict[str, Any] = bench.once(key, lambda: bench.call("infer", taken, job.model_path, bench.light(taken), asked))
    return found


def estimated(bench: Bench, scan: Path, **settings: Value) -> dict[str, Any]:
    """The answer for a scan without a model, of the backend or of the reference, asked for once."""
    from ptycho_core.conformance.suite import jobs

    asked, here = bench.settings(**STEPS | settings), settings.get("backend") == "reference"
    asked |= {"accelerator": "cpu"} if here else {}
    key, light = ("estimated", scan, *sorted(asked.items())), bench.light(scan)
    make = (lambda: jobs.infer(scan, None, light, asked)) if here else (lambda: bench.call("infer", scan, None, light, asked))
    found: dict[str, Any] = bench.once(key, make)
    return found


def patches(answer: dict[str, Any]) -> NDArray[Any]:
    """All patches in the order of the frames."""
    order: NDArray[Any] = answer["patches"][np.argsort(np.concatenate(answer["batches"]))]
    return order


def of_reference(bench: Bench, model: Path, scan: Path) -> NDArray[Any]:
    """The patches that the reference gives, in the order of the frames."""
    from ptycho_core.conformance.suite import jobs

    settings = {"backend": "reference", "precision": "float64"}
    key = ("reference", model, scan)
    return patches(bench.once(key, lambda: jobs.infer(scan, model, bench.light(scan), settings)))


@kit("infer", needs=("test_the_plan_answers_exactly_what_was_asked_for",))
def test_infer_answers(bench: Bench) -> None:
    assert inferred(bench)["batches"]


@kit("infer", needs=("test_infer_answers",))
def test_infer_yields_each_frame_once_as_numpy(bench: Bench) -> None:
    found = inferred(bench)
    assert set(found["kinds"].values()) == {"numpy.ndarray"}, found["kinds"]
    assert sorted(np.concatenate(found["batches"]).tolist()) == list(range(FRAMES))
    assert all(np.issubdtype(frames.dtype, np.integer) for frames in found["batches"])
    assert found["patches"].shape == (FRAMES, N, N)
    assert np.iscomplexobj(found["patches"])
    assert np.isfinite(found["patches"]).all()


@kit("infer", needs=("test_a_patch_does_not_depend_on_the_batch",))
@pytest.mark.parametrize("model", MODELS)
def test_a_model_file_gives_what_it_gives_in_the_reference(bench: Bench, model: str, precision: str) -> None:
    job = bench.model(**MODELS[model])
    found = patches(inferred(bench, model=model, precision=precision))
    far = distance(found, of_reference(bench, job.model_path, job.scans[0]))
    assert far <= STORED[precision]
    assert precision != "float64" or found.dtype == np.complex128, "float64 was asked for, and less comes back"


@kit("infer", needs=("test_infer_answers",))
@pytest.mark.parametrize("photons", ["many", "few"])
def test_a_scan_alone_gives_what_it_gives_in_the_reference(bench: Bench, photons: str, precision: str) -> None:
    scan = bench.scan(modes=2, masked=True, light=1.0 if photons == "many" else 0.1)
    found = estimated(bench, scan, precision=precision)
    assert sorted(np.concatenate(found["batches"]).tolist()) == list(range(FRAMES))
    wanted = estimated(bench, scan, backend="reference", precision="float64")
    assert distance(patches(found), patches(wanted)) <= ESTIMATED[precision]


@kit("infer", "saturation", needs=("test_a_scan_alone_gives_what_it_gives_in_the_reference",))
def test_a_pass_takes_saturated_counts_as_lower_bounds(bench: Bench, precision: str) -> None:
    scan = bench.scan(modes=2, masked=True)
    found = patches(estimated(bench, scan, precision=precision, saturation=BOUND))
    wanted = patches(estimated(bench, scan, backend="reference", precision="float64", saturation=BOUND))
    assert distance(found, wanted) <= ESTIMATED[precision]
    assert distance(found, patches(estimated(bench, scan, precision=precision))) > ESTIMATED[precision], "it takes no bounds"


@kit("infer", needs=("test_infer_yields_each_frame_once_as_numpy",))
def test_infer_does_not_look_at_bad_pixels(bench: Bench) -> None:
    spoilt = bench.scan(modes=2, masked=True, garbage=1)
    one, other = (patches(inferred(bench, model="every fact", scan=scan)) for scan in (None, spoilt))
    assert np.array_equal(one, other), "a bad pixel holds anything, and counts for nothing"


@kit("infer", needs=("test_infer_yields_each_frame_once_as_numpy",))
def test_a_patch_does_not_depend_on_the_batch(bench: Bench) -> None:
    whole = patches(inferred(bench))
    for size in (1, 7):
        far = distance(patches(inferred(bench, inference_batch_size=size)), whole)
        assert far <= AGAIN[bench.precision], f"inference_batch_size {size}"


@kit("infer", needs=("test_infer_yields_each_frame_once_as_numpy",))
def test_a_batch_is_no_larger_than_asked_for(bench: Bench) -> None:
    found = inferred(bench, inference_batch_size=7)
    assert max(map(len, found["batches"])) <= int(found["execution"].get("inference_batch_size") or 7)
    assert len(found["batches"]) > 1


@kit("infer", needs=("test_infer_yields_each_frame_once_as_numpy",))
def test_a_patch_does_not_depend_on_the_order_of_the_frames(bench: Bench) -> None:
    turned = bench.scan(modes=1, masked=False, order="reversed")
    far = distance(patches(inferred(bench, scan=turned))[::-1], patches(inferred(bench)))
    assert far <= AGAIN[bench.precision]


@kit("infer", needs=("test_infer_answers",))
def test_infer_ends_early_when_asked(bench: Bench) -> None:
    job, scan = bench.model(**MODEL), bench.scan(modes=1, masked=False)  # type: ignore[arg-type]
    settings = bench.settings(inference_batch_size=3)
    found = bench.call("infer", scan, job.model_path, bench.light(scan), settings, stop_after=1)
    assert len(np.concatenate(found["batches"])) < FRAMES


@kit("infer", needs=("test_infer_answers",))
def test_infer_runs_in_mixed_precision(bench: Bench, mixed_precision: str) -> None:
    found = patches(inferred(bench, precision=mixed_precision))
    far = distance(found, patches(inferred(bench)))
    assert far > 0, "the same as in full precision, to the last bit"
    assert far < 0.1, "another result than in full precision"
