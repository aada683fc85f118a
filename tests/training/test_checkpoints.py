"""Which models of a run are kept, by which figure, and what is then on disk."""

import math

import pytest

from ptycho_core.training.checkpoints import Checkpoints, Monitor

SETTINGS = {
    "enable_checkpointing": True,
    "checkpoint_save_top_k": 1,
    "checkpoint_monitor": None,
    "checkpoint_mode": "min",
}


def kept(folder, losses, *, column="loss", **settings):
    """The files after each epoch; a file holds the number of its epoch."""
    checkpoints = Checkpoints(folder, SETTINGS | settings)
    seen, history = [], []
    for loss in losses:
        history.append({"loss": 0.0} | {column: loss})
        written = checkpoints.after_epoch(history, lambda path: path.write_text(str(len(history))))
        assert all(path.read_text() == str(len(history)) for path in written)
        seen.append({str(path.relative_to(folder)): int(path.read_text()) for path in folder.rglob("*.ptycho")})
    return seen


def test_the_last_and_the_best_are_kept_and_of_equals_the_first(tmp_path):
    seen = kept(tmp_path, [math.nan, 3, 2, 2, 1])
    assert seen[0] == {"last.ptycho": 1}
    assert [(files["last.ptycho"], files["best.ptycho"]) for files in seen[1:]] == [(2, 2), (3, 3), (4, 3), (5, 5)]


def test_of_several_best_epochs_the_worst_goes_when_a_better_comes(tmp_path):
    seen = kept(tmp_path, [3, math.inf, 5, 4, 4, 1], checkpoint_save_top_k=2)
    epochs = [sorted(int(name[-11:-7]) for name in files if name.startswith("checkpoints")) for files in seen]
    assert epochs == [[1], [1], [1, 3], [1, 4], [1, 4], [1, 6]]
    assert seen[-1] == {
        "last.ptycho": 6,
        "best.ptycho": 6,
        "checkpoints/epoch-0001.ptycho": 1,
        "checkpoints/epoch-0006.ptycho": 6,
    }


def test_all_epochs_are_kept_whatever_they_are_worth(tmp_path):
    seen = kept(tmp_path, [2, math.nan, 3], checkpoint_save_top_k=-1)
    assert {name for name in seen[-1] if "/" in name} == {f"checkpoints/epoch-000{number}.ptycho" for number in (1, 2, 3)}


@pytest.mark.parametrize("off", [{"enable_checkpointing": False}, {"checkpoint_save_top_k": 0}])
def test_without_checkpoints_nothing_is_written_until_the_end(tmp_path, off):
    assert kept(tmp_path, [3, 2], **off) == [{}, {}]
    assert list(tmp_path.iterdir()) == []
    saved = []
    assert Checkpoints(tmp_path, SETTINGS | off).at_end([{"loss": 2.0}], saved.append) == (tmp_path / "last.ptycho",)
    assert saved == [tmp_path / "last.ptycho"]


def test_the_best_is_that_of_what_is_monitored(tmp_path):
    for number, (mode, best) in enumerate((("min", 2), ("max", 3))):
        folder = tmp_path / str(number)
        folder.mkdir()
        monitored = {"column": "misfit", "checkpoint_monitor": "misfit", "checkpoint_mode": mode}
        assert kept(folder, [0.5, 0.25, 0.75], **monitored)[-1]["best.ptycho"] == best


def test_auto_is_the_validation_loss_where_there_is_one_and_what_is_not_finite_is_worse_than_all():
    assert Monitor().value({"loss": 1.0, "validation_loss": 4.0}) == 4.0
    assert Monitor().value({"loss": 1.5, "validation_loss": None}) == 1.5
    assert Monitor("loss").value({"loss": 1.0, "validation_loss": 4.0}) == 1.0
    assert Monitor("loss", "max").value({"loss": 1.0}) == -1.0
    for mode in ("min", "max"):
        assert Monitor(None, mode).value({"loss": 1.0, "validation_loss": math.nan}) == math.inf
        assert Monitor("misfit", mode).value({"loss": 1.0}) == math.inf
