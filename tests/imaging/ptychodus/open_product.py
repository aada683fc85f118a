"""What ptychodus makes of a product: its arrays, how well it explains a scan, and the product that it writes itself.

    build/ptychodus/bin/python open_product.py PRODUCT SCAN OUT.npz OUT.h5

The misfit R is taken with the interpolation of ptychodus at its positions moved by each of ``SHIFTS`` pixels.
"""

import sys
from pathlib import Path

import numpy as np
from ptychodus.api.interpolate import BarycentricArrayInterpolator
from ptychodus.api.io import load_product, save_product

SHIFTS = (-0.5, 0.0, 0.5)


def main(place: Path, scan: Path, arrays: Path, written: Path) -> None:
    product = load_product(place)
    with np.load(scan) as file:
        counts, mask = file["intensity"].astype(float), file["mask"]
    image, probe = product.object_.get_layer(0), product.probes.get_probe_no_opr().get_array()
    geometry, patches = product.object_.get_geometry(), BarycentricArrayInterpolator(image)
    x = geometry.map_probe_positions_to_object_x_px(product.probe_positions)
    y = geometry.map_probe_positions_to_object_y_px(product.probe_positions)
    found = []
    for shift in SHIFTS:
        difference = total = 0.0
        for column, row, pattern in zip(x, y, counts, strict=True):
            window = patches.get_patch(column + shift, row + shift, probe.shape[-1], probe.shape[-2])
            far = np.fft.fftshift(np.fft.fft2(probe * window, norm="ortho"), axes=(-2, -1))
            model, measured = np.sqrt((np.abs(far) ** 2).sum(axis=0)[mask]), np.sqrt(pattern[mask])
            difference, total = difference + np.abs(model - measured).sum(), total + measured.sum()
        found.append(difference / total)
    told = product.metadata
    np.savez(arrays, object=image, probe=probe, x=x, y=y, index=product.probe_positions.get_indexes(), misfits=found,
             losses=[one.value for one in product.losses], energy=told.photon_energy_eV, distance=told.detector_distance_m,
             counts=told.probe_photon_count, name=told.name, pixel=[geometry.pixel_height_m, geometry.pixel_width_m])  # fmt: skip
    save_product(written, product)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
