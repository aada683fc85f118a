"""``ptycho simulate``: make a scan whose truth is known."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_core.cli.streams import say
from ptycho_core.settings.data import PROPAGATORS

if TYPE_CHECKING:
    from ptycho_core.simulate import Simulation

__all__ = ["add_parser", "run"]

# The words stand in the modules that act on them, which load NumPy; a test keeps these equal.
_OBJECTS = ("natural", "random-lines", "siemens-star", "dead-leaves", "random-field")
_PROBES = ("aperture", "disk", "diffuser")
_SCANS = ("raster", "spiral", "random")
_REGIMES = ("far", "near")


def add_parser(subparsers: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="make a scan whose truth is known",
        description="Simulate a scan and write it with its truth as a plain npz file. The same options give the same scan.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("output", metavar="OUT.npz", type=Path, help="file to write")
    parser.add_argument("--overwrite", action="store_true", default=False, help="replace OUT.npz, and PNG, if they exist")
    parser.add_argument("--preview", metavar="PNG", type=Path, default=None, help="draw the truth and one pattern")
    parser.add_argument("--seed", metavar="INT", type=int, help="where all chance comes from (default 0)")
    sample = parser.add_argument_group("object")
    sample.add_argument("--object", choices=_OBJECTS, help="what is imaged (default natural)")
    sample.add_argument(
        "--amplitude", nargs=2, metavar=("LOW", "HIGH"), type=float, help="range of its amplitude, within 0 to 1 (default 0.6 1)"
    )
    sample.add_argument("--phase", nargs=2, metavar=("LOW", "HIGH"), type=float, help="range of its phase, rad (default 0 1)")
    beam = parser.add_argument_group("probe")
    beam.add_argument(
        "--probe", choices=_PROBES,
        help="round aperture out of focus, flat disk, or wide beam behind a diffuser (default aperture; near field: diffuser)",
    )  # fmt: skip
    beam.add_argument("--probe-width", metavar="PX", type=float, help="diameter at the sample, object pixels (default 0.4 N)")
    beam.add_argument(
        "--modes", metavar="INT", type=int, help="incoherent modes, each with 0.2 of the power of the one before (default 1)"
    )
    beam.add_argument(
        "--defocus-fraction",
        metavar="PART",
        type=float,
        help="the guess of the probe has this part of the true defocus; of the diameter for a disk (default 0.85)",
    )
    scan = parser.add_argument_group("scan")
    scan.add_argument("--scan", choices=_SCANS, help="path of the beam (default raster)")
    amount = scan.add_mutually_exclusive_group()
    amount.add_argument("--frames", metavar="INT", type=int, help="number of patterns (default 400)")
    amount.add_argument("--field", metavar="PX", type=float, help="scan a square of this side, object pixels, instead")
    dense = scan.add_mutually_exclusive_group()
    dense.add_argument("--overlap", metavar="PART", type=float, help="linear overlap, 1 - step / probe width (default 0.7)")
    dense.add_argument("--step", metavar="PX", type=float, help="step, object pixels, instead")
    scan.add_argument("--jitter", metavar="PART", type=float, help="scatter of the positions, part of a step (default 0.3)")
    scan.add_argument(
        "--position-error",
        metavar="PX",
        type=float,
        help="rms error of the stated positions along each axis, object pixels (default 0)",
    )
    scan.add_argument("--whole-pixels", dest="subpixel", action="store_false", help="positions on whole pixels")
    beam.add_argument(
        "--flux-error", metavar="PART", type=float, help="rms fluctuation of the dose of frames, part of its mean (default 0)"
    )
    detector = parser.add_argument_group("detector")
    detector.add_argument("--size", metavar="N", type=int, help="pixels across a pattern, even (default 64)")
    detector.add_argument(
        "--photons", metavar="COUNTS", type=float, help="mean counts in a pattern of an empty object (default 1e6)"
    )
    detector.add_argument("--saturation", metavar="COUNTS", type=float, help="counts at which a pixel ends (default 0: no end)")
    detector.add_argument("--no-noise", dest="noise", action="store_false", help="mean counts, float32, without Poisson noise")
    _add_near_field(parser)
    parser.set_defaults(func=run, leaves_files=True)


def _add_near_field(parser: argparse.ArgumentParser) -> None:
    near = parser.add_argument_group("near field")
    near.add_argument("--regime", choices=_REGIMES, help="far field, or near field: the next flags belong to it (default far)")
    near.add_argument("--photon-energy-ev", metavar="EV", type=float, help="photon energy (default 17000)")
    near.add_argument("--detector-distance-m", metavar="M", type=float, help="from sample to detector (default 0.1)")
    near.add_argument("--detector-pixel-size-m", metavar="M", type=float, help="pitch of the detector's pixels (default 0.65e-6)")
    near.add_argument(
        "--focus-to-sample-m", metavar="M", type=float,
        help="from the focus of a divergent beam to the sample, which magnifies it (default: a parallel beam)",
    )  # fmt: skip
    near.add_argument(
        "--propagator", choices=PROPAGATORS, help="default angular-spectrum for a parallel beam, fresnel for a divergent one"
    )


def run(args: argparse.Namespace) -> int:
    """Simulate, write, say what was made."""
    from ptycho_core.cli.progress_bar import progress_of_steps
    from ptycho_core.files.place import check_apart, check_file

    check_apart([args.output, args.preview], [])
    for file in filter(None, (args.output, args.preview)):
        check_file(file, overwrite=args.overwrite)
    from ptycho_core.simulate import SimulationSettings, simulate_scan

    given = {name: getattr(args, name) for name in SimulationSettings.__dataclass_fields__ if name in args}
    for name in ("amplitude", "phase"):
        if name in given:
            given[name] = tuple(given[name])
    with progress_of_steps("simulating patterns") as progress:
        made = simulate_scan(progress=progress, **given)
    made.write(args.output, overwrite=args.overwrite)
    _report(made, args.output)
    if args.preview is not None:
        from ptycho_core.imaging.figures import draw
        from ptycho_core.imaging.simulation_figure import figure_of_simulation

        draw(lambda: figure_of_simulation(made), args.preview)
        say(f"preview     {args.preview}")
    return 0


_GUESSED = {"aperture": "defocus", "disk": "diameter", "diffuser": "way to the detector"}
"""What of a probe its guess has only a part of."""


def _report(made: Simulation, path: Path) -> None:
    from ptycho_core.scan.canvas import overlap

    it, dense = made.settings, overlap(made.positions_true, made.probe_true)
    count, size = made.intensity.shape[:2]
    rows, columns = made.object_true.shape
    assert dense.linear is not None
    say(f"written     {path}")
    print(f"patterns    {count} of {size} x {size} pixels, {made.intensity.dtype}, {it.photons:g} counts with an empty object")
    mean = made.intensity.sum(dtype=float) / count
    print(f"            {mean:.4g} counts on average with the object, peak {made.intensity.max():g}")
    print(f"object      {it.object}, {rows} x {columns} px, amplitude {it.amplitude[0]:g} to {it.amplitude[1]:g},", end=" ")
    print(f"phase {it.phase[0]:g} to {it.phase[1]:g} rad")
    print(f"probe       {it.probe}, {dense.width:.3g} px wide, {it.modes} mode{'s' * (it.modes > 1)};", end=" ")
    print(f"guess with {it.defocus_fraction:.0%} of its {_GUESSED[str(it.probe)]}")
    print(
        f"scan        {it.scan}, step {dense.step:.3g} px (median nearest neighbour), linear overlap {dense.linear:.0%},", end=" "
    )
    print(f"position error {it.position_error:g} px rms, seed {it.seed}")
    if (geometry := it.geometry) is not None and geometry.propagation is not None:
        print(
            f"near field  {it.propagator}, magnified {geometry.magnification:.4g} times, object pixel"
            f" {geometry.object_pixel_m(it.size) * 1e9:.4g} nm, Fresnel number of a pixel {1 / geometry.propagation.distance:.3g}"
        )
    if it.flux_error:
        print(f"flux        varies by {made.flux_true.std():.1%} rms from frame to frame")
