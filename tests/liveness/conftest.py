"""With a backend that lacks a verb, the tests of that verb are left out."""

import pytest
from liveness_table import names


@pytest.fixture(autouse=True)
def _only_verbs_of_the_backend(request: pytest.FixtureRequest, backend: str) -> None:
    case = getattr(request.node, "callspec", None)
    if case is not None and "verb" in case.params and not names(case.params["verb"], backend):
        pytest.skip(f"{backend} has no {case.params['verb']}")
