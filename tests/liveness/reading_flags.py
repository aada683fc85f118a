"""Settings that say how a scan lies in its file: two ways to ask for each, which a file in metres reads differently."""

_FILE = ["--photon-energy-ev", "10000", "--detector-distance-m", "1", "--detector-pixel-size-m", "75e-6"]
GEOMETRY = {
    "photon_energy_ev": (_FILE, ["--photon-energy-ev", "8000", *_FILE[2:]]),
    "detector_distance_m": (_FILE, [*_FILE[:2], "--detector-distance-m", "1.1", *_FILE[4:]]),
    "detector_pixel_size_m": (_FILE, [*_FILE[:4], "--detector-pixel-size-m", "70e-6"]),
    "object_pixel_m": ([], ["--object-pixel-m", "1.2e-7"]),
}
"""They scale positions in metres."""

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
}
"""Words by setting, the first and the second time."""
