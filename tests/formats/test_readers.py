"""Each reader gives the scan that its program wrote, exactly on good pixels; what others write is read as they mean it."""

import json
import shutil

import h5py
import numpy as np
import pytest
from small_files import (
    FULL,
    JOULE,
    cxi,
    dectris,
    nexus,
    object_of,
    probe,
    ptychodus_diffraction,
    ptychodus_product,
    ptychodus_training,
    ptylab,
    write,
)
from small_scan import DISTANCE, ENERGY, FRAMES, PIXEL, SIZE, SmallScan, assert_same

from ptycho_core.cli.main import main
from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.hdf5_source import Hdf5Source
from ptycho_core.formats.opening import ScanFile, open_scan
from ptycho_core.formats.product import read_object, read_probe
from ptycho_core.settings.facts import scan_facts

SMALL = SmallScan()
DETECTOR = "entry_1/instrument_1/detector_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"


class TestCxi:
    def test_it_is_read(self, tmp_path):
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL))
        assert_same(scan, SMALL)
        assert scan.format == "CXI"
        assert np.argwhere(~scan.mask).tolist() == [[2, 3]]
        assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)
        assert scan.object_pixel_m == pytest.approx(PIXEL)

    def test_basis_vectors_turn_the_motion_of_the_sample(self, tmp_path):
        """Rows along x and columns along y: the window moves by minus the sample, along them."""
        moved = np.stack([-SMALL.metres[:, 0], -SMALL.metres[:, 1], np.zeros(FRAMES)], axis=1)
        changes = {f"{DETECTOR}/basis_vectors": np.eye(2, 3) * 75e-6, TRANSLATION: moved}
        assert_same(open_scan(cxi(tmp_path / "a.cxi", SMALL, changes)), SMALL)

    def test_without_basis_vectors_the_usual_ones_hold(self, tmp_path):
        assert_same(open_scan(cxi(tmp_path / "a.cxi", SMALL, {f"{DETECTOR}/basis_vectors": None})), SMALL)

    @pytest.mark.parametrize("energy", [ENERGY, ENERGY / 1e3])
    def test_an_energy_that_cannot_be_joules_is_read_as_what_it_can_be(self, energy, tmp_path):
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL, {"entry_1/instrument_1/source_1/energy": energy}))
        assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)
        assert any("cannot be J" in note for note in scan.notes)

    def test_a_translation_elsewhere_is_found(self, tmp_path):
        moved = np.stack([SMALL.metres[:, 1], SMALL.metres[:, 0], np.zeros(FRAMES)], axis=1)
        changes = {TRANSLATION: None, "entry_1/data_1/translation": moved, "cxi_version": None}
        assert_same(open_scan(cxi(tmp_path / "a.cxi", SMALL, changes)), SMALL)

    def test_vectors_that_span_nothing_are_refused(self, tmp_path):
        with pytest.raises(DataError, match="does not span the detector"):
            open_scan(cxi(tmp_path / "a.cxi", SMALL, {f"{DETECTOR}/basis_vectors": np.ones((3, 2))}))


