"""``ptycho inspect``: say what is in a scan file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.data_flags import add_data_flags, given_data
from ptycho_core.spelling import shown

if TYPE_CHECKING:
    import argparse

    from ptycho_core.formats.opening import Opened
    from ptycho_core.scan.scan import Scan
    from ptycho_core.scan.summary import Summary

__all__ = ["add_parser", "run"]

_COUNTS = ("mean", "faintest", "brightest", "peak", "total", "zeros", "whole", "empty_frames")


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what is in a scan file",
        description="Say what is in a scan file: which format reads it and why, what was taken from where and what was left "
        "aside, in which units, and what was decided on reading it. 'ptycho formats' lists formats. Nothing is written unless "
        "asked for.",
    )
    parser.add_argument("file", metavar="FILE", help="scan file or folder, or sample:siemens-star for the bundled one")
    parser.add_argument("--plot", metavar="PNG", type=Path, help="write a picture of positions, mean pattern and probe")
    parser.add_argument("--overwrite", action="store_true", help="replace PNG if it exists")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_data_flags(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Read, print, and with ``--plot`` draw."""
    given = given_data(args)
    from ptycho_core.cli.progress_bar import progress_of_steps
    from ptycho_core.files.place import check_apart, check_file
    from ptycho_core.formats.opening import opened, scan_path
    from ptycho_core.scan.summary import summarise
    from ptycho_core.settings.data import FILES, file_of

    if args.plot is not None:
        named = [file_of(name, given.get(name)) for name in FILES]
        check_apart([args.plot], [scan_path(args.file), *named])
        check_file(args.plot, overwrite=args.overwrite)
    found = opened(args.file, given)
    scan = found.scan
    with progress_of_steps("reading patterns") as progress:
        summary = summarise(scan, progress)
    if args.json:
        import json

        print(json.dumps(_facts(found, summary), indent=2))
    else:
        print("\n".join(_lines(found, summary)))
    if args.plot is not None:
        from ptycho_core.imaging.figures import draw
        from ptycho_core.imaging.scan_figure import figure_of_scan

        draw(lambda: figure_of_scan(scan, summary), args.plot)
        if not args.json:
            print(f"\n{shown(f'picture     {args.plot}')}")
    return 0


def _lines(found: Opened, summary: Summary) -> list[str]:
    scan = found.scan
    dense, pixel = summary.overlap, scan.object_pixel_m
    patterns, mask = scan.patterns, scan.mask
    rows = [
        ("file", str(scan.source)),
        ("format", scan.format),
        ("", f"--format {found.form.name}: it {found.evidence.reason}"),
        *(("with", str(path)) for path in found.files),
        *([("used", ", ".join(found.used))] if found.used else []),
        *([("left aside", ", ".join(found.aside))] if found.aside else []),
        ("patterns", f"{len(scan)} of {scan.size} x {scan.size} pixels, stored as {patterns.dtype} {scan.signal}"),
        ("counts", f"{summary.mean:.4g} in a pattern on average ({summary.faintest:.4g} to {summary.brightest:.4g})"),
        ("", f"{summary.peak:.6g} in the brightest pixel, {summary.total:.4g} in all, {summary.zeros:.1%} of the pixels zero"),
        ("mask", "all pixels good" if mask.all() else f"{int((~mask).sum())} of {mask.size} pixels bad"),
        ("positions", f"span {_length(summary.extent[0], pixel)} (rows) x {_length(summary.extent[1], pixel)} (columns)"),
        ("", f"object of at least {summary.canvas[0]} x {summary.canvas[1]} px"),
        (
            "step",
            f"{_length(dense.step, pixel)} to the nearest neighbour (median); one frame per ({_length(dense.spacing, pixel)})²",
        ),
    ]
    if dense.linear is not None and dense.width is not None:
        rows.append(("overlap", f"{dense.linear:.0%} linear (1 - step / width); the probe is {_length(dense.width, pixel)} wide"))
    rows += [("probe", line) for line in _probe_lines(scan, summary)]
    if scan.object_guess is not None:
        rows.append(("object", f"a guess of {scan.object_guess.shape[0]} x {scan.object_guess.shape[1]} px"))
    if scan.scan_index is not None:
        rows.append(("scans", f"{len(set(scan.scan_index.tolist()))} by 'scan_index'"))
    if scan.geometry is None or pixel is None:
        scale = "lengths are in object pixels" if pixel is None else f"object pixel {pixel * 1e9:.4g} nm"
        rows.append(("geometry", f"energy, distance and detector pixel not all known: {scale}"))
    else:
        it = scan.geometry
        setup = f"{it.photon_energy_ev:g} eV, {it.detector_distance_m:g} m, detector pixel {it.detector_pixel_size_m:g} m"
        rows.append(("geometry", setup))
        rows.append(("", f"object pixel {pixel * 1e9:.4g} nm"))
        rows.append(("regime", _regime(scan)))
    rows += [("note", note) for note in scan.notes]
    rows += [("doubt", doubt.sentence) for doubt in summary.doubts]
    return [shown(f"{label:<11} {text}") for label, text in rows]


