"""A picture of a scan: where it was taken, and its mean pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptycho_core.imaging.drawing import default_style, empty_figure
from ptycho_core.spelling import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ptycho_core.scan.scan import Scan
    from ptycho_core.scan.summary import Summary

__all__ = ["figure_of_scan"]

_INK, _LINE, _ACCENT = "#1f2933", "#9aa5b1", "#c2410c"


@default_style()
def figure_of_scan(scan: Scan, summary: Summary) -> Figure:
    """Positions with the probe's width, the mean pattern on a logarithmic scale, and the probe if the file has one."""
    columns = 2 if scan.probe is None else 3
    figure = empty_figure(5.2 * columns, 5.2)
    axes = figure.subplots(1, columns)
    title = f"{printable(scan.source.name)}: {len(scan)} patterns of {scan.size} × {scan.size} pixels"
    figure.suptitle(title, color=_INK, fontsize=13, parse_math=False)
    _draw_positions(axes[0], scan, summary)
    _draw_mean_pattern(figure, axes[1], scan, summary)
    if scan.probe is not None:
        _draw_probe(axes[2], scan)
    return figure


def _draw_positions(axes: Axes, scan: Scan, summary: Summary) -> None:
    from matplotlib.patches import Circle

    pixels = scan.object_pixels_m
    scale, unit = (1.0, "px") if pixels is None else (pixels[0] * 1e6, "µm")
    sides = np.ones(2) if pixels is None else np.array(pixels) * 1e6
    rows, columns = ((scan.positions + scan.size // 2 - scan.positions.min(axis=0)) * sides).T
    axes.plot(columns, rows, color=_LINE, linewidth=0.5, alpha=0.7, zorder=1)
    axes.scatter(columns, rows, s=max(1.5, min(14.0, 3000 / len(scan))), color=_INK, linewidths=0, zorder=2)
    axes.scatter(columns[:1], rows[:1], s=34, facecolor="none", edgecolor=_ACCENT, linewidths=1.4, zorder=4, label="first frame")
    width = summary.overlap.width
    if width is not None:
        axes.add_patch(
            Circle((columns[0], rows[0]), width * scale / 2, facecolor=_ACCENT, alpha=0.16, edgecolor=_ACCENT, zorder=3)
        )
        axes.add_patch(
            Circle(
                (columns[0], rows[0]), width * scale / 2, fill=False, edgecolor=_ACCENT, zorder=3,
                label=f"probe, {width * scale:.3g} {unit} wide",
            )
        )  # fmt: skip
    dense = summary.overlap
    linear = "" if dense.linear is None else f", overlap {dense.linear:.0%}"
    axes.set_title(f"window centres: step {dense.step * scale:.3g} {unit}{linear}", fontsize=11)
    axes.set_xlabel(f"column ({unit})")
    axes.set_ylabel(f"row ({unit})")
    axes.set_aspect("equal")
    axes.margins(0.06)
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, -0.24), ncols=2, frameon=False, fontsize=9)


def _draw_mean_pattern(figure: Figure, axes: Axes, scan: Scan, summary: Summary) -> None:
    import matplotlib as mpl
    from matplotlib.colors import LogNorm

    shown = np.ma.masked_where(~scan.mask, summary.mean_pattern)
    illuminated = shown[shown > 0]
    colours = mpl.colormaps["magma"].with_extremes(bad="#7aa6c2")
    high = float(illuminated.max()) if illuminated.count() else 1.0
    low = max(float(illuminated.min()) if illuminated.count() else 0.1, high * 1e-6)
    image = axes.imshow(np.ma.maximum(shown, low), norm=LogNorm(low, max(high, low * 10)), cmap=colours, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.75, label="mean counts per pixel")
    axes.set_title(f"mean pattern: {summary.mean:.3g} counts", fontsize=11)
    axes.set_xticks([0, scan.size // 2, scan.size - 1])
    axes.set_yticks([0, scan.size // 2, scan.size - 1])


def _draw_probe(axes: Axes, scan: Scan) -> None:
    from matplotlib.colors import hsv_to_rgb

    assert scan.probe is not None
    first = scan.probe[0]
    strength = np.abs(first) / max(float(np.abs(first).max()), 1e-30)
    colour = np.stack(((np.angle(first) / (2 * np.pi)) % 1, np.full(first.shape, 0.85), strength), axis=-1)
    axes.imshow(hsv_to_rgb(colour), interpolation="nearest")
    of = "" if len(scan.probe) == 1 else f", mode 1 of {len(scan.probe)}"
    axes.set_title(f"probe{of}: brightness amplitude, hue phase", fontsize=11)
    axes.set_xticks([0, scan.size // 2, scan.size - 1])
    axes.set_yticks([0, scan.size // 2, scan.size - 1])
