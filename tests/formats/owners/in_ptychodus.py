"""What ptychodus makes of a file that is diffraction and product: it opens both and saves them in their own files.

build/ptychodus/bin/python in_ptychodus.py h5|cxi FILE FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from ptychodus.api.assemble import AssembledDiffractionData
from ptychodus.api.io import load_diffraction_data, load_product, save_diffraction_data, save_product
from ptychodus.plugins.cxi_file import CXIDiffractionFileReader, CXIProductFileIO


def opened(kind: str, file: Path):
    if kind == "h5":
        return load_diffraction_data(file), load_product(file)
    product, dataset = CXIProductFileIO().read(file), CXIDiffractionFileReader().read(file)
    told, patterns = dataset.get_metadata(), np.concatenate([array.get_patterns() for array in dataset])
    numbers = product.probe_positions.get_indexes()
    return AssembledDiffractionData(
        numbers, patterns, told.detector_pixel_geometry, dataset.get_bad_pixels()
    ), product  # fmt: skip


def main(kind: str, file: str, folder: str) -> None:
    diffraction, product = opened(kind, Path(file))
    save_diffraction_data(Path(folder) / "diffraction.h5", diffraction)
    save_product(Path(folder) / "product.h5", product)


if __name__ == "__main__":
    main(*sys.argv[1:])
