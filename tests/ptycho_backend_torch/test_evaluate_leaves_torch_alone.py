"""What PyTorch keeps for the whole process is as it was after a job."""

import numpy as np
import pytest
import torch

from ptycho_backend_torch.devices import configured
from ptycho_backend_torch.plugin import ptycho_evaluate
from ptycho_core.contract import EvaluateJob, ExecutionPlan
from ptycho_core.errors import CapabilityError


def test_evaluating_leaves_the_state_of_torch_alone():
    job = EvaluateJob(np.ones((9, 9), complex), np.ones((1, 8, 8), complex), np.zeros((2, 2)), np.ones((2, 8, 8)))
    state = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
    ptycho_evaluate(job, ExecutionPlan("cpu", {"precision": "float64", "threads": 1, "deterministic": "on"}, {}, {}))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == state[:2]
    assert torch.equal(torch.random.get_rng_state(), state[2])


def test_products_and_convolutions_keep_all_digits_of_single_precision_and_only_during_a_job():
    def shortened():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = shortened()
    with configured(ExecutionPlan("cpu", {"threads": 1, "deterministic": "on"}, {}, {})):
        assert shortened() == (False, False)
    assert shortened() == before


def test_new_arrays_are_not_filled_first_and_only_during_a_job():
    def filled():
        return torch.utils.deterministic.fill_uninitialized_memory

    assert filled()
    with configured(ExecutionPlan("cpu", {"threads": 1, "deterministic": "on"}, {}, {})):
        assert not filled()
    assert filled()


def test_what_has_no_deterministic_form_is_run_warned_of_or_refused():
    """`torch.Tensor.put_` has none, on a processor neither."""

    def put(word):
        with configured(ExecutionPlan("cpu", {"threads": 1, "deterministic": word}, {}, {})):
            return torch.zeros(2).put_(torch.tensor([1]), torch.tensor([5.0]))

    assert put("off").tolist() == [0, 5]
    with pytest.warns(UserWarning, match="put_ does not have a deterministic implementation"):
        assert put("on").tolist() == [0, 5]
    with pytest.raises(CapabilityError, match="strict: put_ does not have a deterministic implementation") as caught:
        put("strict")
    assert caught.value.exit_status == 4
    assert torch.get_deterministic_debug_mode() == 0
