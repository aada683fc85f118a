"""What is taken for the same, and how large a difference is said to be."""

import importlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="module")
def module():
    """Gives a module of the script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module


def write(folder, *, factor=1.0, name="probe", seconds=1.0, note="none", text="R 0.5 in 0.3 s"):
    folder.mkdir()
    with h5py.File(folder / "reconstruction.h5", "w") as file:
        file[name] = np.array([1 + 2j, 3j]) * factor
        file["ptycho/history/seconds"] = [seconds]
        file["ptycho"].attrs["facts"] = json.dumps({"note": note, "seconds": seconds})
    (folder / "log.csv").write_text(f"epoch,loss,seconds\n1,{2.5 * factor!r},{seconds}\n2,,{seconds}\n")
    (folder / "metrics.json").write_text(json.dumps({"best": {"seconds": seconds, "loss": factor}, "interrupted": False}))
    (folder / "command 1.out").write_text(text)
    (folder / "command 1.err").write_text(str(seconds))
    return folder


def test_times_are_no_difference(module, tmp_path):
    folders = (write(tmp_path / side, seconds=one, text=f"R 0.5 in {one} s") for side, one in (("a", 1.0), ("b", 2.25)))
    old, new = map(module("differences").contents, folders)
    assert list(module("differences").differences(old, new)) == []
    assert {"metrics.json:best.loss", "reconstruction.h5:probe", "log.csv:loss", "command 1.out:line 1"} <= old.keys()


def test_numbers_texts_and_names_are_told_apart(module, tmp_path):
    old = write(tmp_path / "a")
    new = write(tmp_path / "b", factor=1 + 1e-9, name="illumination", note="some", text="R 0.6 in 0.3 s")
    held = map(module("differences").contents, (old, new))
    found = {one.name: one for one in module("differences").differences(*held)}
    assert {name: one.kind for name, one in found.items()} == {
        "command 1.out:line 1": "text",
        "log.csv:loss": "value",
        "metrics.json:best.loss": "value",
        "reconstruction.h5:illumination": "only new",
        "reconstruction.h5:probe": "only old",
        "reconstruction.h5:ptycho@facts.note": "text",
    }
    assert found["log.csv:loss"].size == pytest.approx(1e-9, rel=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "size", "said"),
    [
        (np.array([1.0, -4.0]), np.array([1.0, -4.004]), 1e-3, "1.0e-03"),
        (np.array([3 + 4j]), np.array([3 + 4.05j]), 1e-2, "1.0e-02"),
        (np.array([0.0]), np.array([-0.0]), 0.0, "0.0e+00"),
        (np.array([1.0]), np.array([1.0], np.float32), 0.0, "0.0e+00, float64 | float32"),
        (np.array([np.nan, 2.0]), np.array([np.nan, 2.5]), 0.25, "2.5e-01"),
        (np.array([1.0]), np.array([np.nan]), None, "not finite on one side"),
        (np.zeros(2), np.zeros(3), None, "shape (2,) | (3,)"),
        (np.array([True, False]), np.array([True, True]), 1.0, "1.0e+00"),
    ],
)
def test_a_difference_is_relative_to_the_largest_number(module, old, new, size, said):
    found = module("differences").difference("file:array", old, new)
    assert found.size == (None if size is None else pytest.approx(size))
    assert found.said == said


def test_the_same_bits_are_no_difference(module):
    assert module("differences").difference("file:array", np.array([np.nan, 1.0]), np.array([np.nan, 1.0])) is None


@pytest.mark.parametrize(("count", "interval"), [(5, None), (6, [1, 6]), (9, [2, 8]), (15, [4, 12]), (25, [8, 18])])
def test_the_interval_of_a_median_is_of_the_order_statistics(module, count, interval):
    assert module("commits").summary(range(1, count + 1))["interval"] == interval
