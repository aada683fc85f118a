"""Figures of objects, probes, losses and comparisons, drawn with matplotlib's Agg canvas and without its global state."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ptycho_core.errors import OutputError, PtychoError
from ptycho_core.files.whole import write_whole
from ptycho_core.imaging.area import Area, centre_area
from ptycho_core.imaging.drawing import default_style, empty_figure, lay_out, logarithmic
from ptycho_core.spelling import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ptycho_core.imaging.metrics import Score

__all__ = [
    "Picture",
    "draw",
    "figure_of_comparison",
    "figure_of_frames",
    "figure_of_losses",
    "figure_of_object",
    "figure_of_probe",
    "figure_of_score",
    "flattened",
    "save_figure",
]

Picture: TypeAlias = "tuple[str, NDArray[Any], NDArray[Any]]"
"""Title, a registered object (rows, columns), complex, and the reference over the same area."""

_MARGIN = 0.08  # of the scanned area's longer side, shown around it
_RAMP_ROUNDS = 4


@default_style()
def figure_of_object(
    object: NDArray[Any],  # noqa: A002 - the field's word
    *,
    positions: NDArray[np.floating[Any]] | None = None,
    window: int = 0,
    pixel_size_m: tuple[float, float] | None = None,
) -> Figure:
    """Amplitude and phase of an object side by side, with a scale bar and, given positions, the scanned area outlined.

    Colours span the 0.5th to 99.5th percentile of the scanned area. The phase is shown without its linear ramp and median.

    Args:
        object: (rows, columns), complex.
        positions: (frame, 2), (row, column) of the windows' ``[0, 0]`` corners; what is shown is their area and a margin.
        window: number of pixels N across a window.
        pixel_size_m: object pixel (row, column) in metres; without it the scale bar is in pixels.
    """
    whole = Area(0, object.shape[0], 0, object.shape[1])
    area = whole if positions is None else centre_area(positions, window).within((0, whole.row_stop), (0, whole.column_stop))
    area = area if min(area.shape) > 1 else whole
    margin = round(_MARGIN * max(area.shape)) if positions is not None else 0
    crop = Area(area.row_start - margin, area.row_stop + margin, area.column_start - margin, area.column_stop + margin)
    crop = crop.within((0, whole.row_stop), (0, whole.column_stop))
    inside = (
        slice(area.row_start - crop.row_start, area.row_stop - crop.row_start),
        slice(area.column_start - crop.column_start, area.column_stop - crop.column_start),
    )
    image = flattened(np.asarray(object)[crop.slices], inside)
    height = 5.4 * min(1.6, max(0.5, crop.shape[0] / crop.shape[1])) + 0.7
    figure = empty_figure(13.0, height)
    for axes, values, title, colours in zip(
        figure.subplots(1, 2), (np.abs(image), np.angle(image)), ("Amplitude", "Phase (rad)"), ("gray", "magma"), strict=True
    ):
        _picture(figure, axes, values, title, colours, _limits(values[inside]))
        _scale_bar(axes, crop.shape, pixel_size_m)
        if positions is not None:
            _outline(axes, inside)
    return figure


@default_style()
def figure_of_probe(probe: NDArray[Any], *, pixel_size_m: tuple[float, float] | None = None) -> Figure:
    """Each mode of a probe (mode, N, N) in complex colour with its share of the power; below, amplitude here and on the detector.

    Hue is the phase and brightness the amplitude, up to the 99.9th percentile of each mode. At most six modes are drawn.
    """
    power = (np.abs(probe) ** 2).sum(axis=(1, 2))
    shares = power / power.sum() if power.sum() > 0 else power
    shown = min(len(probe), 6)
    figure = empty_figure(3.2 * max(shown, 2) + 0.4, 9.4)
    grid = figure.subplots(3, shown, squeeze=False)
    for mode in range(shown):
        axes = grid[0, mode]
        axes.imshow(_complex_colour(probe[mode]), interpolation="nearest")
        axes.set_title(f"Mode {mode + 1}: {100 * shares[mode]:.1f} %")
        axes.set_xticks([])
        axes.set_yticks([])
        _scale_bar(axes, probe.shape[1:], pixel_size_m)
        far = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe[mode]), norm="ortho")))
        _picture(figure, grid[1, mode], np.abs(probe[mode]), "Amplitude (√counts)", "viridis", _bright(probe[mode]))
        _picture(figure, grid[2, mode], far, "On the detector (√counts)", "viridis", None)
    return figure


@default_style()
def figure_of_losses(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and misfit of history rows, also of frames held out and in validation; stages are marked.

    Axes are logarithmic where all values are positive.
    Curves are broken between stages, which may differ in what they compare: another loss, or a part of the detector.
    """
    figure = empty_figure(10.0, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True)
    steps = np.arange(1, len(history) + 1)
    for axes, names in ((top, ("loss", "validation_loss")), (bottom, ("misfit", "held_out", "validation_misfit"))):
        drawn = []
        for name, colour in zip(names, ("tab:blue", "tab:orange", "tab:green"), strict=False):
            values = np.array([_number(row.get(name)) for row in history])
            known = np.isfinite(values)
            if known.any():
                label = {"held_out": "held-out frames", "misfit": "misfit R"}.get(name, name.replace("_", " "))
                for begin, end in _stages(history):
                    part = known & (steps > begin) & (steps <= end)
                    axes.plot(steps[part], values[part], "o-", color=colour, markersize=3, linewidth=1.2, label=label)
                    label = "_"  # one entry in the legend
                drawn.append(values[known])
        if drawn and all((values > 0).all() for values in drawn):
            logarithmic(axes)
        if drawn:
            axes.legend(loc="upper right", frameon=False)
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.set_ylabel("loss" if axes is top else "R")
        _mark_stages(axes, history, labels=axes is top)
    bottom.set_xlabel("epoch or iteration")
    return figure


