"""Scans that cannot be used: one sentence with file, key and shape, and exit status 5."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.scan.scan import scaled_probe

FRAMES, SIZE = 6, 8


def plain(**changes):
    values = {
        "intensity": np.ones((FRAMES, SIZE, SIZE), np.float32),
        "positions_px": np.arange(2.0 * FRAMES).reshape(FRAMES, 2),
        "probe_guess": np.ones((SIZE, SIZE), complex),
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def pinn(**changes):
    values = {"diffraction": np.ones((FRAMES, SIZE, SIZE), np.float32), "xcoords": np.arange(6.0), "ycoords": np.arange(6.0)}
    return {name: value for name, value in (values | changes).items() if value is not None}


def with_value(value, frame):
    patterns = np.ones((FRAMES, SIZE, SIZE), np.float32)
    patterns[frame, 1, 2] = value
    return patterns


CASES = {
    "missing positions": (plain(positions_px=None), ["no key 'positions_px'", "'intensity', 'probe_guess'"]),
    "missing patterns": (plain(intensity=None), ["no key 'intensity'", "'positions_px'"]),
    "unknown layout": ({"reciprocal": np.ones(3)}, ["no scan in a known layout", "'reciprocal'"]),
    "no arrays": ({}, ["no scan in a known layout", "nothing"]),
    "missing column": (pinn(xcoords=None), ["no key 'xcoords'", "'diffraction'"]),
    "missing diffraction": (pinn(diffraction=None), ["no key 'diffraction' or 'diff3d'"]),
    "too few positions": (plain(positions_px=np.zeros((5, 2))), ["'positions_px'", "(5, 2)", "(6, 8, 8)", "6 frames"]),
    "too few coordinates": (pinn(xcoords=np.zeros(5), ycoords=np.zeros(5)), ["'diffraction'", "(6, 8, 8)", "5 positions"]),
    "unequal coordinates": (pinn(xcoords=np.zeros(5)), ["'xcoords' has shape (5,)", "'ycoords' (6,)"]),
    "three columns": (plain(positions_px=np.zeros((6, 3))), ["'positions_px'", "(6, 3)"]),
    "NaN position": (plain(positions_px=np.full((6, 2), np.nan)), ["'positions_px'", "not finite", "frame 0"]),
    "infinite coordinate": (pinn(ycoords=np.array([0, 1, np.inf, 3, 4, 5])), ["'ycoords'", "frame 2"]),
    "text positions": (plain(positions_px=np.full((6, 2), "a")), ["'positions_px'", "real numbers"]),
    "two axes": (plain(intensity=np.ones((6, 8))), ["'intensity'", "(6, 8)", "three axes"]),
    "ambiguous axis": (pinn(diffraction=np.ones((6, 6, 6), np.float32)), ["(6, 6, 6)", "is not determined", "--frame-axis"]),
    "empty": (plain(intensity=np.ones((0, 8, 8)), positions_px=np.ones((0, 2))), ["'intensity'", "(0, 8, 8)", "empty"]),
    "complex patterns": (plain(intensity=np.ones((6, 8, 8), complex)), ["'intensity'", "complex128"]),
    "boolean patterns": (pinn(diffraction=np.ones((6, 8, 8), bool)), ["'diffraction'", "bool", "--signal"]),
    "unknown signal": (plain(signal=np.array("photons")), ["'intensity'", "'photons'"]),
    "signal is a number": (plain(signal=np.array(1)), ["'signal'", "one string"]),
    "small probe": (plain(probe_guess=np.ones((4, 4), complex)), ["'probe_guess'", "(4, 4)", "8 x 8"]),
    "flat probe": (plain(probe_guess=np.ones(8, complex)), ["'probe_guess'", "(8,)"]),
    "dark probe": (plain(probe_guess=np.zeros((8, 8), complex)), ["'probe_guess'", "zero everywhere"]),
    "NaN probe": (plain(probe_guess=np.full((8, 8), np.nan + 0j)), ["'probe_guess'", "not finite"]),
    "object of three axes": (pinn(objectGuess=np.ones((2, 9, 9), complex)), ["'objectGuess'", "(2, 9, 9)"]),
    "short scan index": (pinn(scan_index=np.zeros(3, int)), ["'scan_index'", "(3,)"]),
    "wrong mask": (plain(mask=np.ones((4, 4), bool)), ["'mask'", "(4, 4)", "8 x 8"]),
    "dark mask": (plain(mask=np.zeros((8, 8), bool)), ["'mask'", "(8, 8)", "no good pixel"]),
    "mask of flags": (plain(mask=np.arange(64).reshape(8, 8)), ["'mask'", "one other value"]),
    "negative energy": (plain(photon_energy_ev=np.array(-8.0)), ["'photon_energy_ev'", "positive"]),
    "energy of each frame": (plain(photon_energy_ev=np.ones(6)), ["'photon_energy_ev'", "(6,)", "one number"]),
    "pickled objects": (plain(extra=np.array([{"a": 1}], dtype=object)), ["'extra'", "pickled objects"]),
    "NaN count": (plain(intensity=with_value(np.nan, 4)), ["'intensity'", "frame 4, row 1, column 2", "(6, 8, 8)"]),
    "infinite count": (plain(intensity=with_value(np.inf, 0)), ["'intensity'", "inf", "frame 0"]),
    "negative count": (plain(intensity=with_value(-3, 5)), ["'intensity'", "count of -3", "frame 5", "--mask"]),
    "negative amplitude": (pinn(diffraction=with_value(-2, 1)), ["'diffraction'", "amplitude of -2", "frame 1"]),
}


@pytest.mark.parametrize("name", CASES)
def test_inspect_refuses_a_bad_scan_in_one_sentence(tmp_path, capsys, name):
    values, words = CASES[name]
    path = tmp_path / "bad.npz"
    np.savez(path, **values)
    assert main(["inspect", str(path)]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for word in [str(path), *words]:
        assert word in err
    assert [file.name for file in tmp_path.iterdir()] == ["bad.npz"]


@pytest.mark.parametrize("frames", [slice(2, 6), np.array([5, 3])])
def test_the_frame_that_is_named_is_the_frame_of_the_file(tmp_path, frames):
    np.savez(tmp_path / "bad.npz", **plain(intensity=with_value(-1, 3)))
    scan = open_scan(tmp_path / "bad.npz")
    assert scan.patterns.read(slice(0, 3)).shape == (3, SIZE, SIZE)
    with pytest.raises(DataError, match="frame 3, row 1, column 2"):
        scan.patterns.read(frames)


def test_files_that_are_no_archives_are_refused(tmp_path):
    text = tmp_path / "notes.npz"
    text.write_text("not an archive")
    with pytest.raises(DataError, match=r"notes\.npz is not an npz file"):
        open_scan(text)
    with pytest.raises(DataError, match="does not exist"):
        open_scan(tmp_path / "none.npz")
    with pytest.raises(DataError, match="is a folder"):
        open_scan(tmp_path)
    with pytest.raises(DataError, match="Did you mean 'siemens-star'"):
        open_scan("sample:siemens-stern")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe\.npz is no plain file"):
        open_scan(tmp_path / "pipe.npz")


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez_compressed(path, **plain())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cut off or damaged"):
        open_scan(path)


def test_damaged_patterns_are_refused_when_they_are_read(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez_compressed(path, **plain(intensity=np.random.default_rng(0).poisson(50, (FRAMES, 32, 32)), probe_guess=None))
    content = bytearray(path.read_bytes())
    middle = content.index(b"intensity.npy") + 2000
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match="'intensity'"):
        open_scan(path).patterns.read(slice(None))


def test_a_mask_that_is_missing_or_no_array_is_refused(tmp_path):
    np.savez(tmp_path / "scan.npz", **plain())
    (tmp_path / "mask.txt").write_text("1 0")
    for name, words in (("none.npy", "does not exist"), ("mask.txt", "cannot be read"), ("scan.npz", "no key 'mask'")):
        with pytest.raises(DataError, match=words):
            open_scan(tmp_path / "scan.npz", {"mask": str(tmp_path / name)})


def test_a_probe_cannot_be_scaled_to_patterns_without_counts(tmp_path):
    np.savez(tmp_path / "dark.npz", **plain(intensity=np.zeros((FRAMES, SIZE, SIZE), np.uint8)))
    with pytest.raises(DataError, match="no counts at all"):
        scaled_probe(open_scan(tmp_path / "dark.npz"))
    np.savez(tmp_path / "none.npz", **plain(probe_guess=None))
    with pytest.raises(DataError, match="--probe"):
        scaled_probe(open_scan(tmp_path / "none.npz"))
    with pytest.raises(DataError, match=r"\(1, 4, 4\)"):
        scaled_probe(open_scan(tmp_path / "none.npz"), np.ones((4, 4), complex))
