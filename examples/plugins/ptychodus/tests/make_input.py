"""The folders that ptychodus takes in batch mode, written by ptychodus itself: python make_input.py SCAN.npz FOLDER

``plain``: indexes from 5, the object 1 throughout and larger than the scan, off the middle, the center at (3.1, -1.7) um.
``start``: indexes shuffled, three positions missing at the end and one twice, an object that is not flat with 9 rows and 20
columns more on one side only, a probe of two modes and two OPR modes. ``near``: as ``plain``, of the near field.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from ptychodus.api.assemble import AssembledDiffractionData
from ptychodus.api.constants import energy_eV_to_wavelength_m
from ptychodus.api.geometry import PixelGeometry
from ptychodus.api.io import save_diffraction_data, save_product
from ptychodus.api.object import Object, ObjectCenter
from ptychodus.api.probe import ProbeSequence
from ptychodus.api.probe_positions import ProbePosition, ProbePositionSequence
from ptychodus.api.product import Product, ProductMetadata

import ptycho_core

ENERGY, DISTANCE, PITCH = 8800.0, 1.9, 75e-6
CENTER = np.array([-1.7e-6, 3.1e-6])  # row, column


def main(source: str, folder: str) -> None:
    scan, size = ptycho_core.open_scan(source), ptycho_core.open_scan(source).size
    pixel = energy_eV_to_wavelength_m(ENERGY) * DISTANCE / (PITCH * size)
    square = PixelGeometry(pixel, pixel)
    corners = scan.positions - scan.positions.min(axis=0)
    middles = (corners - np.ptp(corners, axis=0) / 2) * pixel + CENTER
    shape = np.ceil(np.ptp(corners, axis=0)).astype(int) + size + np.array([21, 34])
    probe = scan.probe[:1].astype(np.complex128)
    told = ProductMetadata("trial", "by hand", DISTANCE, ENERGY, float((np.abs(probe) ** 2).sum()), 0.5, 0.0, 12.0)

    def points(numbers):
        return ProbePositionSequence(
            [ProbePosition(int(n), float(x), float(y)) for n, (y, x) in zip(numbers, middles, strict=True)]
        )

    def write(name, numbers, product):
        place = Path(folder) / name
        place.mkdir(parents=True)
        counts = scan.patterns.read(slice(None))
        bad = np.zeros((size, size), bool)
        bad[3, 5] = True
        save_diffraction_data(
            place / "diffraction.h5", AssembledDiffractionData(numbers, counts, PixelGeometry(PITCH, PITCH), bad)
        )
        save_product(place / "product.h5", product)

    flat = Object(np.ones(shape, complex), square, ObjectCenter(x_m=CENTER[1], y_m=CENTER[0]))
    numbers = np.arange(len(scan)) + 5
    plain = Product(told, points(numbers), ProbeSequence(probe, None, square), flat, [])
    write("plain", numbers, plain)
    write("near", numbers, replace(plain, metadata=replace(told, far_field=False)))

    random = np.random.default_rng(7)
    shuffled = random.permutation(len(scan)) + 5
    rows, columns = np.indices(shape + np.array([9, 20]))
    image = 0.8 + 0.1 * np.sin(rows / 4) * np.exp(0.3j * np.cos(columns / 5))
    center = CENTER + np.array([9, 20]) / 2 * pixel
    given = [one for one in points(shuffled) if one.index < len(scan) + 2]
    twice = [*given, replace(given[0], x_m=given[0].x_m + 1e-9)]
    second = 0.2 * probe[0] * np.exp(1j * np.indices((size, size))[0] / 4)
    modes = np.stack([np.stack([probe[0], second]), np.stack([0.05 * probe[0]] * 2)])
    weights = np.ones((len(twice), 2))
    write("start", shuffled, Product(
        told, ProbePositionSequence(twice), ProbeSequence(modes, weights, square),
        Object(image, square, ObjectCenter(x_m=center[1], y_m=center[0])), [],
    ))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
