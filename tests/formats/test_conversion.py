"""Scans and results in the formats of others: written, opened again, the same; and what is lost is said."""

import resource

import h5py
import numpy as np
import nxcxi_ptycho as definition
import pytest
from electron_files import PIXEL as ELECTRON_PIXEL
from electron_files import emd, grid
from small_files import cxi, dectris
from small_scan import DISTANCE, ENERGY, PITCH, PIXEL, SIZE, SmallScan

import ptycho_core
from ptycho_core.cli.main import main
from ptycho_core.conversion import convert
from ptycho_core.errors import DataError, OutputError
from ptycho_core.formats.contents import Contents
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import Reconstruction, load_reconstruction, read_object
from ptycho_core.formats.registry import usable_formats

WRITTEN = ("plain", "pinn", "ptychodus", "cxi", "nexus", "ptypy")
GEOMETRY = {"photon_energy_ev": ENERGY, "detector_distance_m": DISTANCE, "detector_pixel_size_m": PITCH}
FLAGS = ["--photon-energy-ev", ENERGY, "--detector-distance-m", DISTANCE, "--detector-pixel-size-m", PITCH]
RANDOM = np.random.default_rng(4)
PROBE = (RANDOM.normal(size=(2, SIZE, SIZE)) + 1j * RANDOM.normal(size=(2, SIZE, SIZE))).astype(np.complex64)
WORDS = {"probe": "The probe", "probe scale": "scaled to counts", "scan index": "Which of 2 scans", "object": "The object of"}


def masked(folder):
    """Counts of 32 bits, a mask, positions in metres."""
    return cxi(folder / "masked.cxi", SmallScan())


def modes(folder):
    """Counts beyond what float32 holds, a probe of two modes in counts, two scans, an object that the positions index."""
    small = SmallScan()
    counts = small.counts.astype(np.uint32)
    counts[0, 0, 0] = 2**24 + 1
    arrays = {
        "probe_guess": PROBE, "probe_in_counts": True, "scan_index": np.arange(12) // 6,
        "object_guess": np.full((60, 40), 1j, np.complex64), "intensity": counts, "positions_px": small.positions,
    }  # fmt: skip
    np.savez(folder / "modes.npz", **arrays, **GEOMETRY)
    return folder / "modes.npz"


def amplitudes(folder):
    """Roots of counts in float32."""
    small = SmallScan()
    roots, (rows, columns) = np.sqrt(small.counts).astype(np.float32), small.positions.T
    np.savez(folder / "roots.npz", diffraction=roots, xcoords=columns, ycoords=rows, probeGuess=PROBE[0], **GEOMETRY)
    return folder / "roots.npz"


SOURCES = {"masked": masked, "modes": modes, "amplitudes": amplitudes}


@pytest.mark.parametrize("to", WRITTEN)
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_written_opens_as_the_same_scan_and_what_is_lost_is_said(name, to, tmp_path):
    source = SOURCES[name](tmp_path)
    done = convert(source, tmp_path / "out", to)
    before, after = open_scan(source), open_scan(tmp_path / "out")
    np.testing.assert_array_equal(after.patterns.read(slice(None)), before.patterns.read(slice(None)))
    np.testing.assert_array_equal(after.mask, before.mask)
    apart = after.positions - before.positions
    np.testing.assert_allclose(apart, np.broadcast_to(apart.mean(axis=0), apart.shape), rtol=0, atol=1e-9)
    assert after.object_pixel_m == pytest.approx(before.object_pixel_m, rel=1e-12)
    there = {
        "probe": before.probe, "probe scale": before.probe_scaled or None, "scan index": before.scan_index,
        "object": before.object_guess,
    }  # fmt: skip
    for part, value in there.items():
        said = any(WORDS[part] in sentence for sentence in done.lost)
        assert said == (value is not None and part not in done.format.keeps), (part, done.lost)
    if "probe" in done.format.keeps and before.probe is not None:
        np.testing.assert_array_equal(after.probe, before.probe)
        assert after.probe_scaled == (before.probe_scaled and "probe scale" in done.format.keeps)
    if "object" in done.format.keeps and before.object_guess is not None:
        np.testing.assert_array_equal(after.object_guess, before.object_guess)
        np.testing.assert_allclose(after.positions, before.positions, atol=1e-9)
    assert any("bad pixels: they hold 0" in sentence for sentence in done.lost) == (not before.mask.all())


