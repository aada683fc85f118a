"""The small scan in the layouts of other programs, each as its program writes it."""

import h5py
import numpy as np
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE, WAVELENGTH

JOULE = 1 / 1.602176634e-19
"""Electronvolts."""
FULL = 2**32 - 1
"""What a DECTRIS detector writes at pixels that measure nothing."""


def write(path, values, attributes=None):
    """An HDF5 file of values by key, None for none, with attributes by key and name."""
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
        for (key, name), value in (attributes or {}).items():
            file[key].attrs[name] = value
    return path


def ptylab(path, small, **changes):
    """PtyLab 0.3.7: scalars are arrays of one."""
    values = {
        "ptychogram": small.counts.astype(np.float32), "encoder": small.metres, "wavelength": [WAVELENGTH], "dxd": [PITCH],
        "zo": [DISTANCE], "orientation": 0, "Nd": [SIZE],
    }  # fmt: skip
    return write(path, values | changes)


def cxi(path, small, changes=None):
    """cdtools: the sample moves, rows along minus y and columns along minus x of the detector."""
    detector, mask = "entry_1/instrument_1/detector_1", np.zeros((SIZE, SIZE), np.uint32)
    mask[2, 3], mask[4, 5] = 1, 0x1000  # bad; and good, though a signal is present
    moved = np.stack([small.metres[:, 1], small.metres[:, 0], np.zeros(FRAMES)], axis=1)
    values = {
        "cxi_version": 160,
        f"{detector}/data": np.where(mask == 1, 65535, small.counts).astype(np.int32),
        f"{detector}/mask": mask, f"{detector}/distance": DISTANCE,
        f"{detector}/x_pixel_size": PITCH, f"{detector}/y_pixel_size": PITCH,
        f"{detector}/basis_vectors": np.array([[0, -PITCH], [-PITCH, 0], [0, 0]]),
        "entry_1/instrument_1/source_1/energy": ENERGY / JOULE,
        "entry_1/sample_1/geometry_1/translation": moved,
        "entry_1/data_1/data": h5py.SoftLink(f"/{detector}/data"),
    }  # fmt: skip
    return write(path, values | (changes or {}))


def nexus(path, small, changes=None, attributes=None):
    """The class NXCreator: names without numbers, units as attributes, linked positioners."""
    detector, moves = "entry_1/instrument/detector", "entry_1/sample/transformations"
    values = {
        "entry_1/definition": "NXptycho",
        f"{detector}/data": small.counts, f"{detector}/distance": DISTANCE * 1e3,
        f"{detector}/x_pixel_size": PITCH * 1e6, f"{detector}/y_pixel_size": PITCH * 1e6,
        "entry_1/instrument/beam/energy": ENERGY / 1e3,
        "entry_1/instrument/source/energy": 3.0,
        f"{moves}/x_fine_translation": small.metres[:, 1] * 1e6, f"{moves}/y_fine_translation": small.metres[:, 0] * 1e6,
    }  # fmt: skip
    units = {
        (f"{detector}/distance", "units"): "mm", (f"{detector}/x_pixel_size", "units"): "um",
        (f"{detector}/y_pixel_size", "units"): "um", ("entry_1/instrument/beam/energy", "units"): "keV",
        ("entry_1/instrument/source/energy", "units"): "GeV", (f"{moves}/x_fine_translation", "units"): "um",
        (f"{moves}/y_fine_translation", "units"): "um", (f"{moves}/x_fine_translation", "vector"): [1.0, 0, 0],
        (f"{moves}/y_fine_translation", "vector"): [0, 1.0, 0],
    }  # fmt: skip
    return write(path, values | (changes or {}), units | (attributes or {}))


