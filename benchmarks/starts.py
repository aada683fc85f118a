"""How well a fit starts where the file holds no probe, and how often the way of the axes is found.

    python benchmarks/starts.py [--backend torch] [--data FOLDER] [--only WORD] [starts] [conventions]

`starts`: six simulated scans and the bundled one, from the guess in the file and without it: NRMSE, its ratio, R, and the CPU
seconds before the fit. `conventions`: forty scans whose positions are turned, five simulated and two that rest on measurements:
whether the class is found, up to the twin, with its margin. `FOLDER` holds the scans that do not come with ptycho.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.pupil import Pupil
from ptycho_core.reconstruction.modes import add_probe_modes
from ptycho_core.scan.canvas import object_canvas, probe_width
from ptycho_core.simulation.objects import make_object
from ptycho_core.simulation.positions import make_positions

SCANS = {
    "narrow aperture": {"width": 0.25},
    "aperture, other sign": {"width": -0.4, "picture": "dead-leaves"},
    "wide aperture, spiral": {"width": 0.6, "edge": 1 / 5, "picture": "random-lines", "scan": "spiral"},
    "fast aperture, other sign": {"width": -0.5, "edge": 1 / 4, "picture": "siemens-star"},
    "zone plate with a stop": {"width": 0.4, "stop": 0.4, "size": 128},
    "two modes": {"width": 0.4, "modes": 2},
}
MEASURED = "sample:siemens-star"
TURNED = ("as-stated", "swap", "flip-rows", "flip-both", "swap-flip-columns", "flip-columns")


def simulated(path, number, *, width, edge=1 / 6, stop=0.0, modes=1, picture="natural", scan="raster", size=64, photons=1e5):
    """Write a scan of 200 frames: an aperture of radius ``edge`` N, spread over ``width`` N at the sample by geometric optics."""
    for_positions, for_object, for_noise = (np.random.default_rng([number, part]) for part in range(3))
    pupil = Pupil.of_aperture(size, 2 * edge * size, 2 * stop * edge * size)

    def probe(share):
        return pupil.probe(np.pi * size * width * share / (8 * edge))

    true = add_probe_modes(probe(1.0), modes, number, power=0.2)
    true, guess = (one * np.sqrt(photons) / np.linalg.norm(one) for one in (true, probe(0.85)))
    positions = make_positions(scan, 0.3 * probe_width(true), 200, None, 0.3, for_positions)
    origin, shape = object_canvas(positions, size)
    image = make_object(picture, shape, (0.6, 1.0), (0.0, 1.0), for_object)
    counts = for_noise.poisson(intensities(image, true, positions - origin)).astype(np.uint16)
    arrays = {
        "intensity": counts, "signal": np.array("counts"), "positions_px": positions - origin, "probe_guess": guess.astype("c8"),
        "probe_in_counts": np.array(True), "object_true": image.astype("c8"), "positions_true_px": positions - origin,
    }  # fmt: skip
    write_plain_npz(path, arrays, overwrite=True)
    return path


def starts(backend, _, folder, only):
    """A line for each scan."""
    print(
        "| scan | NRMSE with the guess | without | ratio | R with | without | margin | CPU s before the fit |\n"
        + "|---" * 8
        + "|"
    )
    for number, (name, settings) in enumerate({**SCANS, "measured": None}.items()):
        if only not in name:
            continue
        path = MEASURED if settings is None else simulated(folder / "scan.npz", number, **settings)
        found = {}
        for probe in (None, "auto"):
            more = {} if probe is None else {"probe": probe}
            with searched() as spent:
                found[probe] = ptycho_core.reconstruct(
                    path, backend=backend, threads=1, progress=False, modes=(settings or {}).get("modes", 1), **more
                )
        r = [one.facts["misfit"] for one in found.values()]
        nrmse = [float("nan")] * 2 if settings is None else [ptycho_core.score(one, path).nrmse for one in found.values()]
        made = found["auto"].facts["made_probe"]
        print(
            f"| {name} | {nrmse[0]:.4f} | {nrmse[1]:.4f} | {nrmse[1] / nrmse[0]:.3f} | {r[0]:.4f} | {r[1]:.4f} |"
            f" {made['margin']:.2f} | {spent[0]:.1f} |", flush=True,
        )  # fmt: skip


class searched:  # noqa: N801 - a context
    """CPU seconds that go into making probes while this is open."""

    def __enter__(self):
        import ptycho_core.jobs.beam as beam

        before, spent = beam.with_made_probe, [0.0]

        def call(*arguments):
            began = time.process_time()
            found = before(*arguments)
            spent[0] += time.process_time() - began
            return found

        self._patch = patch.object(beam, "with_made_probe", call)
        self._patch.start()
        return spent

    def __exit__(self, *_):
        self._patch.stop()


def turned(path, scan, name, number):
    """Write a scan without a probe, its positions turned and moved, half of its frames, and the beam up to 2 pixels off."""
    random = np.random.default_rng([number, 7])
    frames = np.arange(len(scan))
    if len(scan) > 100:  # a half that hangs together
        along = scan.positions @ random.normal(size=2)
        frames = np.sort(np.argsort(along)[: len(scan) // 2])
    shift = random.integers(-2, 3, 2)
    counts = np.roll(scan.patterns.read(frames), shift, (1, 2))
    mask = np.roll(scan.mask, shift, (0, 1))
    positions = ORIENTATIONS[name].of_points(scan.positions[frames]) + random.uniform(-1e3, 1e3, 2)
    arrays = {"intensity": counts, "signal": np.array("counts"), "positions_px": positions, "mask": mask}
    write_plain_npz(path, arrays, overwrite=True)


def conventions(backend, data, folder, only):
    """A line for each scan that is turned, and how many were found."""
    print("| scan | turned | found | margin | defocus, rad | scale 0.9, 1.1 | CPU s |\n" + "|---" * 7 + "|")
    tally = {"right": 0, "undecided": 0, "wrong": 0}
    bases = {name: settings for name, settings in SCANS.items() if name != "narrow aperture"} | {MEASURED: None}
    if data is not None:
        bases["26-ID, 20 frames"] = bases["LCLS, semi-real"] = None
    for number, (base, settings) in enumerate(bases.items()):
        if only not in base:
            continue
        scan = opened(base, settings, number, data, folder)
        for name in TURNED[: 6 if settings else 5]:
            turned(folder / "turned.npz", scan, name, number)
            began = time.process_time()
            found = ptycho_core.find_convention(folder / "turned.npz", backend=backend, threads=1, progress=False)
            spent = time.process_time() - began
            both = ORIENTATIONS[found.rows[0]["orientation"]].after(ORIENTATIONS[name]).name
            right = both in ("as-stated", "flip-both")
            word = "undecided" if not found.decided else "right" if right else "wrong"
            tally[word] += 1
            scales = ", ".join(f"{r / found.rows[0]['misfit']:.2f}" for r in found.scales.values())
            print(
                f"| {base} | {name} | {word}{'' if right else f' ({both})'} | {found.margin:.3f}"
                f" | {found.rows[0]['phase_rad']:.4g} | {scales} | {spent:.1f} |", flush=True,
            )  # fmt: skip
    print(tally)


def opened(base, settings, number, data, folder):
    """The scan whose positions will be turned."""
    if settings is not None:
        return open_scan(simulated(folder / "scan.npz", 50 + number, **settings))
    if base.startswith("LCLS"):
        return open_scan(data / "lcls_run1084_semireal" / "run1084_semireal.npz")
    if not base.startswith("26-ID"):
        return open_scan(base)
    from scipy.ndimage import median_filter

    with np.load(data / "aps26id_scan235_20frames" / "test235_truncated.npz") as file:
        counts = file["reciprocal"][:, 128:384, 383:127:-1]
        positions = file["position"] / 8e-9
    mean = counts.mean(axis=0)
    good = (mean >= 0.3) & (mean <= 3 * median_filter(mean, 5))
    write_plain_npz(
        folder / "scan.npz",
        {"intensity": counts.astype(np.uint32), "signal": np.array("counts"), "positions_px": positions, "mask": good},
        overwrite=True,
    )
    return open_scan(folder / "scan.npz")


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["starts", "conventions"])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what in args.what:
            {"starts": starts, "conventions": conventions}[what](args.backend, args.data, Path(folder), args.only)


if __name__ == "__main__":
    main()