class TestNexus:
    def test_it_is_read_by_its_units(self, tmp_path):
        scan = open_scan(nexus(tmp_path / "a.nxs", SMALL))
        assert_same(scan, SMALL)
        assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)
        assert scan.geometry.detector_distance_m == pytest.approx(DISTANCE)

    def test_units_that_lie_are_seen_through(self, tmp_path):
        """Both converters of NX-cxi-ptycho call joules eV, and metres um."""
        changes = {"entry_1/instrument/beam/energy": ENERGY / JOULE, "entry_1/instrument/detector/distance": DISTANCE}
        changes |= {f"entry_1/instrument/detector/{axis}_pixel_size": 75e-6 for axis in "xy"}
        lying = {("entry_1/instrument/beam/energy", "units"): "eV", ("entry_1/instrument/detector/distance", "units"): "um"}
        scan = open_scan(nexus(tmp_path / "a.nxs", SMALL, changes, lying))
        assert_same(scan, SMALL)
        assert sum("which cannot be" in note for note in scan.notes) == 4

    def test_positions_whose_unit_lies_are_read_in_metres(self, tmp_path):
        moves = "entry_1/sample/transformations"
        changes = {f"{moves}/{axis}_fine_translation": SMALL.metres[:, place] for axis, place in (("x", 1), ("y", 0))}
        scan = open_scan(nexus(tmp_path / "a.nxs", SMALL, changes))
        assert_same(scan, SMALL)
        assert any("read in m" in note for note in scan.notes)

    def test_coarse_and_fine_motions_are_added_up_and_a_vector_has_a_sign(self, tmp_path):
        moves, coarse = "entry_1/sample/transformations", np.arange(FRAMES) * 0.1
        changes = {f"{moves}/x_fine_translation": -(SMALL.metres[:, 1] * 1e6 - coarse), f"{moves}/x_coarse": coarse}
        told = {(f"{moves}/x_fine_translation", "vector"): [-1.0, 0, 0], (f"{moves}/x_coarse", "units"): "um"}
        assert_same(open_scan(nexus(tmp_path / "a.nxs", SMALL, changes, told)), SMALL)

    @pytest.fixture
    def raster(self, tmp_path):
        """As Diamond writes it: a raster whose frames lie in another file."""
        grid = (3, 4)
        with h5py.File(tmp_path / "det.hdf", "w") as file:
            file.create_dataset(
                "entry/data", data=SMALL.counts.reshape(*grid, SIZE, SIZE), chunks=(1, 1, SIZE, SIZE), compression=1
            )
        moves, old = "entry_1/sample/transformations", "entry_1/instrument/detector/data"
        changes = {
            "entry_1/definition": "NXcxi_ptycho", old: h5py.ExternalLink("det.hdf", "/entry/data"),
            f"{moves}/x_fine_translation": None, f"{moves}/y_fine_translation": None,
            f"{moves}/x": SMALL.metres[:, 1].reshape(grid) * 1e6, f"{moves}/y": SMALL.metres[:, 0].reshape(grid) * 1e6,
        }  # fmt: skip
        path, told = tmp_path / "a.nxs", {(f"{moves}/{axis}", "units"): "um" for axis in "xy"}
        nexus(path, SMALL)  # whose attributes are of keys that this one lacks
        values = {}
        with h5py.File(path) as file:
            file.visititems(lambda key, node: values.update({key: node[()]}) if isinstance(node, h5py.Dataset) else None)
            units = {(key, "units"): file[key].attrs["units"] for key in values if "units" in file[key].attrs}
        values |= changes
        return write(path, values, {pair: unit for pair, unit in units.items() if values[pair[0]] is not None} | told)

    def test_a_raster_whose_frames_lie_in_another_file_is_read(self, raster):
        assert_same(open_scan(raster), SMALL)

    def test_absent_frames_are_refused_by_name(self, raster):
        (raster.parent / "det.hdf").unlink()
        with pytest.raises(DataError, match=r"det\.hdf, which does not exist"):
            open_scan(raster)


