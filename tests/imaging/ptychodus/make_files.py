"""Makes the files next to this one with ptychodus 1.7.0, from a scan that is simulated here.

    build/ptychodus/bin/python tests/imaging/ptychodus/make_files.py tests/imaging/ptychodus

``build/ptychodus`` is the environment that ``make test-all`` makes. The files hold the truth of the scan, so that what they state
can be checked against their own patterns: only where object, probe and positions are read rightly do these explain the patterns.
"""

import sys
from pathlib import Path

import numpy as np
from ptychodus.api.assemble import AssembledDiffractionData
from ptychodus.api.geometry import PixelGeometry
from ptychodus.api.io import save_diffraction_data, save_product, save_ptychopinn_training_data, save_training_data
from ptychodus.api.object import Object, ObjectCenter
from ptychodus.api.probe import ProbeSequence
from ptychodus.api.probe_positions import ProbePosition, ProbePositionSequence
from ptychodus.api.product import LossValue, Product, ProductMetadata
from ptychodus.api.reconstruct import ReconstructInput
from ptychodus.plugins.npz_product_file import NPZProductFileIO

N, ROWS, COLUMNS, FRAMES = 16, 42, 37, 20
HEIGHT, WIDTH = 5e-8, 6e-8  # metres of an object pixel; not square, so that a swap shows
CENTER_Y, CENTER_X = -2e-6, 3e-6
ENERGY, DISTANCE = 8800.0, 1.5


def smooth(rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.fft.fftfreq(ROWS)[:, None], np.fft.fftfreq(COLUMNS)
    low = np.exp(-150 * (rows**2 + columns**2))
    image = np.fft.ifft2(np.fft.fft2(rng.normal(size=(ROWS, COLUMNS))) * low).real
    return (image - image.min()) / np.ptp(image)


def shifted(mode: np.ndarray, part: np.ndarray) -> np.ndarray:
    rows, columns = np.fft.fftfreq(N)[:, None], np.fft.fftfreq(N)
    return np.fft.ifft2(np.fft.fft2(mode) * np.exp(-2j * np.pi * (rows * part[0] + columns * part[1])))


def main(folder: Path) -> None:
    rng = np.random.default_rng(4)
    image = ((0.6 + 0.4 * smooth(rng)) * np.exp(1.5j * smooth(rng))).astype(np.complex64)
    y, x = np.mgrid[:N, :N] - N // 2
    first = np.exp(-(x**2 + y**2) / 18 + 0.05j * (x**2 + 0.5 * y**2) + 0.1j * x)
    probe = np.stack([first, 0.3 * first * (x + 1j)])
    probe = (probe * np.sqrt(2e5 / (np.abs(probe) ** 2).sum())).astype(np.complex64)
    corners = rng.uniform([1, 2], [ROWS - N - 7, COLUMNS - N - 2], (FRAMES, 2))
    patterns = np.zeros((FRAMES, N, N))
    for number, corner in enumerate(corners):
        row, column = (int(value) for value in corner)
        window = image[row : row + N, column : column + N]
        for mode in probe:
            wave = np.fft.fftshift(np.fft.fft2(window * shifted(mode, corner % 1), norm="ortho"))
            patterns[number] += np.abs(wave) ** 2
    counts = rng.poisson(patterns).astype(np.uint16)
    bad = np.zeros((N, N), dtype=bool)
    bad[3, 11] = True
    counts[:, 3, 11] = 60_000

    # Frames are numbered from 7 on, and the product lists them in its own order.
    numbers = np.arange(7, 7 + FRAMES)
    metres = (corners + (N - 1) / 2 - (np.array([ROWS, COLUMNS]) - 1) / 2) * (HEIGHT, WIDTH) + (CENTER_Y, CENTER_X)
    order = rng.permutation(FRAMES)
    listed = ProbePositionSequence([ProbePosition(int(numbers[i]), metres[i, 1], metres[i, 0]) for i in order])
    paired = ProbePositionSequence([ProbePosition(int(n), place[1], place[0]) for n, place in zip(numbers, metres, strict=True)])
    pixel = PixelGeometry(width_m=WIDTH, height_m=HEIGHT)

    def product(positions: ProbePositionSequence, probes: np.ndarray, weights: np.ndarray | None = None) -> Product:
        metadata = ProductMetadata("tiny", "simulated", DISTANCE, ENERGY, float((np.abs(probe) ** 2).sum()), 0.1, 0.0, 0.0)
        return Product(
            metadata=metadata,
            probe_positions=positions,
            probes=ProbeSequence(probes, weights, pixel),
            object_=Object(image, pixel, ObjectCenter(x_m=CENTER_X, y_m=CENTER_Y)),
            losses=[LossValue(0, 3.0), LossValue(1, 2.5)],
        )

    save_product(folder / "product.h5", product(listed, probe[np.newaxis]))
    NPZProductFileIO().write(folder / "product.npz", product(listed, probe[np.newaxis]))
    weights = np.stack([np.ones(FRAMES), rng.normal(0, 0.1, FRAMES)], axis=1)
    save_product(folder / "product_opr.h5", product(listed, np.stack([probe, np.roll(probe, 1, axis=-1)]), weights))
    given = ReconstructInput(counts, bad, product(paired, probe[np.newaxis]))
    save_training_data(folder / "training.h5", given)
    save_ptychopinn_training_data(folder / "ptychopinn.npz", given)
    save_diffraction_data(folder / "diffraction.h5", AssembledDiffractionData(numbers, counts, pixel, bad))
    # The same scan in the plain layout of ptycho: frames counted from 0, corners of the windows, any offset.
    np.savez_compressed(
        folder / "scan.npz", intensity=counts, positions_px=corners + np.array([100.25, -30.5]), probe_guess=probe, mask=~bad
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
