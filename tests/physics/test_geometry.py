import pytest

from ptycho_core.errors import DataError
from ptycho_core.physics.geometry import electron_energy, electron_wavelength, object_pixel_size, wavelength


@pytest.mark.parametrize(
    ("energy_ev", "metres"),
    [
        (12398.419843320026, 1e-10),  # CODATA 2018: h c / e = 1.239841984... eV um
        (8047.78, 1.540598e-10),  # Cu K-alpha-1, about 8.048 keV
        (8800.0, 1.408911e-10),
        (1.0, 1.2398419843320026e-6),
    ],
)
def test_wavelength_of_photons_is_the_tabulated_one(energy_ev, metres):
    assert wavelength(energy_ev) == pytest.approx(metres, rel=1e-6)


@pytest.mark.parametrize(("energy_ev", "picometres"), [(80e3, 4.1757), (200e3, 2.5079), (300e3, 1.9687)])
def test_wavelength_of_electrons_is_the_tabulated_one_and_gives_the_energy_back(energy_ev, picometres):
    assert electron_wavelength(energy_ev) == pytest.approx(picometres * 1e-12, rel=3e-5)
    assert electron_energy(electron_wavelength(energy_ev)) == pytest.approx(energy_ev, rel=1e-12)


def test_object_pixel_is_wavelength_times_distance_over_detector_width():
    # 1 Angstrom, 2 m, 128 pixels of 75 um: 2e-10 / 9.6e-3 m
    assert object_pixel_size(1e-10, 2.0, 75e-6, 128) == pytest.approx(2.0833333333333334e-8, rel=1e-14)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_geometry_is_refused_by_name(value):
    with pytest.raises(DataError, match="energy"):
        wavelength(value)
    with pytest.raises(DataError, match="wavelength"):
        object_pixel_size(value, 1.0, 75e-6, 128)
    with pytest.raises(DataError, match="distance"):
        object_pixel_size(1e-10, value, 75e-6, 128)
    with pytest.raises(DataError, match="pixel size"):
        object_pixel_size(1e-10, 1.0, value, 128)
