"""What cdtools makes of a CXI file: its arrays, and the loss of two its own models that are fitted to them.

python in_cdtools.py FILE OUT.npz
"""

import sys

import numpy as np
from cdtools.datasets import Ptycho2DDataset
from cdtools.models import FancyPtycho, SimplePtycho


def main(file: str, out: str) -> None:
    scan = Ptycho2DDataset.from_cxi(file)
    losses = [list(kind.from_dataset(scan).Adam_optimize(2, scan, batch_size=6)) for kind in (SimplePtycho, FancyPtycho)]
    np.savez(
        out, patterns=scan.patterns, mask=scan.mask, moves=scan.translations, wavelength=scan.wavelength, losses=losses,
        distance=scan.detector_geometry["distance"], basis=scan.detector_geometry["basis"],
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
