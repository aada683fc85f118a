"""Learning rates, stopping and collapse."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_core.errors import SettingsError
from ptycho_core.training.checkpoints import Monitor
from ptycho_core.training.schedules import learning_rate, steps_in_epoch
from ptycho_core.training.stopping import collapse, should_stop

DEFAULTS = {
    "learning_rate": 1e-2,
    "min_learning_rate": 1e-4,
    "epochs": 10,
    "warmup_epochs": 2.0,
    "decay": 0.5,
    "plateau_factor": 0.1,
    "plateau_patience": 2,
}


def rate(scheduler, step, history=(), monitor=Monitor(), **changes):  # noqa: B008 - immutable
    settings = DEFAULTS | {"scheduler": scheduler} | changes
    return learning_rate(settings, step=step, steps_per_epoch=5, history=history, monitor=monitor)


def rows(*losses):
    return [{"epoch": number, "loss": loss, "validation_loss": None} for number, loss in enumerate(losses, 1)]


def test_a_constant_rate_knows_no_floor():
    assert rate("constant", 1234, min_learning_rate=1.0) == 1e-2


def test_exponential_falls_by_its_factor_at_each_epoch_down_to_the_floor():
    assert [rate("exponential", step) for step in (0, 4, 5, 10)] == [1e-2, 1e-2, 5e-3, 2.5e-3]
    assert rate("exponential", 5000) == 1e-4


def test_warm_up_rises_by_equal_steps_to_the_full_rate():
    assert [rate("warmup-cosine", step) for step in range(10)] == pytest.approx([1e-3 * (step + 1) for step in range(10)])
    assert rate("warmup-cosine", 10) == pytest.approx(1e-2)


def test_cosine_is_half_way_in_the_middle_and_at_the_floor_after_the_end():
    assert rate("warmup-cosine", 30) == pytest.approx((1e-2 + 1e-4) / 2)
    assert rate("warmup-cosine", 50) == rate("warmup-cosine", 70) == pytest.approx(1e-4)


def test_without_warm_up_cosine_begins_at_the_full_rate():
    assert rate("warmup-cosine", 0, warmup_epochs=0.0) == pytest.approx(1e-2)


def test_a_warm_up_longer_than_the_run_never_falls():
    rates = [rate("warmup-cosine", step, warmup_epochs=20.0) for step in range(50)]
    assert rates == sorted(rates)
    assert rate("warmup-cosine", 120, warmup_epochs=20.0) == pytest.approx(1e-2)


@given(st.integers(0, 200), st.floats(0, 12), st.sampled_from(["exponential", "warmup-cosine"]))
def test_no_rate_leaves_the_range_from_floor_to_full(step, warmup, scheduler):
    assert 1e-4 <= rate(scheduler, step, warmup_epochs=warmup) <= 1e-2 * (1 + 1e-12)


def test_plateau_falls_after_each_patience_without_a_lower_loss():
    assert rate("plateau", 0) == 1e-2
    assert rate("plateau", 0, rows(3, 2, 2)) == 1e-2
    assert rate("plateau", 0, rows(3, 2, 2, 2)) == pytest.approx(1e-3)
    assert rate("plateau", 0, rows(3, 2, 2, 2, 2)) == pytest.approx(1e-3)
    assert rate("plateau", 0, rows(3, 2, 2, 2, 1, 1)) == pytest.approx(1e-3)
    assert rate("plateau", 0, rows(3, 2, 2, 2, 2, 2)) == pytest.approx(1e-4)
    assert rate("plateau", 0, rows(*[2] * 40)) == 1e-4


def test_plateau_takes_no_notice_of_a_gain_below_a_ten_thousandth_nor_of_the_sign():
    assert rate("plateau", 0, rows(-2, -2.0001, -2.00015)) == pytest.approx(1e-3)
    assert rate("plateau", 0, rows(-2, -2.0003, -2.0006)) == 1e-2


def test_plateau_goes_by_the_validation_loss_where_there_is_one():
    history = [{"loss": 3 - number, "validation_loss": 1.0} for number in range(3)]
    assert rate("plateau", 0, history) == pytest.approx(1e-3)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(SettingsError, match="no scheduler 'linear'"):
        rate("linear", 0)


def test_batches_left_over_make_a_step_of_their_own():
    assert [steps_in_epoch(batches, 3) for batches in (1, 3, 4, 6)] == [1, 1, 2, 2]


def test_training_stops_after_the_patience_without_a_lower_loss():
    assert not should_stop(rows(3, 2, 2, 2), None)
    assert not should_stop([], 1)
    assert not should_stop(rows(3, 2, 2.5, 2), 3)
    assert should_stop(rows(3, 2, 2.5, 2, 2), 3)
    assert not should_stop(rows(3, 2, 2.5, 2, 1.99), 3)
    assert should_stop(rows(1, math.nan, math.inf), 2)


def test_stopping_and_plateau_follow_what_is_monitored_and_whether_more_is_better():
    history = [{"loss": 3 - number, "misfit": 0.1 * number} for number in range(4)]
    assert not should_stop(history, 2)
    assert should_stop(history, 2, Monitor("misfit"))
    assert not should_stop(history, 2, Monitor("misfit", "max"))
    assert should_stop(history, 2, Monitor("loss", "max"))
    assert rate("plateau", 0, history, Monitor("misfit")) == pytest.approx(1e-3)
    assert rate("plateau", 0, history, Monitor("misfit", "max")) == 1e-2


def varied(deviations, loss=1.0, trivial=100.0):
    return [{"loss": loss / (1 + k), "output_deviation": value, "trivial_loss": trivial} for k, value in enumerate(deviations)]


def test_three_epochs_of_flat_patches_are_a_collapse():
    told = collapse(varied([0.1, 2e-4, 3e-4, 4e-4]))
    assert told is not None
    assert "0.0004" in told
    assert collapse(varied([0.1, 2e-4, 3e-4])) is None
    assert collapse(varied([2e-4, 3e-4, 0.1, 2e-4, 3e-4])) is None
    assert collapse(varied([2e-4, None, 2e-4])) is None
    assert collapse([]) is None


@pytest.mark.parametrize("trivial", [1.0, -1.0])
def test_a_loss_that_stays_at_that_of_a_flat_object_is_a_collapse(trivial):
    def history(gain, stale):
        losses = [trivial + 1, *[trivial - gain * abs(trivial)] * (1 + stale)]
        return [{"loss": loss, "output_deviation": 0.2, "trivial_loss": trivial} for loss in losses]

    told = collapse(history(0.01, 5))
    assert told is not None
    assert "flat object" in told
    assert "5 epochs" in told
    assert collapse(history(0.01, 4)) is None
    assert collapse(history(0.03, 9)) is None
    assert collapse([row | {"trivial_loss": None} for row in history(0.01, 5)]) is None
