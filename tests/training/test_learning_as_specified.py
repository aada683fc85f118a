"""A framework learns as the specification says, in double precision: against a training that is written anew from it alone."""

import pytest
from replayed import BASE, Held, Network, write_scans

pytestmark = pytest.mark.usefixtures("only_the_backend_under_test", "undrawn")


@pytest.fixture
def lessons(tmp_path):
    return write_scans(tmp_path)


def test_a_framework_learns_as_specified(lessons, tmp_path, backend):
    small = {"backend": backend, "precision": "float64", "threads": 1, "update_steps": 1, "n_subsample": 8, "batch_size": 3}
    settings = {"epochs": 2, "optimizer": "sgd", "learning_rate": 1e-3, "train_probe": True, "train_scale": True}
    terms = {"nll_weight": 0.1, "mae_weight": 0.3, "tv_weight": 2.0, "realspace_weight": 3.0, "accumulate_grad_batches": 2}
    held = Held(tmp_path / "run", lessons, BASE | small | settings | terms, Network)
    held.go()
    held.check()
    held.check_exactly()
