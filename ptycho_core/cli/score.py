"""``ptycho score``: compare a result with a reference."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.streams import say
from ptycho_core.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from ptycho_core.imaging.metrics import Score

__all__ = ["add_parser", "run"]

_LABELS = {
    "nrmse": "NRMSE",
    "correlation": "complex correlation",
    "psnr_amplitude": "PSNR of the amplitude (dB)",
    "ssim_amplitude": "SSIM of the amplitude",
    "psnr_phase": "PSNR of the phase (dB)",
    "ssim_phase": "SSIM of the phase",
    "frc_half": "FRC falls below 1/2 at (fraction of Nyquist)",
    "frc_half_half_period_m": "  half period (m)",
    "frc_seventh": "FRC falls below 1/7 at (fraction of Nyquist)",
    "frc_seventh_half_period_m": "  half period (m)",
    "position_error_px": "rms position error (px)",
    "misfit": "data misfit R",
    "held_out_misfit": "data misfit R, frames held out",
}


def add_parser(commands: Any) -> None:  # noqa: ANN401 - argparse does not export its type
    """Add the command to the parser's ``commands``."""
    parser = commands.add_parser(
        "score",
        help="compare a result with a reference",
        description="Compare the object of RESULT with that of a reference, over the area spanned by the window centres, after "
        "removing a global phase, a phase ramp, one complex scale and a bounded shift.",
    )
    parser.add_argument("result", metavar="RESULT", type=Path, help="result folder, reconstruction.h5, .npz or .npy")
    parser.add_argument("--reference", metavar="FILE", type=Path, required=True, help="file or result folder to compare with")
    parser.add_argument("-o", "--output-dir", "--output", metavar="DIR", type=Path, help="write score.json and score.png there")
    parser.add_argument("--overwrite", action="store_true", help="replace score.json and score.png if they exist")
    parser.add_argument("--twin", action="store_true", help="also try the result rotated by 180 degrees and conjugated")
    parser.add_argument(
        "--max-shift", metavar="PX", type=float,
        help="largest shift removed, in pixels; without it 8, and the search is widened where the shift found lies on that bound",
    )  # fmt: skip
    parser.add_argument("--scan", metavar="FILE", type=Path, help="also compute the data misfit R of RESULT on this scan")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print, and with ``--output-dir`` write."""
    if args.max_shift is not None and not 0 <= args.max_shift < math.inf:
        raise UsageError(f"--max-shift {args.max_shift} is not a number of pixels from 0 on.")
    if args.output_dir is None:
        _show(args, _scored(args)[1])
    else:
        _run_into(args.output_dir, args)
    return 0


def _scored(args: argparse.Namespace) -> tuple[Score, dict[str, Any]]:
    """The score, and all that is printed of it."""
    from ptycho_core.imaging.metrics import score

    found = score(args.result, args.reference, twin=args.twin, max_shift=args.max_shift)
    for note in found.notes:
        say(f"ptycho: warning: {note}", error=True)
    return found, found.as_dict() | ({} if args.scan is None else _misfits(args.result, args.scan))


def _run_into(folder: Path, args: argparse.Namespace) -> None:
    """Score, print and write into a folder; the old score stays until the new one is there."""
    from ptycho_core.files.folder import claimed_folder
    from ptycho_core.files.place import check_apart, check_free
    from ptycho_core.imaging.figures import figure_of_score
    from ptycho_core.imaging.report import draw_all, write_json

    table, figure = folder / "score.json", folder / "score.png"
    check_apart([table, figure], [args.result, args.reference, args.scan])
    for file in (table, figure):
        check_free(file, overwrite=args.overwrite)
    with claimed_folder(folder, overwrite=True):
        found, values = _scored(args)
        _show(args, values)
        write_json(table, values, ready=lambda: figure.unlink(missing_ok=True))
        for note in draw_all(folder, {figure.name: lambda: figure_of_score(found)}):
            say(f"ptycho: warning: {note}", error=True)


def _show(args: argparse.Namespace, values: dict[str, Any]) -> None:
    if args.json:
        print(json.dumps(values, indent=2))
    else:
        _print(values)


def _misfits(result: Path, scan_path: Path) -> dict[str, float]:
    from ptycho_core.formats.product import load_reconstruction
    from ptycho_core.formats.result_scan import scan_of_result
    from ptycho_core.imaging.metrics import data_misfit

    one = load_reconstruction(result)
    scan = scan_of_result(one, result, scan_path)
    # With another mask the factor that brings patterns to `photons` may be another one; R is free of a common factor.
    factor = float(one.facts.get("counts_factor") or scan.counts_factor) / scan.counts_factor
    background = None if one.background is None else one.background / factor
    model = (scan, one.object, one.probe / math.sqrt(factor), one.positions)
    level = one.facts.get("saturation")
    more: dict[str, Any] = {"background": background, "flux": one.flux}
    more["saturation"] = None if level is None else float(level) / factor
    found = {"misfit": data_misfit(*model, **more)}
    if one.held_out_sums is not None:  # from before those frames were fitted too: nothing can be computed again
        differences, amplitudes = one.held_out_sums.sum(axis=0)
        found["held_out_misfit"] = float(differences / amplitudes) if amplitudes > 0 else math.nan
    elif len(one.held_out):
        found["held_out_misfit"] = data_misfit(*model, **more, frames=one.held_out)
    return found


def _print(values: dict[str, Any]) -> None:
    from ptycho_core.settings.components import metrics

    for name, label in _LABELS.items():
        if name in values and not (name in ("position_error_px",) and values[name] is None):
            value = values[name]
            print(_line(label, value))
    for name, kind in metrics().items():
        if name in values:
            say(_line(f"{name} ({', '.join(filter(None, [kind.unit, f'{kind.better} is better']))})", values[name]))
    removed = values["registration"]
    shift, ramp = removed["shift_px"], removed["ramp_rad_per_px"]
    twin = ", twin" if removed["twin"] else ""
    print(f"removed: shift ({shift[0]:.3f}, {shift[1]:.3f}) px{_bound(removed)}, ramp ({ramp[0]:.4g}, {ramp[1]:.4g}) rad/px, "
          f"factor {removed['factor_abs']:.5g} at {removed['factor_phase_rad']:.3f} rad{twin}")  # fmt: skip
    rows, columns = removed["area_rows"], removed["area_columns"]
    print(f"area: rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to {columns[1] - 1} of the reference")


def _line(label: str, value: float | None) -> str:
    return f"{label:<46}{'-' if value is None else format(value, '.5g'):>12}"


def _bound(removed: dict[str, Any]) -> str:
    """What there is to say about the bound of the shift."""
    from ptycho_core.imaging.registration import MAX_SHIFT

    said = ""
    if removed["search_widened"]:
        said += f" (beyond ±{MAX_SHIFT:g} px: search widened to ±{removed['max_shift_px']:g} px)"
    if removed["shift_on_bound"]:
        said += f" (on the bound of ±{removed['max_shift_px']:g} px: a larger --max-shift may fit better)"
    return said
