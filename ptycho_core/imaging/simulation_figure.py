"""A picture of a simulated scan and its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_core.imaging.drawing import default_style, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ptycho_core.simulate import Simulation

__all__ = ["figure_of_simulation"]


@default_style()
def figure_of_simulation(made: Simulation) -> Figure:
    """Amplitude and phase of the object with the true window centres, amplitude of the probe, and the middle pattern."""
    figure = empty_figure(17.0, 4.0)
    axes = figure.subplots(1, 4)
    size = made.intensity.shape[1]
    rows, columns = (made.positions_true + size // 2).T
    _show(figure, axes[0], np.abs(made.object_true), "object: amplitude", "gray", "")
    _show(figure, axes[1], np.angle(made.object_true), "object: phase", "gray", "rad")
    axes[1].plot(columns, rows, ".", markersize=2, color="#c2410c")
    amplitude = np.sqrt((np.abs(made.probe_true) ** 2).sum(axis=0))
    _show(figure, axes[2], amplitude, "probe: amplitude, all modes", "magma", "√counts")
    middle = len(made.intensity) // 2
    _show(
        figure,
        axes[3],
        np.log10(1 + made.intensity[middle].astype(np.float64)),
        f"pattern {middle}",
        "magma",
        "log₁₀(1 + counts)",
    )
    return figure


def _show(figure: Figure, axes: Axes, picture: NDArray[Any], title: str, colours: str, unit: str) -> None:
    image = axes.imshow(picture, cmap=colours, interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.colorbar(image, ax=axes, shrink=0.75, label=unit)
