"""Names that networks have elsewhere are answered with what is nearest, in ptycho's commands and in PtychoPINN's alike."""

import re

import pytest

from ptycho_core.cli.main import main
from ptycho_core.compatibility.main import main as of_ptychopinn
from ptycho_core.networks import BUILT_IN, NEAREST


@pytest.mark.parametrize("name", ["cnn", "unet", "U-Net", "fno", "ffno", "hybrid", "transformer"])
def test_a_name_of_another_program_is_answered_with_what_is_nearest(name, capsys):
    assert main(["train", "scan.npz", "-o", "run", "--network", name]) == 2
    assert capsys.readouterr().err.strip() == f"ptycho: --network {name}: network = '{name}' cannot be used: {NEAREST[name]}."
    if name != "cnn":  # what PtychoPINN calls so is what is trained anyway
        assert of_ptychopinn("train", ["--train_data_file", "scan.npz", "--architecture", name]) == 2
        assert f"--architecture {name} is refused: {NEAREST[name]}." in capsys.readouterr().err


@pytest.mark.parametrize(("name", "meant"), [("canvass", "canvas"), ("dep", "deep"), ("compct", "compact")])
def test_a_misspelled_name_is_answered_with_the_right_one(name, meant, capsys):
    assert main(["train", "scan.npz", "-o", "run", "--network", name]) == 2
    assert f"network = '{name}' must be one of compact, deep, canvas. Did you mean '{meant}'?" in capsys.readouterr().err


def test_what_is_named_as_nearest_is_there():
    named = {word for why in NEAREST.values() for word in re.findall(r"--network (\w+)", why)}
    assert named == {"compact", "fourier"}
    assert not {kind.name for kind in BUILT_IN} & NEAREST.keys()