def test_counts_keep_their_type_where_a_program_takes_it(tmp_path):
    for to, dtype in (("plain", "u4"), ("ptychodus", "u4"), ("ptypy", "u4"), ("cxi", "i8"), ("nexus", "i8")):
        convert(modes(tmp_path), tmp_path / to, to)
        scan = open_scan(tmp_path / to)
        assert scan.patterns.dtype == dtype
        assert scan.patterns.as_stored(slice(1))[0, 0, 0] == 2**24 + 1  # float32 has no such number
    for bare, dtype in ((SmallScan().counts.astype(np.float32), "i4"), (SmallScan().counts / np.float32(3), "f4")):
        np.savez(tmp_path / "floats.npz", intensity=bare, positions_px=SmallScan().positions, **GEOMETRY)
        done = convert(tmp_path / "floats.npz", tmp_path / "out", "nexus", overwrite=True)
        assert open_scan(tmp_path / "out").patterns.dtype == dtype
        assert any("are fractions" in note for note in done.notes) == (dtype == "f4")
    convert(amplitudes(tmp_path), tmp_path / "roots", "pinn")
    with np.load(tmp_path / "roots") as file, np.load(tmp_path / "roots.npz") as source:
        assert file["diffraction"].dtype == np.float32
        assert np.array_equal(file["diffraction"], source["diffraction"])


@pytest.mark.parametrize("to", WRITTEN)
def test_a_scan_without_geometry_is_written_where_no_metres_are_needed_else_asked_for_it(to, tmp_path, capsys):
    np.savez(tmp_path / "bare.npz", intensity=SmallScan().counts, positions_px=SmallScan().positions)
    before = sorted(tmp_path.iterdir())
    words = ["convert", str(tmp_path / "bare.npz"), str(tmp_path / "out"), "--to", to]
    needs = to not in ("plain", "pinn")
    assert main(words) == (5 if needs else 0)
    if needs:
        told = "Give --photon-energy-ev, --detector-distance-m and --detector-pixel-size-m."
        assert told in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before
        assert main([*words, *map(str, FLAGS)]) == 0
    assert np.ptp(open_scan(tmp_path / "out").positions - SmallScan().positions, axis=0).max() < 1e-9


