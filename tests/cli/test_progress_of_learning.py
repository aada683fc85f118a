"""What is shown while a network learns or infers."""

from ptycho_core.cli import progress
from ptycho_core.contract import Event


def shown(capsys, *events):
    observer = progress.PlainProgress()
    for event in events:
        observer(event)
    return capsys.readouterr().err.splitlines()


def test_an_epoch_shows_both_losses_both_misfits_and_the_rate(capsys):
    losses = {"loss": 0.5, "validation_loss": 0.75, "misfit": 0.1, "validation_misfit": 0.2}
    values = losses | {"patterns_per_second": 312.0, "seconds": 3.0}
    lines = shown(capsys, Event("epoch", "training", 3, 50, values))
    assert lines == ["training 3/50  loss 0.5  validation loss 0.75  R 0.1  validation R 0.2  patterns/s 312"]


def test_inside_an_epoch_steps_are_shown_and_do_not_keep_the_epoch_away(capsys):
    step, epoch = Event("step", "training", 1, 9, {"loss": 2.0}), Event("epoch", "training", 1, 9, {"loss": 1.0})
    assert shown(capsys, step, step, epoch, epoch) == ["training 1/9  loss 2", "training 1/9  loss 1"]


def test_a_single_pass_counts_frames(capsys):
    values = {"frames": 64, "frames_in_all": 1024, "patterns_per_second": 900.0}
    assert shown(capsys, Event("step", "inference", values=values)) == ["inference 64/1024  patterns/s 900"]


def test_the_bar_counts_epochs_and_frames():
    with progress.BarProgress() as bar:
        bar(Event("epoch", "training", 3, 50, {"loss": 0.5}))
        bar(Event("step", "training", 4, 50, {"loss": 0.4}))
        assert [(task.completed, task.total) for task in bar._bars.tasks] == [(3, 50)]
        bar(Event("step", "inference", values={"frames": 64, "frames_in_all": 1024}))
        assert (bar._bars.tasks[1].completed, bar._bars.tasks[1].total) == (64, 1024)
