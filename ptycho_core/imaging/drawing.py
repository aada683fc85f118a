"""How figures are drawn: with matplotlib as it comes, without its global state, and without what the user has set for his own.

A figure must be the same whatever the environment says of matplotlib, must never fail for it, and must leave no trace in the
settings of a notebook that calls us.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["default_style", "empty_figure", "lay_out", "logarithmic"]

_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def empty_figure(width: float, height: float) -> Figure:
    """A figure of that many inches; call it, and draw, in `default_style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def lay_out(figure: Figure) -> None:
    """Place what is in a figure, once and for all."""
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
        figure.set_layout_engine("none")


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic, with labels such as 4 × 10⁻² as plain text: mathtext takes longer than all the rest."""
    from matplotlib.ticker import LogFormatterSciNotation

    class Powers(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return _plain_power(str(super().__call__(x, pos)))

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(Powers())
    axes.yaxis.set_minor_formatter(Powers())


def _plain_power(label: str) -> str:
    """The label of a logarithmic axis without mathtext; as it is, where it is none that is known."""
    found = re.fullmatch(r"\$\\mathdefault\{(?:(.+)\\times)?10\^\{(-?\d+)\}\}\$", label)
    if found is None:
        return label
    factor, power = found.groups()
    return (f"{factor} × " if factor else "") + "10" + power.translate(_RAISED)


@contextlib.contextmanager
def default_style() -> Iterator[None]:
    """While figures are made or written: matplotlib's own defaults for all but the backend, which nothing here asks for."""
    matplotlib = _matplotlib()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=matplotlib.MatplotlibDeprecationWarning)  # among the settings
        warnings.filterwarnings("ignore", r"Glyph \d+")  # a character of a file's name that the font lacks
        with matplotlib.rc_context({name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}):
            yield


def _matplotlib() -> Any:  # noqa: ANN401 - a module
    """matplotlib; if we are the first to import it, as the user would find it had he imported it himself."""
    if "matplotlib" not in sys.modules:
        try:
            _import()
        except Exception:  # noqa: BLE001 - the user's settings cannot be read, or not be acted on
            for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
                del sys.modules[name]
            with contextlib.chdir(Path(__file__).parent):  # a file of settings in the working directory comes first
                _import(without_settings=True)
    import matplotlib as mpl

    return mpl


def _import(*, without_settings: bool = False) -> None:
    """Import what draws; the environment stays as it is, and a home folder without a folder of matplotlib's too."""
    kept = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")}
    try:
        if not without_settings:
            os.environ.update({name: value for name, value in kept.items() if value is not None and name != "MPLBACKEND"})
        if not os.environ.get("MPLCONFIGDIR") and (without_settings or not _has_folder()):
            folder = os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="ptycho-matplotlib-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        import matplotlib as mpl
        import matplotlib.backends.backend_agg
        import matplotlib.figure
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
    if kept["MPLBACKEND"]:
        with contextlib.suppress(ValueError):  # a word that matplotlib does not know
            mpl.rcParams["backend"] = kept["MPLBACKEND"]


def _has_folder() -> bool:
    """Whether matplotlib has a folder for its settings at home already; else it would make one."""
    try:
        if sys.platform.startswith(("linux", "freebsd")):
            above = os.environ.get("XDG_CONFIG_HOME")
            return os.access((Path(above) if above else Path.home() / ".config") / "matplotlib", os.W_OK)
        return os.access(Path.home() / ".matplotlib", os.W_OK)
    except RuntimeError:  # there is no home
        return False
