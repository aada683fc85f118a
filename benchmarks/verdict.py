"""What the verdict says of sound scans, and what it costs.

    python benchmarks/verdict.py [--backend torch] [--seeds 20] [sound] [few] [cost]

`sound`: six kinds of sound scans, each with several seeds: how many are good, doubtful, unusable, with the range of R over noise.
`few`: scans of few photons: NRMSE next to that of a flat object. `cost`: the part of the CPU seconds of a default run that goes
into doubts, frames held out, photon noise and verdict.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import ptycho_core
from ptycho_core.simulate import simulate_scan

SOUND = {
    "pictures, 10⁶ counts": {},
    "dead leaves, 10⁵ counts": {"object": "dead-leaves", "photons": 1e5},
    "random lines, spiral, 10⁴ counts": {"object": "random-lines", "scan": "spiral", "photons": 1e4},
    "random field, random positions, 10⁷ counts": {"object": "random-field", "scan": "random", "photons": 1e7, "overlap": 0.75},
    "star, 32 pixels, 10⁶ counts": {"object": "siemens-star", "size": 32, "frames": 200},
    "pictures, 10⁹ counts": {"photons": 1e9},
}
FAMILIES = ("natural", "random-lines", "siemens-star", "dead-leaves", "random-field")


def reconstructed(path, backend, **settings):
    """A result with defaults, on one thread."""
    return ptycho_core.reconstruct(path, backend=backend, threads=1, progress=False, **settings)


def sound(backend, seeds, folder):
    """A line for each kind of sound scan."""
    print("| sound scans | good | doubtful | unusable | R over noise | of frames held out |\n|---|---|---|---|---|---|")
    for name, settings in SOUND.items():
        words, fitted, held_out = Counter(), [], []
        for seed in range(100, 100 + seeds):
            path = simulate_scan(**{"frames": 144, "seed": seed, **settings}).write(folder / "scan.npz", overwrite=True)
            facts = reconstructed(path, backend).facts
            words[facts["verdict"]] += 1
            fitted.append(facts["misfit_over_noise"])
            held_out.append(facts["held_out_misfit_over_noise"])
            if facts["verdict"] != "good":
                print(f"seed {seed}: {facts['verdict']}: {facts['verdict_reasons']}")
        counts = " | ".join(str(words[word]) for word in ("good", "doubtful", "unusable"))
        ranges = " | ".join(f"{min(values):.2f} to {max(values):.2f}" for values in (fitted, held_out))
        print(f"| {name} | {counts} | {ranges} |", flush=True)


def few(backend, seeds, folder):
    """A line for each dose and family."""
    print("| counts a pattern | object | NRMSE | of a flat object | worse | verdicts |\n|---|---|---|---|---|---|")
    for photons in (3, 30, 300, 3000):
        for family in FAMILIES:
            ours, flats, words = [], [], Counter()
            for seed in range(200, 200 + seeds):
                scan = simulate_scan(frames=100, object=family, photons=photons, seed=seed)
                path = scan.write(folder / "scan.npz", overwrite=True)
                found = reconstructed(path, backend)
                flat = replace(found, object=np.ones_like(found.object))
                ours.append(ptycho_core.score(found, path).nrmse)
                flats.append(ptycho_core.score(flat, path).nrmse)
                words[found.facts["verdict"]] += 1
            worse = sum(a > 1.001 * b for a, b in zip(ours, flats, strict=True))
            said = ", ".join(f"{number} {word}" for word, number in words.items())
            print(
                f"| {photons} | {family} | {np.mean(ours):.3f} | {np.mean(flats):.3f} | {worse} of {seeds} | {said} |", flush=True
            )


@contextmanager
def timed(place, name, spent):
    """While this is open, CPU seconds of a function are added up; what it calls that is timed too is not counted twice."""
    before = getattr(place, name)

    def call(*arguments, **more):
        if spent["inside"]:
            return before(*arguments, **more)
        spent["inside"], began = True, time.process_time()
        try:
            return before(*arguments, **more)
        finally:
            spent["inside"] = False
            spent["seconds"] += time.process_time() - began

    with patch.object(place, name, call):
        yield


def cost(backend, seeds, folder):
    """A line for each scan: what is spent on the verdict. The last fit of all frames is paid by the frame in twenty left out."""
    import ptycho_core.jobs.doubts as doubts
    from ptycho_core.reconstruction import misfit, stages

    scans = {"sample:siemens-star": "sample:siemens-star"}
    for name, settings in {"400 × 64², 10⁶": {}, "1000 × 64², 10⁶": {"frames": 1000}, "144 × 128², 10⁵": {"size": 128}}.items():
        path = folder / f"{len(scans)}.npz"
        scans[name] = simulate_scan(
            **{"frames": 144 if "128" in name else 400, "photons": 1e5 if "128" in name else 1e6, **settings}
        ).write(path)
    print("| scan | CPU s of a run | doubts and verdict | part |\n|---|---|---|---|")
    for name, path in scans.items():
        parts, runs = [], []
        for _ in range(min(seeds, 3)):
            spent = {"seconds": 0.0, "inside": False}
            with ExitStack() as stack:
                for place, function in (
                    (doubts, "looked_over"), (misfit.FrameCheck, "of"), (misfit.FrameCheck, "flat"), (misfit.FrameMisfits, "of"),
                    (misfit, "rows_of"), (misfit, "signs_of"), (stages.Run, "_judged"),
                ):  # fmt: skip
                    stack.enter_context(timed(place, function, spent))
                began = time.process_time()
                reconstructed(path, backend)
                runs.append(time.process_time() - began)
            parts.append(spent["seconds"])
        print(
            f"| {name} | {np.median(runs):.2f} | {np.median(parts):.3f} | {100 * np.median(np.array(parts) / runs):.1f} % |",
            flush=True,
        )


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["sound", "few", "cost"])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what in args.what:
            {"sound": sound, "few": few, "cost": cost}[what](args.backend, args.seeds, Path(folder))


if __name__ == "__main__":
    main()