def dectris(folder, small, *, stem="scan_7", changes=None, filters=None):
    """A master with two data files, frames of 20 x 24 pixels with the beam at row 9, column 11; positions in a table."""
    row, column = 9 - SIZE // 2, 11 - SIZE // 2
    frames = np.zeros((FRAMES, 20, 24), np.uint32)
    frames[:, row : row + SIZE, column : column + SIZE] = small.counts
    mask = np.zeros((20, 24), np.uint32)
    mask[row + 1, column + 2] = 1
    frames[:, mask > 0] = FULL
    frames[:, row + 3, column + 4] = FULL  # bad, though the mask does not say so
    for number, part in enumerate((frames[:7], frames[7:]), 1):
        with h5py.File(folder / f"{stem}_data_{number:06d}.h5", "w") as file:
            file.create_dataset("entry/data/data", data=part, chunks=(1, 20, 24), **(filters or {}))
    detector = "entry/instrument/detector"
    values = {
        "entry/definition": np.bytes_("NXmx"), "entry/instrument/beam/incident_wavelength": WAVELENGTH * 1e10,
        f"{detector}/beam_center_x": 11.0, f"{detector}/beam_center_y": 9.0, f"{detector}/detector_distance": DISTANCE,
        f"{detector}/x_pixel_size": PITCH, f"{detector}/y_pixel_size": PITCH, f"{detector}/detectorSpecific/pixel_mask": mask,
    }  # fmt: skip
    for number in (1, 2):
        values[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(f"{stem}_data_{number:06d}.h5", "/entry/data/data")
    np.savetxt(folder / f"{stem}_positions.csv", small.metres[:, ::-1] * 1e6, delimiter=",", header="x_um,y_um")
    return write(folder / f"{stem}_master.h5", values | (changes or {}))


def object_of(small):
    """An object that the positions index, and its center (row, column) in metres."""
    rows, columns = (np.ceil(small.positions.max(axis=0)) + SIZE).astype(int)
    return np.ones((1, rows, columns), np.complex64), (-2e-6, 3e-6)


def probe():
    return np.full((1, 1, SIZE, SIZE), 2 + 1j, np.complex64)


def ptychodus_diffraction(path, small, changes=None):
    """ptychodus 1.7: frames with numbers."""
    bad = np.zeros((SIZE, SIZE), bool)
    bad[1, 2] = True
    counts = small.counts.copy()
    counts[:, bad] = 65535
    values = {"patterns": counts, "indexes": np.arange(7, 7 + FRAMES), "bad_pixels": bad}
    sides = {("patterns", f"detector_pixel_{side}_m"): PITCH for side in ("width", "height")}
    return write(path, values | (changes or {}), sides)


def ptychodus_product(path, small, changes=None, attributes=None):
    """ptychodus 1.7: positions of the middles of windows, in metres, about the middle of the object."""
    image, center = object_of(small)
    middle = (small.positions + (SIZE - 1) / 2 - (np.array(image.shape[1:]) - 1) / 2) * PIXEL + center
    power = float((np.abs(probe()) ** 2).sum())
    values = {
        "object": image, "probe": probe(), "probe_position_indexes": np.arange(7, 7 + FRAMES),
        "probe_position_x_m": middle[:, 1], "probe_position_y_m": middle[:, 0],
    }  # fmt: skip
    told = {
        ("/", "photon_energy_eV"): ENERGY, ("/", "detector_object_distance_m"): DISTANCE, ("/", "probe_photon_count"): power,
        ("object", "center_x_m"): center[1], ("object", "center_y_m"): center[0],
        ("object", "pixel_width_m"): PIXEL, ("object", "pixel_height_m"): PIXEL,
    }  # fmt: skip
    return write(path, values | (changes or {}), told | (attributes or {}))


def ptychodus_training(path, small, changes=None):
    """ptychodus 1.7: positions in pixels of the object."""
    middle = small.positions + (SIZE - 1) / 2
    values = {
        "patterns": small.counts, "bad_pixels": np.zeros((SIZE, SIZE), bool), "probe": probe()[0],
        "object": object_of(small)[0][0],
        "probe_position_x_px": middle[:, 1], "probe_position_y_px": middle[:, 0], "object_pixel_width_m": PIXEL,
        "object_pixel_height_m": PIXEL, "detector_object_distance_m": DISTANCE, "photon_energy_eV": ENERGY,
    }  # fmt: skip
    return write(path, values | (changes or {}))


ONE_FILE = {
    "ptylab": ptylab, "cxi": cxi, "nexus": nexus, "ptychodus": ptychodus_diffraction, "product": ptychodus_product,
    "ptychodus_training": ptychodus_training,
}  # fmt: skip
"""Writers of layouts that are one HDF5 file, by format."""