class TestDectris:
    def test_a_master_is_read_with_its_data_files_and_a_table(self, tmp_path):
        scan = open_scan(dectris(tmp_path, SMALL), {"size": SIZE})
        assert_same(scan, SMALL)
        assert np.argwhere(~scan.mask).tolist() == [[1, 2], [3, 4]]
        assert scan.geometry.photon_energy_ev == pytest.approx(ENERGY)

    def test_data_files_that_were_renamed_after_the_master_are_found(self, tmp_path):
        path = dectris(tmp_path, SMALL)
        for number in (1, 2):
            (tmp_path / f"scan_7_data_{number:06d}.h5").rename(tmp_path / f"moved_data_{number:06d}.h5")
        shutil.move(tmp_path / "scan_7_positions.csv", tmp_path / "moved_positions.csv")
        scan = open_scan(path.rename(tmp_path / "moved_master.h5"), {"size": SIZE})
        assert_same(scan, SMALL)
        assert any("leads to an absent file" in note for note in scan.notes)

    def test_an_absent_data_file_is_refused_by_name(self, tmp_path):
        path = dectris(tmp_path, SMALL)
        (tmp_path / "scan_7_data_000002.h5").unlink()
        with pytest.raises(DataError, match=r"scan_7_data_000002\.h5, which does not exist"):
            open_scan(path)

    def test_a_virtual_dataset_whose_source_is_absent_is_refused(self, tmp_path):
        """HDF5 would read zeros."""
        path = dectris(tmp_path, SMALL)
        layout = h5py.VirtualLayout((FRAMES, 20, 24), np.uint32)
        layout[:7] = h5py.VirtualSource("scan_7_data_000001.h5", "entry/data/data", (7, 20, 24))
        layout[7:] = h5py.VirtualSource("scan_7_data_000002.h5", "entry/data/data", (FRAMES - 7, 20, 24))
        with h5py.File(path, "a") as file:
            del file["entry/data"]
            file.create_virtual_dataset("entry/data/data", layout)
        assert_same(open_scan(path, {"size": SIZE}), SMALL)
        (tmp_path / "scan_7_data_000002.h5").unlink()
        with pytest.raises(DataError, match=r"scan_7_data_000002\.h5, which does not exist"):
            open_scan(path)

    def test_a_beam_and_a_distance_of_zero_are_not_stated(self, tmp_path):
        changes = {f"entry/instrument/detector/{name}": 0.0 for name in ("beam_center_x", "beam_center_y", "detector_distance")}
        path = dectris(tmp_path, SMALL, changes=changes)
        with pytest.raises(DataError, match="--detector-distance-m"):
            open_scan(path)
        assert_same(open_scan(path, {"size": SIZE, "beam_center": "9,11", "detector_distance_m": DISTANCE}), SMALL)

    def test_compressed_frames_are_read(self, tmp_path):
        hdf5plugin = pytest.importorskip("hdf5plugin")
        assert_same(open_scan(dectris(tmp_path, SMALL, filters=dict(hdf5plugin.Bitshuffle())), {"size": SIZE}), SMALL)

    def test_a_filter_that_is_not_installed_is_named(self, tmp_path):
        path = dectris(tmp_path, SMALL)
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((1, 20, 24))
        made.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, ())
        with h5py.File(tmp_path / "scan_7_data_000002.h5", "w") as file:
            h5py.h5d.create(
                file.create_group("entry/data").id, b"data", h5py.h5t.NATIVE_UINT32, h5py.h5s.create_simple((5, 20, 24)), made
            )
        with pytest.raises(DataError, match=r"filter 32999.*ptycho-core\[eiger\]"):
            open_scan(path)

    def test_largest_values_are_no_counts(self, tmp_path):
        scan = open_scan(dectris(tmp_path, SMALL))
        assert scan.patterns.read(slice(None)).max() < FULL / 2


