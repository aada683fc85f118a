"""What the models of ``docs/physics.md`` reach: the same scan without the fault, with it, and with it modeled.

``python benchmarks/physics.py --backend torch`` simulates each scan, runs the real command and prints NRMSE, R over that of
photon noise, CPU seconds and the verdict. ``--seeds N`` takes several scans of each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from ptycho_core.imaging.metrics import score

PTYCHO = [sys.executable, "-c", "from ptycho_core.cli.main import run; run()"]


class Row(NamedTuple):
    """A kind of scan, and how it is reconstructed: words of ``ptycho simulate`` and of ``ptycho reconstruct``, or another verb.

    ``stop`` is the radius of a beam stop, as a part of N.
    """

    name: str
    simulate: tuple[str, ...] = ()
    reconstruct: tuple[str, ...] = ()
    stop: float = 0.0
    verb: str = "reconstruct"


NEAR = ("--regime", "near", "--step", "12", "--photons", "2e7")
KNOWN = ("--defocus-fraction", "1")
"""The guess of the probe is right: a pass does not fit it."""

DIVERGENT = ("--photon-energy-ev", "17000", "--focus-to-sample-m")
TEN_TIMES = (*DIVERGENT, "0.1", "--detector-distance-m", "0.9", "--detector-pixel-size-m", "6.5e-6")
MANY_TIMES = (*DIVERGENT, "0.01", "--detector-distance-m", "2.99", "--detector-pixel-size-m", "75e-6")

ROWS = (
    Row("even dose"),
    Row("even dose, flux fitted", (), ("--refine-flux",)),
    Row("dose varies by 20 %, not modeled", ("--flux-error", "0.2"), ("--no-refine-flux",)),
    Row("dose varies by 20 %", ("--flux-error", "0.2")),
    Row("dose varies by 5 %", ("--flux-error", "0.05")),
    Row("brightest 1 % clipped at a third, not modeled", ("--saturation", "{third}"), ("--saturation", "0")),
    Row("brightest 1 % clipped at a third", ("--saturation", "{third}")),
    Row("one pass, even dose", KNOWN, verb="infer"),
    Row("one pass, dose varies by 20 %", (*KNOWN, "--flux-error", "0.2"), verb="infer"),
    Row("one pass, brightest 1 % clipped at a third", (*KNOWN, "--saturation", "{third}"), verb="infer"),
    Row("near field, parallel beam", NEAR),
    Row("near field, parallel beam, lines", (*NEAR, "--object", "random-lines")),
    Row("near field, magnified 10 times", (*NEAR, *TEN_TIMES)),
    Row("near field, magnified 300 times", (*NEAR, *MANY_TIMES)),
    Row("near field, dose varies by 20 %", (*NEAR, "--flux-error", "0.2")),
    Row("a stop to the edge of the bright field", stop=1 / 6),
    Row("disk; a stop of twice its bright field", ("--probe", "disk"), stop=6 / 64),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--frames", default="200")
    parser.add_argument("--size", default="64")
    asked = parser.parse_args()
    print(f"{'scan':48s} seed   NRMSE   R/noise  CPU s  verdict")
    with tempfile.TemporaryDirectory() as name:
        for seed in range(asked.seeds):
            base = ("--frames", asked.frames, "--size", asked.size, "--seed", str(seed))
            third = _third(Path(name), base)
            for row in ROWS:
                _measure(Path(name), row, base, third, asked.backend, seed)


def _third(folder: Path, base: tuple[str, ...]) -> str:
    """A third of what the brightest 1 % of the pixels of a scan reach."""
    import numpy as np

    _ptycho("simulate", str(folder / "whole.npz"), *base, "--overwrite")
    with np.load(folder / "whole.npz") as file:
        return str(int(np.quantile(file["intensity"].max(axis=0), 0.99) / 3))


def _measure(folder: Path, row: Row, base: tuple[str, ...], third: str, backend: str, seed: int) -> None:
    scan, out = folder / "scan.npz", folder / "out"
    _ptycho("simulate", str(scan), *base, *(word.format(third=third) for word in row.simulate), "--overwrite")
    fit = ("--backend", backend, "--threads", "1", "--no-figures", "--overwrite", "--quiet")
    if row.stop:
        _hide(scan, row.stop)
    seconds = _ptycho(row.verb, str(scan), "-o", str(out), *fit, *row.reconstruct)
    metrics = json.loads((out / "metrics.json").read_text())
    found = score(out, scan).nrmse
    print(
        f"{row.name:48s} {seed:4d} {found:8.4f} {metrics['misfit_over_noise']:8.2f} {seconds:6.1f}  {metrics['verdict']}",
        flush=True,
    )


def _hide(scan: Path, radius: float) -> None:
    """Put a mask into a scan that hides a disk about zero frequency; ``radius`` is a part of N."""
    import numpy as np

    from ptycho_core.formats.plain_npz import write_plain_npz

    with np.load(scan) as file:
        arrays = dict(file)
    size = arrays["intensity"].shape[-1]
    along = np.arange(size) - size // 2
    mask = np.hypot(along[:, None], along) > radius * size
    write_plain_npz(scan, arrays | {"mask": mask, "intensity": arrays["intensity"] * mask}, overwrite=True)


def _ptycho(*words: str) -> float:
    """Run the command; CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    one = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run([*PTYCHO, *words], check=True, env=one, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
