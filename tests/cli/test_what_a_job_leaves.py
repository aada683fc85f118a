"""A host that calls commands again and again keeps nothing of the jobs before."""

import gc
import weakref
from types import SimpleNamespace

import pytest

from ptycho_core.cli.progress import run_shown


class Ring:
    """Holds itself, so that only the collector lets it go."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def _no_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_what_a_job_left_in_circles_goes_before_the_next_begins():
    payload = SimpleNamespace(groups={"execution": {"progress": False}})
    args = SimpleNamespace(events=None, overwrite=False)
    for _ in range(2):
        left = run_shown(lambda payload, **_: weakref.ref(Ring()), payload, args)
        assert left() is not None
        assert run_shown(lambda payload, left=left, **_: left(), payload, args) is None