@default_style()
def figure_of_frames(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Where each frame lies, how the fit moved it there, and R, counts, flux and shift by frame number, in the color of R.

    Rows are as in ``frames.csv``.
    """
    columns = {name: np.array([_number(row.get(name)) for row in rows]) for name in rows[0]}
    shift = np.hypot(columns["shift_row"], columns["shift_column"])
    held_out = columns["held_out"] > 0
    flux = [("flux", columns["flux"])] if np.isfinite(columns["flux"]).any() else []
    graphs = [("R", columns["misfit"]), ("counts", columns["counts"]), *flux, *([("shift (px)", shift)] if shift.any() else [])]
    figure = empty_figure(13.0, 6.0)
    grid = figure.add_gridspec(len(graphs), 2, width_ratios=(1, 1.5))
    colors: dict[str, Any] = {"c": columns["misfit"], "s": 14, "cmap": "viridis_r"}
    place = figure.add_subplot(grid[:, 0])
    if shift.any():
        gap = np.full(len(rows), np.nan)  # one line for all frames, with gaps
        ends = [(columns[name] - columns[f"shift_{name}"], columns[name], gap) for name in ("column", "row")]
        place.plot(*(np.stack(points, 1).ravel() for points in ends), color="0.6", linewidth=0.8, zorder=0)
    place.scatter(columns["column"], columns["row"], **colors)
    place.set(
        xlabel="column (px)",
        ylabel="row (px)",
        aspect="equal",
        title="Frames, in the color of R" + ("; lines: from where they were stated" if shift.any() else ""),
    )
    place.invert_yaxis()
    for line, (label, values) in enumerate(graphs):
        axes = figure.add_subplot(grid[line, 1])
        axes.scatter(columns["frame"], values, **colors)
        if label == "R" and held_out.any():
            axes.plot(columns["frame"][held_out], values[held_out], "o", color="tab:red", markersize=6, fillstyle="none")
            axes.set_title("Circles: held out")
        highest = max(values[np.isfinite(values)], default=0.0)
        axes.set(ylabel=label, ylim=(0, 1.1 * highest or None))  # room for the marks of the highest, also where all are equal
        axes.grid(visible=True, alpha=0.25)
    axes.set_xlabel("frame")
    return figure


@default_style()
def figure_of_score(score: Score, names: tuple[str, str] = ("Reference", "Result")) -> Figure:
    """Reference, registered result and their difference in amplitude and phase, and the Fourier ring correlation.

    Args:
        score: of the two.
        names: what they are called.
    """
    from ptycho_core.imaging.metrics import phases

    reference, image = score.reference, score.registration.aligned
    reference_scale = np.median(np.abs(reference)) or 1.0
    phase, reference_phase = phases(flattened_like(image, reference), flattened_like(reference, reference))
    rows = ((np.abs(reference), np.abs(image), "gray", "amplitude"), (reference_phase, phase, "magma", "phase (rad)"))
    figure = empty_figure(17.5, 8.6)
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 1, 1.15))
    for row, (first, second, colours, what) in enumerate(rows):
        limits = _limits(first)
        _picture(figure, figure.add_subplot(grid[row, 0]), first, f"{names[0]}, {what}", colours, limits)
        _picture(figure, figure.add_subplot(grid[row, 1]), second, f"{names[1]}, {what}", colours, limits)
        reach = float(np.percentile(np.abs(second - first), 99.5)) or 1e-6 * float(reference_scale)
        _picture(figure, figure.add_subplot(grid[row, 2]), second - first, f"Difference, {what}", "RdBu_r", (-reach, reach))
    axes = figure.add_subplot(grid[:, 3])
    axes.plot(score.frc.frequency, score.frc.correlation, color="tab:blue")
    for threshold, label in ((1 / 2, "1/2"), (1 / 7, "1/7")):
        axes.axhline(threshold, color="0.4", linestyle="--", linewidth=0.8)
        crossing = score.frc.crossing(threshold)
        text = f"{label}: not crossed" if crossing is None else f"{label}: {crossing:.2f} Nyquist"
        axes.text(0.02, threshold + 0.01, text, fontsize=9)
    axes.set(xlim=(0, 1), ylim=(min(0.0, float(score.frc.correlation.min())), 1.03))
    axes.set(xlabel="spatial frequency / Nyquist", title="Fourier ring correlation")
    axes.grid(visible=True, alpha=0.25)
    figure.suptitle(f"NRMSE {score.nrmse:.4f}, complex correlation {score.correlation:.5f}")
    return figure


@default_style()
def figure_of_comparison(pictures: Sequence[Picture], *, pixel_size_m: tuple[float, float] | None = None) -> Figure:
    """Amplitude, and below it phase, of several objects side by side, in the colours of the first.

    Args:
        pictures: at least one; where it is known, the reference itself comes first.
        pixel_size_m: object pixel (row, column) in metres; without it the scale bar is in pixels.
    """
    from ptycho_core.imaging.metrics import phases

    rows, columns = pictures[0][1].shape
    side = 4.2
    figure = empty_figure(side * len(pictures) + 0.4, 2 * side * min(1.6, max(0.5, rows / columns)) + 0.4)
    grid = figure.subplots(2, len(pictures), squeeze=False)
    limits: list[tuple[float, float]] = []
    for column, (title, image, reference) in enumerate(pictures):
        phase = phases(flattened_like(image, reference), flattened_like(reference, reference))[0]
        shown = ((np.abs(image), f"{title}\namplitude", "gray"), (phase, "phase (rad)", "magma"))
        for row, (values, label, colours) in enumerate(shown):
            limits += [_limits(values)] if column == 0 else []
            _picture(figure, grid[row, column], values, label, colours, limits[row])
            _scale_bar(grid[row, column], values.shape, pixel_size_m)
    return figure


@default_style()
def save_figure(figure: Figure, path: str | Path, *, dpi: int = 110) -> Path:
    """Write a figure as PNG in one step; its size is the figure's inches times ``dpi``.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas, place, image = FigureCanvasAgg(figure), Path(path), BytesIO()
    figure.set_dpi(dpi)
    lay_out(figure)  # `savefig` would draw the whole figure twice: once to lay it out
    canvas.print_png(image)  # type: ignore[no-untyped-call]
    write_whole(place, image.getbuffer())
    return place


def draw(make: Callable[[], Figure], path: str | Path) -> Path:
    """Make a figure and write it as PNG in one step.

    Raises:
        OutputError: it cannot be made or written, whatever the reason.
    """
    try:
        return save_figure(make(), path)
    except PtychoError:
        raise
    except Exception as error:
        raise OutputError(f"{path} could not be drawn: {type(error).__name__}: {error}.") from error


def flattened(image: NDArray[Any], inside: tuple[slice, slice]) -> NDArray[np.complex128]:
    """The image without the linear phase ramp and the median phase of the part ``inside``, for display.

    The ramp is the mean phase difference of neighbouring pixels, weighted by their amplitudes; no phase is unwrapped.
    """
    result = np.asarray(image, dtype=np.complex128)
    rows, columns = np.arange(image.shape[0])[:, None], np.arange(image.shape[1])[None, :]
    for _ in range(_RAMP_ROUNDS):
        part = result[inside]
        down, right = (float(np.angle(np.vdot(a, b))) for a, b in ((part[:-1], part[1:]), (part[:, :-1], part[:, 1:])))
        result = result * np.exp(-1j * (down * rows + right * columns))
    part = result[inside]
    result = result * np.exp(-1j * np.angle(part.sum()))
    return np.asarray(result * np.exp(-1j * np.median(np.angle(result[inside]))), dtype=np.complex128)


def flattened_like(image: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.complex128]:
    """The image multiplied by the phase factor and ramp that flatten ``reference``."""
    everywhere = (slice(None), slice(None))
    factor = flattened(reference, everywhere) * np.conj(reference)
    return np.asarray(image * np.exp(1j * np.angle(np.where(np.abs(factor) > 0, factor, 1.0))), dtype=np.complex128)


def _picture(
    figure: Figure, axes: Axes, values: NDArray[Any], title: str, colours: str, limits: tuple[float, float] | None
) -> None:
    low, high = limits or (None, None)
    shown = axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(printable(title), parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02)


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high - low > 1e-9 * max(1.0, abs(high)) else (low - 0.5, high + 0.5)


def _outline(axes: Axes, inside: tuple[slice, slice]) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = inside
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="tab:cyan", linewidth=1.0, linestyle="--"))