def test_how_the_source_is_to_be_read_acts(tmp_path):
    asked = {"frames": "1:9:2", "bin": 2, "orientation": "swap-flip-rows", "photons": 500.0}
    convert(masked(tmp_path), tmp_path / "out", "cxi", **asked)
    before, after = open_scan(masked(tmp_path), asked), open_scan(tmp_path / "out")
    assert after.patterns.shape == (4, SIZE // 2, SIZE // 2)
    np.testing.assert_array_equal(after.patterns.read(slice(None)), before.patterns.read(slice(None)))
    np.testing.assert_allclose(np.diff(after.positions, axis=0), np.diff(before.positions, axis=0), atol=1e-9)
    assert after.object_pixel_m == pytest.approx(before.object_pixel_m)


def test_electrons_become_photons_of_their_wavelength_which_is_said(tmp_path):
    scan = emd(tmp_path / "electrons.emd", grid()[1])
    with pytest.raises(DataError, match=r"Give --photon-energy-ev and --detector-distance-m\."):
        convert(scan, tmp_path / "out", "cxi")
    with pytest.raises(DataError, match=r"does not state the distance, .* Give --detector-distance-m\."):
        convert(scan, tmp_path / "out", "cxi", photon_energy_ev=80e3)
    with pytest.raises(DataError, match=r"the detector's pixel would be 0\.013 m, which no reader takes for metres"):
        convert(scan, tmp_path / "out", "cxi", photon_energy_ev=80e3, detector_distance_m=1.0)
    for to in ("cxi", "nexus", "ptypy", "ptychodus", "plain"):
        done = convert(scan, tmp_path / to, to, photon_energy_ev=80e3, detector_distance_m=0.1)
        assert any("electrons of 80000 eV become photons" in note for note in done.notes)
        found = open_scan(tmp_path / to)
        assert found.object_pixel_m == pytest.approx(ELECTRON_PIXEL, rel=1e-9)
        np.testing.assert_allclose(np.diff(found.positions, axis=0), np.diff(open_scan(scan).positions, axis=0), atol=1e-9)


class Watched:
    """Patterns (frame, N, N) that remember how many were asked for at once, and can be interrupted."""

    def __init__(self, frames, fail=None):
        self.shape, self.dtype, self.most, self.fail = (frames, SIZE, SIZE), np.dtype(np.float32), 0, fail

    def __len__(self):
        return self.shape[0]

    def read(self, frames):
        numbers = np.arange(len(self))[frames]
        self.most = max(self.most, len(numbers))
        if self.fail is not None and numbers[-1] >= self.fail:
            raise KeyboardInterrupt
        return np.ones((len(numbers), SIZE, SIZE), np.float32)


def contents(patterns):
    places = np.random.default_rng(1).uniform(0, 30, (len(patterns), 2))
    return Contents("a", SIZE, places, patterns, probe=PROBE, object_pixel_m=PIXEL, **GEOMETRY)


@pytest.mark.parametrize("to", WRITTEN)
def test_frames_stream_and_an_interrupted_file_is_none(to, tmp_path):
    (form,) = (one for one in usable_formats() if one.written_as == to and "patterns" in one.keeps)
    told, watched = [], Watched(200)
    form.write(contents(watched), tmp_path / "out", lambda done, total: told.append((done, total)))
    assert watched.most == 64
    assert told == [(64, 200), (128, 200), (192, 200), (200, 200)]
    assert len(open_scan(tmp_path / "out")) == 200
    whole = (tmp_path / "out").read_bytes()
    for name in ("out", "new"):
        with pytest.raises(KeyboardInterrupt):
            form.write(contents(Watched(200, fail=150)), tmp_path / name)
    assert (tmp_path / "out").read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


@pytest.fixture
def result(tmp_path):
    """A result of frames 0, 2, 3 … of a scan, and the scan."""
    small = SmallScan()
    np.savez(tmp_path / "scan.npz", intensity=small.counts, positions_px=small.positions)
    (tmp_path / "result").mkdir()
    frames = np.delete(np.arange(12), 1)
    mask = np.ones((SIZE, SIZE), bool)
    mask[3, 4] = False
    image = (RANDOM.normal(size=(60, 41)) + 1j * RANDOM.normal(size=(60, 41))).astype(np.complex64)
    one = Reconstruction(
        object=image, probe=PROBE, positions=small.positions[frames] + 0.25, frames=frames, mask=mask, held_out=np.array([2]),
        history=({"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}), name="star", facts={}, settings={}, stopped_by="",
        interrupted=False, background=None, held_out_sums=None,
    )  # fmt: skip
    one.save(tmp_path / "result" / "reconstruction.h5")
    return tmp_path / "result"


@pytest.mark.parametrize("to", ["ptychodus", "cxi", "ptypy"])
def test_a_result_is_one_for_other_programs(to, result, tmp_path):
    done = convert(result, tmp_path / "out.h5", to, **GEOMETRY)
    ours, stored = load_reconstruction(result), read_object(tmp_path / "out.h5")
    assert done.patterns is None
    for part in ("object", "probe"):
        np.testing.assert_array_equal(getattr(stored, part), getattr(ours, part))
    np.testing.assert_allclose(stored.positions, ours.positions, rtol=0, atol=1e-9)
    assert stored.pixel_size_m is None or stored.pixel_size_m == pytest.approx((PIXEL, PIXEL))
    assert (stored.frames is None) == (to == "ptypy")
    assert any("held out" in sentence for sentence in done.lost)
    assert any("The mask of 1 bad" in sentence for sentence in done.lost)
    known = {"detector_distance_m": DISTANCE} if to == "ptypy" else {}  # a ptyr does not state it
    convert(tmp_path / "out.h5", tmp_path / "others.h5", "ptychodus", **known)  # a result of another program
    with h5py.File(tmp_path / "others.h5") as file:
        assert file.attrs["photon_energy_eV"] == pytest.approx(ENERGY)
        assert file.attrs["detector_object_distance_m"] == DISTANCE
    with pytest.raises(DataError, match=r"holds no patterns, .* Convert the scan that it was made from\."):
        convert(tmp_path / "out.h5", tmp_path / "plain", "plain")
    again = convert(tmp_path / "out.h5", tmp_path / "again", "ptypy")
    np.testing.assert_array_equal(read_object(tmp_path / "again").object, ours.object)
    assert again.format.name == "ptyr"


@pytest.mark.parametrize("to", ["plain", "pinn", "ptychodus", "cxi"])
def test_a_result_goes_with_the_patterns_of_its_scan(to, result, tmp_path):
    done = convert(result, tmp_path / "out", to, scan=tmp_path / "scan.npz", **GEOMETRY)
    ours, scan = load_reconstruction(result), open_scan(tmp_path / "out")
    assert done.patterns == (11, SIZE, SIZE)
    np.testing.assert_array_equal(scan.patterns.read(slice(None)), SmallScan().counts[ours.frames] * ours.mask)
    np.testing.assert_array_equal(scan.object_guess, ours.object)
    np.testing.assert_array_equal(scan.probe, ours.probe)
    np.testing.assert_allclose(scan.positions, ours.positions, rtol=0, atol=1e-9)
    assert not scan.mask[3, 4]
    if to == "ptychodus":
        with h5py.File(tmp_path / "out") as file:
            assert file["indexes"][()].tolist() == ours.frames.tolist() == file["probe_position_indexes"][()].tolist()
            assert file["loss_values"][()].tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["result", "out", "--to", "plain"], 5, "holds no patterns, which a file of plain npz needs. Give the scan"),
        (["result", "out", "--to", "nexus"], 5, "--scan FILE"),
        (["result", "out", "--to", "ptypy"], 5, "Give --object-pixel-m."),
        (["result", "out", "--to", "cxi", "--bin", "2"], 2, "--bin says how a scan is read"),
        (["scan.npz", "out", "--to", "plain", "--scan", "scan.npz"], 2, "--scan belongs to a result of ptycho"),
        (["result", "out", "--to", "plain", "--scan", "other.npz"], 5, "has 5 frames"),
        (["scan.npz", "out", "--to", "ptypi"], 2, "Did you mean 'ptypy'?"),
        (["scan.npz", "out", "--to", "tike"], 2, "this format is read, and not written. Written are cxi,"),
        (["scan.npz", "scan.npz", "--to", "plain", "--overwrite"], 2, "but it is read"),
        (["result", "result/reconstruction.h5", "--to", "cxi", "--overwrite"], 2, "but it is read"),
        (["scan.npz", "other.npz", "--to", "plain"], 2, "exists already"),
        (["none.npz", "out", "--to", "plain"], 5, "none.npz does not exist"),
        (
            ["run", "out", "--to", "cxi"],
            5,
            "is a trained network, which no format of another program holds. Convert what",
        ),
        (["scan_7_master.h5", "scan_7_positions.csv", "--to", "plain", "--overwrite"], 2, "but it is read"),
        (["scan.npz", "nowhere/out", "--to", "plain"], 2, "there is no folder nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_on(words, status, told, result, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.ptycho").touch()
    dectris(tmp_path, SmallScan())
    np.savez("other.npz", intensity=SmallScan().counts[:5], positions_px=SmallScan().positions[:5])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["convert", *words]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert len(err.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("to", WRITTEN)
def test_a_disk_that_is_full_is_one_sentence_and_leaves_nothing(to, tmp_path):
    source, before = modes(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"Cannot write .*/out: File too large\.$"):
            convert(source, tmp_path / "out", to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.name for one in tmp_path.iterdir()] == ["modes.npz"]


def test_the_command_says_what_is_in_the_file_and_what_is_not(tmp_path, capsys):
    source = modes(tmp_path)
    assert main(["convert", str(source), str(tmp_path / "out.ptyd"), "--to", "ptypy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"written     {tmp_path / 'out.ptyd'}: ptypy ptyd, 12 patterns of 16 x 16 pixels"
    assert "lost        The probe of 2 modes." in lines
    assert "lost        Which of 2 scans a frame belongs to." in lines
    assert any(line.startswith("note") for line in lines)


def test_a_scan_that_is_damaged_is_not_taken_for_a_result(tmp_path):
    np.savez(
        tmp_path / "a.npz", diffraction=np.ones((3, 8, 8)), xcoords=np.ones(2), ycoords=np.ones(2), objectGuess=np.ones((9, 9))
    )
    with pytest.raises(DataError, match="one for each frame"):
        convert(tmp_path / "a.npz", tmp_path / "out", "plain")


def test_nxcxi_ptycho_has_what_its_definition_requires(tmp_path):
    ptycho_core.convert(masked(tmp_path), tmp_path / "out.nxs", "nexus")
    with h5py.File(tmp_path / "out.nxs") as file:
        entry = file["entry_1"]
        assert file["cxi_version"][()] == 160
        assert entry["definition"].asstr()[()] == "NXcxi_ptycho"
        for key, name in definition.GROUPS.items():
            assert (entry[key] if key else entry).attrs["NX_class"] == name
        for key in definition.FLOATS + definition.WITH_UNITS:
            assert entry[key].dtype.kind == "f", key
        for key in definition.WITH_UNITS:
            assert entry[key].attrs["units"] in ("m", "J"), key
        for key in definition.WORDS:
            assert h5py.check_string_dtype(entry[key].dtype), key
        for key, names in definition.ATTRIBUTES.items():
            assert set(names) <= set(entry[key].attrs), key
        for key, target in definition.LINKS.items():
            assert entry[key] == entry[target], key
        assert entry["instrument_1/detector_1/data"].dtype.kind == "i"
        assert entry["instrument_1/detector_1/translation"].shape == (12, 3)
        assert entry["instrument_1/beam_1/energy"][()] == pytest.approx(ENERGY * 1.602176634e-19)


def test_a_ptyd_has_the_items_and_types_that_ptypy_writes(tmp_path):
    convert(masked(tmp_path), tmp_path / "out.ptyd", "ptypy")
    meta = {"center": "array", "psize": "array", "shape": "array", "label": "string"}
    meta |= dict.fromkeys(("distance", "energy", "num_frames", "version"), "scalar")
    chunk = {"data": "array", "positions": "array", "weights": "array", "indices": "arraylist"}
    with h5py.File(tmp_path / "out.ptyd") as file:
        for group, wanted in (("meta", meta), ("chunks/0", chunk)):
            assert file[group].attrs["type"] == "dict"
            assert {key: item.attrs["type"] for key, item in file[group].items()} == wanted
        assert (file["meta/energy"][()], file["meta/num_frames"][()]) == (pytest.approx(ENERGY / 1e3), 12)
        assert file["meta/center"][()].tolist() == [SIZE / 2, SIZE / 2]
        assert file["chunks/0/weights"].shape == (12, SIZE, SIZE)
