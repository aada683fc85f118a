"""Files as other writers of the same formats make them: other names, shapes, units, and units that lie."""

import h5py
import numpy as np
import pytest
from small_files import JOULE, cxi, dectris, nexus
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE, WAVELENGTH, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan, opened

SMALL = SmallScan()
Y, X = SMALL.metres.T
MOVED = np.stack([X, Y, 0 * X], axis=1)


def changed(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def units(file, **of):
    """The attribute ``units`` of datasets, by the ends of their keys."""

    def tell(key, item):
        for end, unit in of.items():
            if key.endswith(end) and isinstance(item, h5py.Dataset):
                item.attrs["units"] = unit

    file.visititems(tell)


# CXI

D, SOURCE, T = "entry_1/instrument_1/detector_1", "entry_1/instrument_1/source_1", "entry_1/sample_1/geometry_1/translation"
PER_FRAME = np.zeros((FRAMES, SIZE, SIZE), np.uint32)
PER_FRAME[:, 2, 3], PER_FRAME[3, 7, 7] = 1, 2

OF_CXI = {
    "(axis, frame)": {T: MOVED.T},
    "no z": {T: MOVED[:, :2]},
    "an array an axis": {T: None, "entry_1/sample_1/geometry_1/x": X, "entry_1/sample_1/geometry_1/y": Y},
    "of the sample": {T: None, "entry_1/sample_1/translation": MOVED},
    "of the data": {T: None, "cxi_version": None, "entry_1/data_1/translation": MOVED},
    "rows along x": {T: -np.stack([Y, X, 0 * X], axis=1), f"{D}/basis_vectors": np.array([[PITCH, 0, 0], [0, PITCH, 0]])},
    "basis without z": {f"{D}/basis_vectors": np.array([[0, -PITCH], [-PITCH, 0]])},
    "no basis": {f"{D}/basis_vectors": None},
    "a raster": {f"{D}/data": SMALL.counts.reshape(3, 4, SIZE, SIZE), f"{D}/mask": None, T: MOVED.reshape(3, 4, 3)},
    "no link to the frames": {"entry_1/data_1/data": None},
    "frames of the data alone": {f"{D}/data": None, f"{D}/mask": None, "entry_1/data_1/data": SMALL.counts},
    "a mask for each frame": {f"{D}/mask": PER_FRAME},
    "a mask of floats": {f"{D}/mask": PER_FRAME[0].astype(float)},
    "energy in eV": {f"{SOURCE}/energy": ENERGY},
    "a wavelength": {f"{SOURCE}/energy": None, f"{SOURCE}/wavelength": WAVELENGTH},
    "a wavelength in angstrom": {f"{SOURCE}/energy": None, f"{SOURCE}/wavelength": WAVELENGTH * 1e10},
    "energy of the beam": {f"{SOURCE}/energy": None, "entry_1/instrument_1/beam_1/incident_energy": ENERGY},
    "the corner's distance": {f"{D}/distance": None, f"{D}/corner_position": np.array([0.1, 0.1, DISTANCE])},
}  # fmt: skip


@pytest.mark.parametrize("other", OF_CXI)
def test_cxi(other, tmp_path):
    scan = open_scan(cxi(tmp_path / "a.cxi", SMALL, OF_CXI[other]))
    assert_same(scan, SMALL)
    assert scan.object_pixel_m == pytest.approx(PIXEL)
    if "each frame" in other:
        assert not scan.mask[7, 7]
        assert any("differ from frame to frame" in note for note in scan.notes)


def test_cxi_without_numbers(tmp_path):
    def rename(file):
        del file["entry_1/data_1"]
        for old in (D, SOURCE, "entry_1/instrument_1"):
            file.move(old, old.removesuffix("_1"))

    assert_same(open_scan(changed(cxi(tmp_path / "a.cxi", SMALL), rename)), SMALL)


def test_a_detector_of_cxi_is_chosen(tmp_path):
    other = np.zeros((FRAMES, 8, 8), np.uint16) + 5
    path = cxi(tmp_path / "a.cxi", SMALL, {"entry_1/instrument_1/detector_2/data": other})
    assert any("others have frames, too" in note for note in open_scan(path).notes)
    scan = open_scan(path, {"dataset": "entry_1/instrument_1/detector_2", "object_pixel_m": PIXEL})
    np.testing.assert_array_equal(scan.patterns.read(slice(None)), other)


# NeXus

DETECTOR, MOVES = "entry_1/instrument/detector", "entry_1/sample/transformations"
CLASSES = {
    "entry_1": "NXentry", "entry_1/instrument": "NXinstrument", DETECTOR: "NXdetector", "entry_1/instrument/beam": "NXbeam",
    "entry_1/sample": "NXsample", MOVES: "NXtransformations",
}  # fmt: skip


def by_classes(file):
    for key, kind in CLASSES.items():
        file[key].attrs["NX_class"] = kind
    for old, new in (
        (f"{MOVES}", "scanner"),
        ("entry_1/sample", "specimen"),
        (DETECTOR, "eiger"),
        ("entry_1/instrument", "ID16"),
    ):
        file.move(old, f"{old.rpartition('/')[0]}/{new}")


def without_definition(file):
    by_classes(file)
    del file["entry_1/definition"]


def motors(file):
    for axis in "xy":
        file.move(f"{MOVES}/{axis}_fine_translation", f"{MOVES}/sam{axis}")
        del file[f"{MOVES}/sam{axis}"].attrs["vector"]


def all_lie(file):
    """As the converters of NX-cxi-ptycho write it: joules are called eV, and metres um."""
    file["entry_1/instrument/beam/energy"][...] = ENERGY / JOULE
    for key, value in (("distance", DISTANCE), ("x_pixel_size", PITCH), ("y_pixel_size", PITCH)):
        file[f"{DETECTOR}/{key}"][...] = value
    for axis, value in (("x", X), ("y", Y)):
        file[f"{MOVES}/{axis}_fine_translation"][...] = value
    units(file, distance="um", pixel_size="um", energy="eV")


def a_signal(file):
    file.move(f"{DETECTOR}/data", "entry_1/data/frames")
    file["entry_1/data"].attrs.update({"signal": "frames", "NX_class": "NXdata"})


def of_monochromator(file):
    file.move("entry_1/instrument/beam/energy", "entry_1/instrument/monochromator/energy")
    del file["entry_1/instrument/beam"]


def wavelength_without_unit(file):
    del file["entry_1/instrument/beam/energy"]
    file["entry_1/instrument/beam/incident_wavelength"] = WAVELENGTH


OF_NEXUS = {
    "entry": lambda file: file.move("entry_1", "entry"),
    "groups by class": by_classes,
    "classes and no definition": without_definition,
    "motors": motors,
    "a signal": a_signal,
    "energy of the monochromator": of_monochromator,
    "a wavelength without unit": wavelength_without_unit,
    "all units lie": all_lie,
    "a mask for each frame": lambda file: file.__setitem__(f"{DETECTOR}/pixel_mask", PER_FRAME),
}


@pytest.mark.parametrize("other", OF_NEXUS)
def test_nexus(other, tmp_path):
    opening = opened(changed(nexus(tmp_path / "a.nxs", SMALL), OF_NEXUS[other]))
    assert_same(opening.scan, SMALL)
    assert opening.scan.object_pixel_m == pytest.approx(PIXEL)
    assert opening.form.name == "nexus"


@pytest.mark.parametrize(
    ("unit", "scale"), [("Å", 1e10), ("pm", 1e12), ("1e-6 m", 1e6), ("10^-9 m", 1e9), ("MICRONS", 1e6), ("um", 1.0)]
)
def test_units_of_positions(unit, scale, tmp_path):
    """The last lies: the numbers are metres."""

    def write(file):
        for axis, values in (("x", X), ("y", Y)):
            file[f"{MOVES}/{axis}_fine_translation"][...] = values * scale
        units(file, translation=unit)

    assert_same(open_scan(changed(nexus(tmp_path / "a.nxs", SMALL), write)), SMALL)


@pytest.mark.parametrize(("slow", "flat"), [("y", False), ("x", False), ("y", True)])
def test_the_axes_of_a_raster(slow, flat, tmp_path):
    """Where frames are in one row, y is taken to be the slow axis."""
    steps = {"slow": np.arange(3) * 5.0, "fast": np.arange(4) * 4.0}
    grid = np.stack(np.meshgrid(steps["slow"], steps["fast"], indexing="ij"), axis=-1).reshape(-1, 2)
    small = SmallScan(positions=grid if slow == "y" else grid[:, ::-1])

    def write(file):
        del file[f"{DETECTOR}/data"]
        file[f"{DETECTOR}/data"] = small.counts if flat else small.counts.reshape(3, 4, SIZE, SIZE)
        for axis in "xy":
            key = f"{MOVES}/{axis}_fine_translation"
            del file[key]
            file[key] = steps["slow" if axis == slow else "fast"] * PIXEL

    assert_same(open_scan(changed(nexus(tmp_path / "a.nxs", small), write)), small)


def test_the_entry_that_default_names_is_read(tmp_path):
    path = nexus(tmp_path / "a.nxs", SMALL)

    def second(file):
        file.copy("entry_1", "entry_2")
        del file[DETECTOR]["data"]
        file[f"{DETECTOR}/data"] = SMALL.counts[::-1]
        file.attrs["default"] = "entry_2"

    assert_same(open_scan(changed(path, second)), SMALL)


def test_the_beam_of_nexus_may_be_in_metres(tmp_path):
    wide = np.zeros((FRAMES, 20, 24), np.uint16)
    wide[:, 1 : 1 + SIZE, 3 : 3 + SIZE] = SMALL.counts
    path = nexus(
        tmp_path / "a.nxs", SMALL, {f"{DETECTOR}/data": wide, f"{DETECTOR}/beam_center_x": 11.0, f"{DETECTOR}/beam_center_y": 9.0}
    )
    assert_same(open_scan(path, {"size": SIZE}), SMALL)

    def in_metres(file):
        for axis in "xy":
            file[f"{DETECTOR}/beam_center_{axis}"][...] *= PITCH * 1e3
        units(file, beam_center_x="mm", beam_center_y="mm")

    assert_same(open_scan(changed(path, in_metres), {"size": SIZE}), SMALL)


# DECTRIS


def test_a_detector_of_another_name(tmp_path):
    def rename(file):
        file.move("entry/instrument/detector", "entry/instrument/eiger")
        file["entry/instrument/eiger"].attrs["NX_class"] = "NXdetector"
        for number in (1, 2):
            file.move(f"entry/data/data_{number:06d}", f"entry/instrument/eiger/data_{number:06d}")

    assert_same(open_scan(changed(dectris(tmp_path, SMALL), rename), {"size": SIZE}), SMALL)


def test_a_data_file_alone_names_its_master(tmp_path):
    master = dectris(tmp_path, SMALL)
    alone = tmp_path / "scan_7_data_000001.h5"
    with pytest.raises(DataError, match=r"scan_7_master\.h5 joins its data files") as caught:
        open_scan(alone)
    assert str(master) in caught.value.remedy
    master.unlink()
    (tmp_path / "scan_7_data_000002.h5").unlink()
    asked = {"positions": str(tmp_path / "scan_7_positions.csv"), "object_pixel_m": PIXEL, "frames": "0:7"}
    with pytest.raises(DataError, match="12 positions"):
        open_scan(alone, asked)
    rows = (tmp_path / "scan_7_positions.csv").read_text().splitlines()[:8]
    (tmp_path / "some.csv").write_text("\n".join(rows))
    scan = open_scan(alone, asked | {"positions": str(tmp_path / "some.csv"), "beam_center": "9,11", "size": SIZE})
    assert_same(scan, SMALL, frames=slice(7))


def test_an_absent_data_file_says_what_to_do(tmp_path):
    path = dectris(tmp_path, SMALL)
    (tmp_path / "scan_7_data_000002.h5").unlink()
    with pytest.raises(DataError, match=r"scan_7_data_000002\.h5, which does not exist") as caught:
        open_scan(path)
    assert "next to scan_7_master.h5" in caught.value.remedy


@pytest.mark.parametrize("kind", ["cxi", "nexus"])
def test_positions_that_are_given_overrule_those_that_cannot_be_read(kind, tmp_path):
    wrong = np.zeros((FRAMES, 5))
    if kind == "cxi":
        path = cxi(tmp_path / "a.cxi", SMALL, {T: wrong})
    else:
        path = changed(
            nexus(tmp_path / "a.nxs", SMALL, {f"{DETECTOR}/translation": wrong}), lambda file: file.__delitem__("entry_1/sample")
        )
    with pytest.raises(DataError, match=r"has shape \(12, 5\); translations are") as caught:
        open_scan(path)
    assert "--positions FILE" in caught.value.remedy
    np.savetxt(tmp_path / "p.csv", SMALL.metres, delimiter=",", header="y_m,x_m")
    assert_same(open_scan(path, {"positions": str(tmp_path / "p.csv")}), SMALL)
