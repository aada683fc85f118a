"""Small scans of electrons on a grid, in the layouts of HyperSpy and py4DSTEM."""

import h5py
import numpy as np
from small_scan import SIZE, SmallScan

ROWS, COLUMNS, STEP = 4, 3, 5.0
PIXEL = 0.2e-10
"""Object pixel in metres: 0.2 Å."""
DK = 1 / (SIZE * 0.2)
"""1/Å between pixels of the detector."""
WAVELENGTH = 4.17572e-12
"""Of electrons of 80 keV, in metres."""


def grid():
    small = SmallScan()
    places = np.stack(np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij"), axis=-1).reshape(-1, 2)
    small.positions = places * STEP
    return small, small.counts.reshape(ROWS, COLUMNS, SIZE, SIZE)


def axes(file, group, names, lengths, steps, units, first=0, full=False):
    for number, (name, length, step, unit) in enumerate(zip(names, lengths, steps, units, strict=True)):
        key = f"{group}/dim{number + first}"
        file[key] = np.arange(length if full else 2) * step
        file[key].attrs["name"], file[key].attrs["units"] = name, unit


CALIBRATION = {
    "Q_pixel_size": DK, "Q_pixel_units": "A^-1", "R_pixel_size": 1.0, "R_pixel_units": "A", "QR_flip": False,
    "accelerating_voltage": 80e3, "QR_rotation": "_None",
}  # fmt: skip


def emd(path, cube, steps=(DK, DK, 1.0, 1.0), units=("[1_/_Å]", "[1_/_Å]", "[Å]", "[Å]"), name="d2", **more):
    """As RosettaSciIO 0.15 writes it: all axes reversed."""
    with h5py.File(path, "a") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = "0", "2"
        group = file.require_group(f"signals/{name}")
        group.attrs["emd_group_type"] = 1
        group["data"] = cube.transpose()
        axes(file, f"signals/{name}", ("kx", "ky", "x", "y"), cube.shape[::-1], steps, units, 1, **more)
    return path


def py4dstem(path, cube, calibration=None, dims=(1.0, 1.0, DK, DK), units=("A", "A", "A^-1", "A^-1"), name="datacube"):
    """As py4DSTEM 0.14.18 (emdfile 0.0.16) writes it."""
    with h5py.File(path, "a") as file:
        file.attrs["emd_group_type"], file.attrs["version_major"], file.attrs["version_minor"] = "file", 1, 0
        root = file.require_group("root")
        root.attrs["emd_group_type"] = "root"
        group = root.create_group(name)
        group.attrs["emd_group_type"], group.attrs["python_class"] = "array", "DataCube"
        group["data"] = cube
        axes(file, group.name, ("Rx", "Ry", "Qx", "Qy"), cube.shape, dims, units)
        if "metadatabundle" not in root:
            told = root.create_group("metadatabundle/calibration")
            told.attrs["emd_group_type"], told.attrs["python_class"] = "metadata", "Calibration"
            for key, value in (CALIBRATION | (calibration or {})).items():
                told[key] = value
    return path


def nexus(path, cube, names=("y", "x", "ky", "kx"), units=("Å", "Å", "1/Å", "1/Å"), steps=(1.0, 1.0, DK, DK), **instrument):
    """As RosettaSciIO 0.15 writes it."""
    with h5py.File(path, "w") as file:
        file.attrs["file_format"], file.attrs["file_writer"] = "nexus", "hyperspy_nexus_v3"
        group = file.create_group("entry1/d2")
        group.attrs["NX_class"], group.attrs["signal"], group.attrs["axes"] = b"NXdata", b"data", np.array(names, "S")
        group["data"] = cube
        for name, unit, step, length in zip(names, units, steps, cube.shape, strict=True):
            group[name] = (np.arange(length) - length // 2) * step
            group[name].attrs["units"] = unit
        for key, value in ({"beam_energy": 80.0, "camera_length": 100.0} | instrument).items():
            file[f"entry1/auxiliary/hyperspy_metadata/Acquisition_instrument/TEM/{key}"] = value
    return path


def hspy(path, cube, names=("y", "x", "ky", "kx"), units=("Å", "Å", "1/Å", "1/Å"), steps=(1.0, 1.0, DK, DK)):
    """As HyperSpy saves it."""
    with h5py.File(path, "w") as file:
        file.attrs["file_format"], file.attrs["file_format_version"] = "HyperSpy", "3.1"
        group = file.create_group("Experiments/d2")
        group["data"] = cube
        for place, (name, unit, step) in enumerate(zip(names, units, steps, strict=True)):
            told = {"name": name, "units": unit, "scale": step, "offset": -3.0 * step, "size": cube.shape[place]}
            group.create_group(f"axis-{place}").attrs.update(told | {"navigate": name in ("x", "y")})
        group.create_group("metadata/Acquisition_instrument/TEM").attrs.update({"beam_energy": 80.0, "camera_length": 100.0})
    return path