def _scale_bar(axes: Axes, shape: tuple[int, ...], pixel_size_m: tuple[float, float] | None) -> None:
    """A bar of a round length, about a quarter of the picture, at its lower left."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    rows, columns = shape
    pixel = 1.0 if pixel_size_m is None else pixel_size_m[1]
    target = columns * pixel / 4
    decade = 10.0 ** np.floor(np.log10(target))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= target)
    x, y, width, height = 0.04 * columns, 0.94 * rows, length / pixel, 0.012 * rows
    axes.add_patch(Rectangle((x, y), width, height, facecolor="white", edgecolor="black", linewidth=0.6))
    stroke = [withStroke(linewidth=2, foreground="black")]
    label = f"{length:g} px" if pixel_size_m is None else _metres(length)
    axes.text(x + width / 2, y - 0.01 * rows, label, color="white", ha="center", va="bottom", fontsize=10, path_effects=stroke)


def _metres(length: float) -> str:
    for unit, size in (("mm", 1e-3), ("µm", 1e-6), ("nm", 1e-9)):
        if length >= 0.999 * size:
            return f"{length / size:g} {unit}"
    return f"{length / 1e-12:g} pm"


def _bright(image: NDArray[Any]) -> tuple[float, float]:
    """From zero to the 99.9th percentile of the amplitude, so that one hot pixel does not darken the rest."""
    return 0.0, float(np.percentile(np.abs(image), 99.9)) or 1.0


def _complex_colour(image: NDArray[Any]) -> NDArray[np.float64]:
    from matplotlib.colors import hsv_to_rgb

    amplitude = np.abs(image)
    brightness = np.clip(amplitude / _bright(image)[1], 0.0, 1.0)
    hue = (np.angle(image) / (2 * np.pi)) % 1.0
    return np.asarray(hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), brightness], axis=-1)), dtype=np.float64)


def _number(value: Any) -> float:  # noqa: ANN401 - a cell of a history row
    return float("nan") if value is None or isinstance(value, str) else float(value)


def _stages(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """First row and row after the last of each stage."""
    names = [row.get("stage") for row in history]
    starts = [step for step in range(len(names)) if step == 0 or names[step] != names[step - 1]]
    return list(zip(starts, [*starts, len(names)][1:], strict=True))


def _mark_stages(axes: Axes, history: Sequence[Mapping[str, Any]], *, labels: bool) -> None:
    last = -math.inf
    for begin, _ in _stages(history):
        stage = history[begin].get("stage")
        axes.axvline(begin + 0.5, color="0.6", linewidth=0.8, linestyle=":")
        room = begin - last > 0.06 * len(history)  # else the words would lie on each other
        if labels and stage:
            axes.text(
                begin + 0.6, 1.01 if room else 1.05, printable(str(stage)),
                transform=axes.get_xaxis_transform(), fontsize=8, va="bottom", parse_math=False,
            )  # fmt: skip
        last = begin if room else -math.inf
