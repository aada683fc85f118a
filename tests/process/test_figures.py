"""Figures are the same whatever is set for matplotlib, and leave what is set as it is."""

import os

import pytest

from ptycho_core.cli.main import main
from ptycho_core.errors import OutputError
from ptycho_core.imaging import figures
from ptycho_core.imaging.figures import draw, figure_of_losses
from ptycho_core.imaging.report import draw_all

WILD = b"text.usetex: True\nsavefig.format: pdf\nsavefig.bbox: tight\nfigure.dpi: 1e9\nfont.size: 40\nimage.origin: lower\n"
LOSSES = [{"stage": "a$b$", "epoch": 1, "loss": 2.0}, {"stage": "a$b$", "epoch": 2, "loss": 1.0}]

OF_ANOTHER = """
import os, sys
from ptycho_core.imaging.figures import draw, figure_of_losses
before = dict(os.environ)
draw(lambda: figure_of_losses([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]), "ours.png")
assert dict(os.environ) == before
assert "matplotlib.pyplot" not in sys.modules
import matplotlib
from matplotlib import pyplot
assert matplotlib.get_backend() == "svg"
assert matplotlib.rcParams["font.size"] == 40
assert pyplot.get_fignums() == []
pyplot.rcParams["figure.facecolor"] = "red"
settings = dict(matplotlib.rcParams)
draw(lambda: figure_of_losses([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]), "again.png")
assert dict(matplotlib.rcParams) == settings
assert matplotlib.get_backend() == "svg"
assert pyplot.get_fignums() == []
assert open("ours.png", "rb").read() == open("again.png", "rb").read()
"""


@pytest.fixture(scope="module")
def plain(scan, tmp_path_factory):
    """The picture of the scan."""
    path = tmp_path_factory.mktemp("plain") / "plain.png"
    assert main(["inspect", str(scan), "--plot", str(path)]) == 0
    return path.read_bytes()


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (WILD, {"MPLBACKEND": "module://a_package.that_is_not_here", "HOME": "/nonexistent"}),
        (b"\xff\xfe is no UTF-8", {"MPLBACKEND": "nonsense", "MPLCONFIGDIR": "/proc/nowhere"}),
    ],
)
def test_a_picture_does_not_depend_on_what_is_set_for_matplotlib(settings, environment, plain, scan, tmp_path, ptycho):
    (tmp_path / "matplotlibrc").write_bytes(settings)
    done = ptycho("inspect", scan, "--plot", "other.png", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other.png").read_bytes() == plain


def test_settings_of_a_program_that_calls_us_are_neither_used_nor_changed(tmp_path, ptycho):
    home = tmp_path / "home"
    (home / ".config" / "matplotlib").mkdir(parents=True)
    (home / ".config" / "matplotlib" / "matplotlibrc").write_bytes(b"font.size: 40\n")
    done = ptycho(code=OF_ANOTHER, cwd=tmp_path, HOME=str(home), XDG_CONFIG_HOME="", MPLCONFIGDIR="", MPLBACKEND="svg")
    assert done.returncode == 0, done.stderr


def test_a_picture_that_goes_with_a_result_is_a_warning_where_it_fails_and_an_older_one_goes(tmp_path):
    place = tmp_path / "losses.png"
    place.write_bytes(b"older")
    assert draw_all(tmp_path, {"losses.png": lambda: 1 / 0}) == [
        "losses.png could not be drawn: ZeroDivisionError: division by zero."
    ]
    assert not place.exists()
    assert draw_all(tmp_path / "nowhere", {"losses.png": lambda: figure_of_losses(LOSSES)}) == [
        "Cannot write losses.png: No such file or directory."
    ]
    assert draw_all(tmp_path, {"losses.png": lambda: figure_of_losses(LOSSES)}) == []
    assert place.exists()


def test_a_picture_that_was_asked_for_is_an_error_where_it_fails(scan, tmp_path, monkeypatch, capsys):
    with pytest.raises(OutputError, match="could not be drawn: ValueError: no"):
        draw(lambda: (_ for _ in ()).throw(ValueError("no")), tmp_path / "a.png")
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: 1 / 0)
    assert main(["inspect", str(scan), "--plot", str(tmp_path / "a.png")]) == 2
    assert "a.png could not be drawn: ZeroDivisionError" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_title_of_a_picture_is_the_name_of_the_file_whatever_it_is(scan, tmp_path):
    path = tmp_path / os.fsdecode("a$b$\\frac$结果".encode() + b"\xe9.npz")
    path.write_bytes(scan.read_bytes())
    assert main(["inspect", str(path), "--plot", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 10000
