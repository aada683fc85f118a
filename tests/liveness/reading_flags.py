"""Settings that say how a scan lies in its file: two ways to ask for each, which a file in metres reads differently."""

import h5py

_FILE = ["--photon-energy-ev", "10000", "--detector-distance-m", "1", "--detector-pixel-size-m", "75e-6"]
GEOMETRY = {
    "photon_energy_ev": (_FILE, ["--photon-energy-ev", "8000", *_FILE[2:]]),
    "detector_distance_m": (_FILE, [*_FILE[:2], "--detector-distance-m", "1.1", *_FILE[4:]]),
    "detector_pixel_size_m": (_FILE, [*_FILE[:4], "--detector-pixel-size-m", "70e-6"]),
    "object_pixel_m": ([], ["--object-pixel-m", "1.2e-7"]),
}
"""They scale positions in metres."""

_NEAR = ["--regime", "near", "--photon-energy-ev", "100", "--detector-distance-m", "1e-6", "--detector-pixel-size-m", "2.6e-8"]
"""A wavelength of half a pixel, so that the propagators differ."""

TWO = (
    '[frames]\npath = "*/frames"\n[positions]\npairs = "encoder"\norder = "yx"\nunit = "m"\n[geometry]\n'
    'energy = { path = "wavelength", unit = "m" }\ndistance = { path = "zo" }\npixel = { path = "dxd" }\n'
)
"""A layout of a file with frames in two places."""

_TABLE = ["--positions", "{folder}/table.csv", "--object-pixel-m", "1.1e-9"]

READING = GEOMETRY | {
    "format": (["--format", "ptylab"], ["--format", "ptychodus_training"]),
    "dataset": (["--format", "{folder}/two.toml", "--dataset", "a/frames"], ["--format", "{folder}/two.toml", "--dataset", "b"]),
    "positions": ([], ["--positions", "{folder}/table.csv"]),
    "position_unit": (_TABLE, [*_TABLE, "--position-unit", "nm"]),
    "orientation": ([], ["--orientation", "flip-rows"]),
    "rotation_deg": ([], ["--rotation-deg", "15"]),
    "frames": ([], ["--frames", "0:30"]),
    "beam_center": ([], ["--beam-center", "31,30"]),
    "bin": ([], ["--bin", "2"]),
    "regime": (_NEAR[2:], [*_NEAR, "--margin", "0"]),
    "focus_to_sample_m": ([*_NEAR, "--margin", "0"], [*_NEAR, "--margin", "0", "--focus-to-sample-m", "1e-5"]),
    "propagator": ([*_NEAR, "--margin", "0"], [*_NEAR, "--margin", "0", "--propagator", "fresnel"]),
}
"""Words by setting, the first and the second time."""


def write_scan(folder, counts, pixels):
    """``scan.h5``: a scan in the keys of PtyLab, and in those of ptychodus with other positions; ``two.toml``: a layout of it."""
    pixel = 1.239841984e-10 * 1.0 / (counts.shape[-1] * 75e-6)
    with h5py.File(folder / "scan.h5", "w") as file:
        values = {"ptychogram": counts, "encoder": pixels * pixel, "wavelength": 1.239841984e-10, "zo": 1.0, "dxd": 75e-6}
        values |= {"patterns": counts, "probe_position_y_px": pixels[:, 1], "probe_position_x_px": pixels[:, 0]}
        values |= {"a/frames": counts, "b/frames": counts[::-1]}
        for key, value in values.items():
            file[key] = value
    (folder / "two.toml").write_text(TWO)