def _regime(scan: Scan) -> str:
    from ptycho_core.scan.regime import fresnel_numbers

    it, numbers = scan.geometry, fresnel_numbers(scan)
    assert it is not None
    said = "far field" if it.propagation is None else f"near field, {it.propagator}, magnified {it.magnification:.4g} times"
    if numbers is None:
        return said
    hint = f", which suggests the {numbers.suggests} field" if numbers.suggests else ""
    of_beam = f"of {'the probe' if numbers.of_probe else 'the detector'} {numbers.beam:.3g}{hint}"
    return f"{said}; Fresnel number of a pixel {numbers.pixel:.3g}, {of_beam}"


def _probe_lines(scan: Scan, summary: Summary) -> list[str]:
    if scan.probe is None or summary.probe_counts is None:
        return ["none in the file; reconstruct and train make one from the patterns (--probe auto)"]
    powers = ", ".join(f"{part:.1%}" for part in summary.mode_powers)
    scale = "in counts" if scan.probe_scaled else "in a scale that the file does not state"
    modes = "1 mode" if len(summary.mode_powers) == 1 else f"{len(summary.mode_powers)} modes ({powers})"
    return [f"{modes}, {scan.probe.dtype}, sum of squares {summary.probe_counts:.4g} {scale}"]


def _length(pixels: float, pixel_m: float | None) -> str:
    return f"{pixels:.4g} px" + ("" if pixel_m is None else f" = {pixels * pixel_m * 1e6:.4g} µm")


def _facts(found: Opened, summary: Summary) -> dict[str, Any]:
    from ptycho_core.scan.regime import fresnel_numbers

    scan = found.scan
    dense = summary.overlap
    it, numbers = scan.geometry, fresnel_numbers(scan)
    return {
        "file": str(scan.source),
        "format": scan.format,
        "format_name": found.form.name,
        "evidence": found.evidence.reason,
        "files": [str(path) for path in found.files],
        "used": list(found.used),
        "left_aside": list(found.aside),
        "patterns": {"shape": list(scan.patterns.shape), "dtype": str(scan.patterns.dtype), "signal": scan.signal},
        "counts": {name: getattr(summary, name) for name in _COUNTS},
        "bad_pixels": int((~scan.mask).sum()),
        "positions_px": {
            "extent": list(summary.extent),
            "canvas": list(summary.canvas),
            "step": dense.step,
            "spacing": dense.spacing,
        },
        "overlap": dense.linear,
        "probe": None
        if scan.probe is None
        else {
            "shape": list(scan.probe.shape),
            "dtype": str(scan.probe.dtype),
            "width_px": dense.width,
            "mode_powers": list(summary.mode_powers),
            "sum_of_squares": summary.probe_counts,
            "in_counts": scan.probe_scaled,
        },
        "object_guess": None if scan.object_guess is None else list(scan.object_guess.shape),
        "scans": None if scan.scan_index is None else len(set(scan.scan_index.tolist())),
        "geometry": None if it is None else vars(it) | {"object_pixel_m": scan.object_pixel_m},
        "regime": {"suggested": "" if numbers is None else numbers.suggests}
        | ({} if numbers is None else {"fresnel_number_of_pixel": numbers.pixel, "fresnel_number_of_beam": numbers.beam}),
        "margin": scan.margin,
        "notes": list(scan.notes),
        "doubts": [doubt.sentence for doubt in summary.doubts],
        "kinds_of_doubts": [{"kind": doubt.kind, "severity": doubt.severity} for doubt in summary.doubts],
    }
