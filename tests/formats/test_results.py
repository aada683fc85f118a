"""Results of other programs, whatever their format."""

import h5py
import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.formats import registry
from ptycho_core.formats.interface import RawResult, ScanFormat
from ptycho_core.formats.product import read_object, read_probe


class Broken(ScanFormat):
    name, title, reads = "broken", "broken", "nothing"

    def recognize(self, source):
        return None

    def read(self, source):
        raise NotImplementedError

    def result(self, source):
        raise RuntimeError("a mistake of its author")


class Halves(Broken):
    """A probe without an object, or the other way round."""

    def __init__(self, found):
        self.found = found

    def result(self, source):
        return self.found


@pytest.fixture
def install(monkeypatch):
    return lambda *found: monkeypatch.setattr(registry, "usable_formats", lambda: list(found))


def test_a_format_that_fails_hides_no_other(install, tmp_path):
    image = np.ones((4, 5), complex)
    np.save(tmp_path / "a.npy", image)
    install(Broken(), Halves(RawResult(image * 2)))
    np.testing.assert_array_equal(read_object(tmp_path / "a.npy").object, image * 2)
    install(Broken())
    np.testing.assert_array_equal(read_object(tmp_path / "a.npy").object, image)


def test_what_a_result_lacks_is_told(install, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    install(Halves(RawResult(np.ones((4, 4), complex))))
    with pytest.raises(DataError, match=r"a\.npy holds an object and no probe"):
        read_probe(tmp_path / "a.npy")
    install(Halves(RawResult(None, np.ones((4, 4), complex))))
    with pytest.raises(DataError, match=r"a\.npy holds a probe and no object"):
        read_object(tmp_path / "a.npy")


def test_positions_of_pty_chi_are_about_the_middle_of_the_object(tmp_path):
    """A window whose middle is the object's has its corner half the difference of their sizes away."""
    with h5py.File(tmp_path / "recon_Niter10.h5", "w") as file:
        file["object"], file["probe"] = np.ones((1, 40, 31), complex), np.ones((1, 2, 16, 16), complex)
        file["positions_px"], file["obj_pixel_size_m"] = np.array([[0.0, 0.0], [-3.0, 5.5]]), 2e-8
    found = read_object(tmp_path / "recon_Niter10.h5")
    np.testing.assert_allclose(found.positions, [[12.0, 8.0], [9.0, 13.5]])
    assert (found.probe.shape, found.pixel_size_m) == ((2, 16, 16), (2e-8, 2e-8))
