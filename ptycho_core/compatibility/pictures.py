"""The pictures that PtychoPINN's inference leaves: amplitude and phase of the object, each in a separate file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ptycho_core.imaging.drawing import default_style, empty_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["AMPLITUDE", "PHASE", "draw"]

AMPLITUDE = "reconstructed_amplitude.png"
PHASE = "reconstructed_phase.png"


def draw(folder: Path, phase_limits: tuple[float | None, float | None] = (None, None)) -> list[str]:
    """Draw both out of a result folder, over the scanned area, and write them there; a note for each that failed.

    Args:
        folder: of a result.
        phase_limits: radians at the ends of the colors; without one the least or greatest phase. The phase is shown without its
            linear ramp and median, as in ``object.png``.
    """
    import numpy as np

    from ptycho_core.formats.product import load_reconstruction
    from ptycho_core.imaging.area import centre_area
    from ptycho_core.imaging.figures import flattened
    from ptycho_core.imaging.report import draw_all

    found = load_reconstruction(folder)
    rows, columns = found.object.shape
    area = centre_area(found.positions, found.N).within((0, rows), (0, columns))
    image = found.object[area.slices] if min(area.shape) > 1 else found.object
    image = flattened(image, (slice(None), slice(None)))
    drawings = {
        AMPLITUDE: partial(_figure, np.abs(image), "Amplitude", "gray", (None, None)),
        PHASE: partial(_figure, np.angle(image), "Phase (rad)", "magma", phase_limits),
    }
    return draw_all(folder, drawings)


@default_style()
def _figure(values: NDArray[Any], title: str, colors: str, limits: tuple[float | None, float | None]) -> Figure:
    """One picture with its colour bar."""
    figure, (low, high) = empty_figure(6.5, 6.0), limits
    axes = figure.subplots()
    drawn = axes.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title)
    figure.colorbar(drawn, ax=axes)
    return figure