class TestPtychodus:
    @pytest.fixture
    def pair(self, tmp_path):
        return ptychodus_diffraction(tmp_path / "d1_diffraction.h5", SMALL), ptychodus_product(tmp_path / "d1_product.h5", SMALL)

    def test_either_of_the_two_is_given_and_the_other_found(self, pair):
        for path in pair:
            scan = open_scan(path)
            assert_same(scan, SMALL)
            np.testing.assert_allclose(scan.positions, SMALL.positions, atol=1e-6)  # of the object's pixels, too
            assert scan.probe_scaled
            assert scan.object_guess is not None
            assert np.argwhere(~scan.mask).tolist() == [[1, 2]]

    def test_the_folder_that_the_program_writes_is_one_scan(self, tmp_path):
        ptychodus_diffraction(tmp_path / "diffraction.h5", SMALL)
        ptychodus_product(tmp_path / "product.h5", SMALL)
        assert_same(open_scan(tmp_path), SMALL)

    def test_frames_and_positions_pair_by_number(self, tmp_path):
        order = np.random.default_rng(2).permutation(FRAMES)
        kept = np.array([2, 0, 5, 7])
        path = ptychodus_diffraction(
            tmp_path / "d1_diffraction.h5", SMALL, {"patterns": SMALL.counts[kept], "indexes": [9, 7, 12, 99]}
        )
        product = ptychodus_product(tmp_path / "d1_product.h5", SMALL)
        with h5py.File(product, "a") as file:
            for key in ("probe_position_indexes", "probe_position_x_m", "probe_position_y_m"):
                file[key][...] = file[key][()][order]
        scan = open_scan(path, {"mask": None})
        assert_same(scan, SMALL, frames=kept[:3])
        assert any("1 of 4 frames have no position" in note for note in scan.notes)

    def test_a_product_alone_has_no_frames(self, pair):
        pair[0].unlink()
        with pytest.raises(DataError, match="holds positions and no frames"):
            open_scan(pair[1])

    def test_diffraction_alone_needs_positions(self, pair):
        pair[1].unlink()
        with pytest.raises(DataError, match="--positions FILE"):
            open_scan(pair[0])

    def test_positions_as_ptychodus_writes_tables(self, pair, tmp_path):
        """The csv is y,x and the txt x y."""
        pair[1].unlink()
        np.savetxt(tmp_path / "a.csv", SMALL.metres, delimiter=",")
        np.savetxt(tmp_path / "a.txt", SMALL.metres[:, ::-1])
        geometry = {"photon_energy_ev": ENERGY, "detector_distance_m": DISTANCE}
        for name in ("a.csv", "a.txt"):
            assert_same(open_scan(pair[0], geometry | {"positions": str(tmp_path / name)}), SMALL)

    def test_old_names_and_a_probe_pixel_of_zero_are_read(self, tmp_path):
        path = ptychodus_diffraction(tmp_path / "d1_diffraction.h5", SMALL)
        product = ptychodus_product(tmp_path / "d1_product.h5", SMALL)
        with h5py.File(product, "a") as file:
            file.attrs["probe_energy_eV"] = file.attrs.pop("photon_energy_eV")
            file["probe"].attrs["pixel_width_m"] = 0.0
        assert open_scan(path).geometry.photon_energy_ev == ENERGY

    def test_a_training_file_is_read(self, tmp_path):
        scan = open_scan(ptychodus_training(tmp_path / "a.h5", SMALL))
        assert_same(scan, SMALL)
        np.testing.assert_allclose(scan.positions, SMALL.positions, atol=1e-9)
        assert scan.object_pixel_m == pytest.approx(PIXEL)

    def test_bad_pixels_of_the_npz_for_ptychopinn_become_the_mask(self, tmp_path):
        bad = np.zeros((SIZE, SIZE), bool)
        bad[4, 5] = True
        middle = SMALL.positions + (SIZE - 1) / 2
        counts = np.where(bad, 0, SMALL.counts)
        np.savez(tmp_path / "a.npz", diff3d=counts, bad_pixels=bad, xcoords=middle[:, 1], ycoords=middle[:, 0])
        scan = open_scan(tmp_path / "a.npz")
        assert_same(scan, SMALL)
        assert scan.signal == "counts"
        assert np.array_equal(~scan.mask, bad)


