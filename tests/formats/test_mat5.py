"""MATLAB's files of version 5: as SciPy writes them, and damaged."""

import numpy as np
import pytest
import scipy.io

from ptycho_core.errors import DataError
from ptycho_core.formats.mat5 import Mat5File

VALUES = {
    "double": np.arange(6.0).reshape(2, 3), "single": np.ones((1, 1), np.float32) * 1.5, "complex": np.ones((2, 2), complex) * 2j,
    "bytes": np.arange(4, dtype=np.int8).reshape(1, 4), "wide": np.arange(3, dtype=np.uint64).reshape(3, 1) + 2**60,
    "four": np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.complex64), "x": np.array([[True]]),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_numbers_are_those_that_were_written(packed, tmp_path):
    variables = {**VALUES, "s": {"inner": VALUES["double"], "deep": {"er": VALUES["bytes"]}}, "text": "words", "none": []}
    scipy.io.savemat(tmp_path / "a.mat", variables, do_compression=packed)
    file = Mat5File(tmp_path / "a.mat")
    for name, value in {**VALUES, "s.inner": VALUES["double"], "s.deep.er": VALUES["bytes"]}.items():
        assert name in file
        np.testing.assert_array_equal(file.values(name), value)
    assert "s.none" not in file
    assert "gone" not in file
    for name in ("text", "none", "s", "gone", "s.gone"):
        with pytest.raises(DataError, match=name):
            file.values(name)


def test_the_other_order_of_bytes(tmp_path):
    """Of a matrix made by hand: a head, and doubles in big-endian order."""
    parts = [
        (6, np.array([6, 0], ">u4")),
        (5, np.array([1, 2], ">i4")),
        (1, np.array([ord("a")], "i1")),
        (9, np.array([3.0, 4], ">f8")),
    ]

    def element(kind, content):
        return np.array([kind, len(content)], ">u4").tobytes() + content + b"\0" * (-len(content) % 8)

    matrix = b"".join(element(kind, values.tobytes()) for kind, values in parts)
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI" + element(14, matrix))
    np.testing.assert_array_equal(Mat5File(tmp_path / "a.mat").values("a"), [[3.0, 4.0]])


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"object": np.ones((30, 30))})
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="'object' cannot be read: it holds no numbers, or is cut off"):
        Mat5File(tmp_path / "a.mat").values("object")
