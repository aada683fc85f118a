"""What ptychodus sees in products, as arrays: python look.py OUT.npz PRODUCT.h5"""

import sys
from pathlib import Path

import numpy as np
from ptychodus.api.io import load_product
from ptychodus.api.reconstruct import prepare_reconstruct_input  # noqa: F401 - the program is there


def main(out: str, file: str) -> None:
    product = load_product(Path(file))
    geometry, told = product.object_.get_geometry(), product.metadata
    placed = [geometry.map_coordinates_probe_to_object(one) for one in product.probe_positions]
    points = product.probe_positions
    np.savez(
        out, object=product.object_.get_array(), probe=product.probes.get_array(), index=points.get_indexes(),
        metres=np.stack([points.get_coordinates_y_m(), points.get_coordinates_x_m()], axis=1),
        middles=np.array([(one.y_px, one.x_px) for one in placed]), losses=np.array([one.value for one in product.losses]),
        center=np.array([geometry.center_y_m, geometry.center_x_m]), pixel=geometry.pixel_width_m,
        photons=told.probe_photon_count,
        told=np.array([told.tomography_angle_deg, told.exposure_time_s, told.photon_energy_eV, told.detector_distance_m]),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
