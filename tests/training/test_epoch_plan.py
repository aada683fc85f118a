"""The course of an epoch over several scans, and the example of the specification."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.errors import DataError
from ptycho_core.training.epoch import ScanPart, epoch_batches, validation_batches
from ptycho_core.training.groups import inference_groups
from ptycho_core.training.schedules import learning_rate

SPECIFICATION = (Path(__file__).parents[2] / "specs" / "training.md").read_text("utf-8")


def parts():
    """Three scans: all frames of the first, none of the second, every third of the last."""
    random = np.random.default_rng(5)
    places = [random.uniform(0, 40, (frames, 2)) for frames in (50, 20, 90)]
    return [
        ScanPart(np.arange(50), places[0]),
        ScanPart(np.zeros(0, dtype=np.int64), places[1]),
        ScanPart(np.arange(0, 90, 3), places[2]),
    ]


def plain(batches):
    return [(batch.scan, batch.groups.tolist()) for batch in batches]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["batch", "group", "none"]), st.integers(1, 3), st.integers(1, 20), st.integers(1, 3), st.integers(0, 99),
    st.integers(1, 99),
)  # fmt: skip
def test_every_frame_that_takes_part_is_a_seed_in_each_epoch(merge, gridsize, batch_size, oversampling, seed, epoch):
    asked = {"gridsize": gridsize, "batch_size": batch_size, "merge": merge, "seed": seed, "epoch": epoch}
    asked |= {"neighbor_count": gridsize**2 + 3, "oversampling": oversampling}
    batches = epoch_batches(parts(), **asked)
    for scan, part in enumerate(parts()):
        own = [group for batch in batches if batch.scan == scan for group in batch.groups]
        assert sorted(group[0] for group in own) == sorted(part.frames.tolist() * oversampling)
        assert {frame for group in own for frame in group.tolist()} <= set(part.frames.tolist())
    assert plain(batches) == plain(epoch_batches(parts(), **asked))


def test_epochs_and_seeds_differ_and_batches_of_all_scans_are_mixed():
    asked = {"gridsize": 1, "batch_size": 4, "merge": "batch"}
    first = epoch_batches(parts(), **asked, seed=0, epoch=1)
    assert plain(first) != plain(epoch_batches(parts(), **asked, seed=0, epoch=2))
    assert plain(first) != plain(epoch_batches(parts(), **asked, seed=1, epoch=1))
    order = [batch.scan for batch in first]
    assert set(order) == {0, 2}
    assert order != sorted(order)


def test_an_epoch_does_not_depend_on_the_epochs_before_it():
    asked = {"gridsize": 2, "batch_size": 4, "merge": "batch", "neighbor_count": 7, "seed": 0}
    epochs = [plain(epoch_batches(parts(), **asked, epoch=epoch)) for epoch in (1, 2, 3)]
    assert plain(epoch_batches(parts(), **asked, epoch=3)) == epochs[2]


@pytest.mark.parametrize("merge", ["batch", "none"])
def test_validation_takes_each_frame_once_with_its_nearest_scan_after_scan(merge):
    batches = validation_batches(parts(), gridsize=2, batch_size=8, merge=merge)
    assert [batch.scan for batch in batches] == sorted(batch.scan for batch in batches)
    for scan in (0, 2):
        part = parts()[scan]
        nearest = part.frames[inference_groups(part.positions[part.frames], 2)]
        found = sorted(group for batch in batches if batch.scan == scan for group in batch.groups.tolist())
        assert found == nearest.tolist()
    assert plain(batches) == plain(validation_batches(parts(), gridsize=2, batch_size=8, merge=merge))


def test_a_part_with_too_few_frames_is_refused():
    with pytest.raises(DataError, match="has 3 frames; gridsize 2 takes 4"):
        epoch_batches([ScanPart(np.arange(3), np.zeros((9, 2)))], gridsize=2, batch_size=4, merge="batch", seed=0, epoch=1)


def test_the_batches_of_the_specification_come_out():
    lines = re.findall(r"^\| (\d+) \| (\d+) \| ([\d ;]+) \|$", SPECIFICATION, flags=re.MULTILINE)
    assert len(lines) == 9
    positions = np.array([(10.0 * row, 10.0 * column) for row in range(3) for column in range(4)])
    for epoch, neighbours in {(int(epoch), int(neighbours)) for epoch, neighbours, _ in lines}:
        batches = epoch_batches(
            [ScanPart(np.arange(12), positions)],
            gridsize=2, batch_size=5, merge="batch", neighbor_count=neighbours, seed=7, epoch=epoch,
        )  # fmt: skip
        said = ["; ".join(" ".join(map(str, group)) for group in batch.groups) for batch in batches]
        assert said == [text for of, count, text in lines if (int(of), int(count)) == (epoch, neighbours)]


def test_the_learning_rates_of_the_specification_come_out():
    table = SPECIFICATION.partition("| step | exponential |")[2]
    rows = re.findall(r"^\| (\d+) \| ([\d.e-]+) \| ([\d.e-]+) \| ([\d.e-]+) \|$", table, flags=re.MULTILINE)
    assert len(rows) == 5
    asked = {"learning_rate": 1e-3, "min_learning_rate": 1e-5, "epochs": 4, "warmup_epochs": 1, "decay": 0.5}
    asked |= {"plateau_factor": 0.5, "plateau_patience": 2}
    history = [{"loss": loss} for loss in (1, 0.99999, 1.1, 1)]
    for step, *values in rows:
        for scheduler, value in zip(("exponential", "warmup-cosine", "plateau"), values, strict=True):
            found = learning_rate(
                asked | {"scheduler": scheduler}, step=int(step), steps_per_epoch=5, history=history[: int(step) // 5]
            )
            assert found == pytest.approx(float(value), rel=1e-8)
