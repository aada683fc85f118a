"""What is said of a network next to the untrained pass names the rival that is hard to beat."""

import pytest

from ptycho_core.modelfile.trained import told_next_to_untrained

FOUND = {"scans": ["a.npz"], "frames": 9, "network": 0.13, "same_steps": 0.15, "untrained": 0.16, "steps": 7}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"better": True}, "better than untrained: error 0.13, untrained 0.15 after as many steps, on 9"),
        ({"better": False, "same_steps": 0.12}, "no better than untrained: error 0.13, untrained 0.12 after as many steps, on 9"),
        ({"better": True, "same_steps": 0.2}, "better than untrained: error 0.13, untrained 0.16 after as long (7 steps), on 9"),
        (
            {"better": False, "untrained": 0.1},
            "no better than untrained: error 0.13, untrained 0.1 after as long (7 steps), on 9",
        ),
        ({"better": True, "same_steps": None}, "better than untrained: error 0.13, untrained 0.16 after as long (7 steps), on 9"),
    ],
)
def test_the_better_of_both_rivals_is_named(changed, told):
    found = told_next_to_untrained(FOUND | changed)
    assert found == f"The network is {told} frames of a.npz that it did not learn from."
