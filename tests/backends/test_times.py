"""The time that a command gives a backend: positive and finite, whatever the command."""

import pytest

from ptycho_core.cli.main import main


@pytest.mark.parametrize("text", ["abc", "0", "-1", "nan", "inf"])
@pytest.mark.parametrize(
    "command", [["backends", "doctor"], ["compare", "a.npz", "-o", "out"], ["model", "verify", "a.ptycho"]], ids=" ".join
)
def test_a_time_that_is_none_is_refused_in_one_sentence(command, text, capsys):
    assert main([*command, f"--timeout={text}"]) == 2
    assert "argument --timeout: must be a positive number of seconds" in capsys.readouterr().err