class TestWhatAllShare:
    def test_two_formats_that_are_equally_sure_are_both_named_and_one_is_chosen(self, tmp_path):
        np.savez(tmp_path / "a.npz", intensity=SMALL.counts, xcoords=np.zeros(FRAMES))
        with pytest.raises(DataError, match=r"pinn_npz: .*plain_npz: .*--format"):
            open_scan(tmp_path / "a.npz")
        with pytest.raises(DataError, match="'positions_px'"):
            open_scan(tmp_path / "a.npz", {"format": "plain_npz"})
        with pytest.raises(SettingsError, match="Did you mean 'plain_npz'"):
            open_scan(tmp_path / "a.npz", {"format": "plain_np"})

    def test_positions_that_are_not_finite_are_dropped_and_counted(self, tmp_path):
        places = np.stack([SMALL.metres[:, 1], SMALL.metres[:, 0], np.zeros(FRAMES)], axis=1)
        places[[3, 8], 0] = np.nan
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL, {TRANSLATION: places}))
        assert_same(scan, SMALL, frames=np.setdiff1d(np.arange(FRAMES), [3, 8]))
        assert any("2 of 12 frames are left out" in note for note in scan.notes)

    def test_positions_of_another_number_are_refused_with_both_shapes(self, tmp_path):
        path = cxi(tmp_path / "a.cxi", SMALL, {TRANSLATION: np.zeros((FRAMES - 2, 3))})
        with pytest.raises(DataError, match=r"\(10, 2\).*12 frames.*--frames"):
            open_scan(path)

    def test_some_frames_are_taken(self, tmp_path):
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL), {"frames": "2:11:3"})
        assert_same(scan, SMALL, frames=slice(2, 11, 3))

    def test_what_contradicts_itself_is_refused_and_overruled(self, tmp_path):
        path = ptychodus_training(tmp_path / "a.h5", SMALL, {"detector_object_distance_m": None})
        pair = ptychodus_diffraction(tmp_path / "d1_diffraction.h5", SMALL)
        ptychodus_product(tmp_path / "d1_product.h5", SMALL, attributes={("/", "photon_energy_eV"): 2 * ENERGY})
        with pytest.raises(DataError, match="--object-pixel-m"):
            open_scan(pair)
        scan = open_scan(pair, {"photon_energy_ev": ENERGY})
        assert_same(scan, SMALL)
        assert any(note.startswith("Overruled: photon_energy_ev") for note in scan.notes)
        assert open_scan(path).object_pixel_m == pytest.approx(PIXEL)

    @pytest.mark.parametrize(
        ("orientation", "turned"),
        [
            ("flip-rows", lambda p: p * [-1, 1]),
            ("swap", lambda p: p[:, ::-1]),
            ("swap-flip-rows", lambda p: p[:, ::-1] * [-1, 1]),
        ],
    )
    def test_positions_are_turned(self, orientation, turned, tmp_path):
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL), {"orientation": orientation})
        assert_same(scan, SmallScan(positions=turned(SMALL.positions)))

    def test_positions_are_rotated_from_rows_to_columns(self, tmp_path):
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL), {"rotation_deg": 90})
        assert_same(scan, SmallScan(positions=SMALL.positions[:, ::-1] * [-1, 1]))

    def test_binned_patterns_keep_the_pixel_of_the_object(self, tmp_path):
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL), {"bin": 2})
        assert scan.patterns.shape == (FRAMES, SIZE // 2, SIZE // 2)
        assert scan.object_pixel_m == pytest.approx(PIXEL)
        sums = SMALL.counts.reshape(FRAMES, SIZE // 2, 2, SIZE // 2, 2).sum(axis=(2, 4))
        np.testing.assert_array_equal(scan.patterns.read(slice(None))[:, scan.mask], sums[:, scan.mask])
        assert np.argwhere(~scan.mask).tolist() == [[1, 1]]

    def test_frames_that_are_not_square_are_cut_around_the_beam(self, tmp_path):
        wide = np.zeros((FRAMES, SIZE, SIZE + 6), np.uint16)
        wide[:, :, 4 : 4 + SIZE] = SMALL.counts
        np.savez(tmp_path / "a.npz", intensity=wide, positions_px=SMALL.positions)
        assert_same(open_scan(tmp_path / "a.npz", {"beam_center": f"{SIZE // 2},{4 + SIZE // 2}"}), SMALL)

    def test_a_table_with_numbers_of_frames_leaves_out_those_without(self, tmp_path):
        numbers = np.setdiff1d(np.arange(1, FRAMES + 1), [4, 6])
        rows = np.column_stack([numbers, SMALL.metres[numbers - 1] * 1e9])
        np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header="frame,y_nm,x_nm")
        scan = open_scan(cxi(tmp_path / "a.cxi", SMALL), {"positions": str(tmp_path / "a.csv")})
        assert_same(scan, SMALL, frames=numbers - 1)
        with pytest.raises(DataError, match="no column 'z'; it has frame, y_nm, x_nm"):
            open_scan(tmp_path / "a.cxi", {"positions": f"{tmp_path / 'a.csv'}:z,x_nm"})

    def test_the_pixel_of_an_object_follows_the_size(self, tmp_path):
        path = ptychodus_training(tmp_path / "a.h5", SMALL)
        facts = {name: value for name, (value, _) in scan_facts(ScanFile(path), {"size": 8}).items()} | {"size": 8}
        assert open_scan(path, facts).object_pixel_m == pytest.approx(2 * PIXEL)

    def test_an_object_that_windows_lie_outside_of_is_left_aside(self, tmp_path):
        ptychodus_product(tmp_path / "d1_product.h5", SMALL, {"object": np.ones((1, SIZE + 2, SIZE + 2), complex)})
        scan = open_scan(ptychodus_diffraction(tmp_path / "d1_diffraction.h5", SMALL))
        assert scan.object_guess is None

    def test_inspect_says_what_was_used_and_what_was_left_aside(self, tmp_path, capsys):
        path = cxi(tmp_path / "a.cxi", SMALL, {"entry_1/title": "a title"})
        assert main(["inspect", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["format_name"] == "cxi"
        assert "cxi_version" in found["evidence"]
        assert TRANSLATION in found["used"]
        assert found["left_aside"] == ["cxi_version", "entry_1/title"]

    def test_the_formats_are_listed_with_what_comes_with_what(self, capsys):
        assert main(["formats"]) == 0
        out = capsys.readouterr().out
        assert {"cxi", "dectris", "nexus", "plain_npz", "ptychodus"} <= {line.split()[0] for line in out.splitlines()}
        assert main(["formats", "cxi"]) == 0
        assert "basis_vectors" in capsys.readouterr().out


def ptychodus_cxi(path):
    """The product as ptychodus 1.7 writes it into CXI."""
    image, center = object_of(SMALL)
    middle = (SMALL.positions + (SIZE - 1) / 2 - (np.array(image.shape[1:]) - 1) / 2) * PIXEL + center
    own = {"object_center_y_m": center[0], "object_center_x_m": center[1], "probe_position_indexes": np.arange(7, 7 + FRAMES)}
    own |= {f"object_pixel_{side}_m": PIXEL for side in ("height", "width")}
    values = {
        "entry_1/image_1/data": probe(), "entry_1/image_2/data": image,
        "entry_1/instrument_1/detector_1/distance": DISTANCE, "entry_1/instrument_1/source_1/energy": ENERGY / JOULE,
        "entry_1/sample_1/geometry_1/translation": np.stack([middle[:, 1], middle[:, 0], np.zeros(FRAMES)], axis=1),
    }  # fmt: skip
    return write(path, values | {f"entry_1/ptychodus/{key}": value for key, value in own.items()} | {"cxi_version": 160})


def test_a_product_in_cxi_serves_as_positions_and_as_a_result(tmp_path):
    product = ptychodus_cxi(tmp_path / "d1_product.cxi")
    assert_same(open_scan(ptychodus_diffraction(tmp_path / "d1_diffraction.h5", SMALL)), SMALL)
    found = read_object(product)
    assert found.object.shape == object_of(SMALL)[0].shape[1:]
    np.testing.assert_allclose(found.positions, SMALL.positions, atol=1e-6)
    assert found.pixel_size_m == pytest.approx((PIXEL, PIXEL))
    assert read_probe(product).shape == (1, SIZE, SIZE)


def test_what_a_detector_flags_is_bad_whatever_the_mask_says(tmp_path):
    path = dectris(tmp_path, SMALL)
    np.save(tmp_path / "mask.npy", np.ones((20, 24), bool))
    scan = open_scan(path, {"size": SIZE, "mask": str(tmp_path / "mask.npy")})
    assert np.argwhere(~scan.mask).tolist() == [[1, 2], [3, 4]]
    np.save(tmp_path / "small.npy", np.ones((SIZE, SIZE), bool))
    with pytest.raises(DataError, match=r"has shape \(16, 16\) but the patterns are 20 x 24"):
        open_scan(path, {"mask": str(tmp_path / "small.npy")})


@pytest.mark.parametrize(("together", "roomy"), [(1, False), (8, True)])
def test_chunks_of_many_frames_have_room_to_be_decompressed_once(together, roomy, tmp_path):
    """Read at random, each frame would decompress all of its chunk again."""
    counts = np.random.default_rng(0).integers(0, 4, (64, 768, 512), np.uint16)  # 48 MiB, more than HDF5 keeps otherwise
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", data=counts, chunks=(together, 768, 512), compression="lzf")
    source = Hdf5Source(tmp_path / "a.h5")
    frames = source.frames("frames")
    kept = h5py.Dataset(h5py.h5d.open(source.file.id, b"frames")).id.get_access_plist().get_chunk_cache()[1]
    assert (kept >= counts.nbytes) == roomy
    order = np.random.default_rng(1).permutation(64)[:5]
    np.testing.assert_array_equal(frames.read(order), counts[order])


@pytest.mark.parametrize("name", ["a.npy", "a.npz:rows,columns", "b.h5:rows,columns"])
def test_positions_come_out_of_arrays(name, tmp_path):
    np.save(tmp_path / "a.npy", SMALL.metres)
    np.savez(tmp_path / "a.npz", rows=SMALL.metres[:, 0], columns=SMALL.metres[:, 1])
    write(
        tmp_path / "b.h5",
        {"rows": SMALL.metres[:, 0] * 1e6, "columns": SMALL.metres[:, 1] * 1e6},
        {("rows", "units"): "microns", ("columns", "units"): "um"},
    )
    path = ptylab(tmp_path / "a.hdf5", SMALL, encoder=np.zeros((FRAMES, 2)))
    assert_same(open_scan(path, {"positions": str(tmp_path / name)}), SMALL)
