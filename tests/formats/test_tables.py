"""Tables of positions as people write them: names, units, marks and encodings; what a name does not say is asked for."""

import numpy as np
import pytest
from small_files import ptylab, write
from small_scan import FRAMES, SmallScan, assert_same

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.position_file import table_positions
from ptycho_core.formats.table import read_table
from ptycho_core.units import length_m

ROWS, COLUMNS = np.array([[1.5, 30.0], [2.5, 10.0], [4.0, 20.0]]).T * 1e-6
"""Metres."""

TABLES = {
    "x (um),y (um)": "{xu},{yu}", "X [µm];Y [µm]": "{xu};{yu}", "pos_y_um,pos_x_um": "{yu},{xu}",
    "posX_um\tposY_um": "{xu}\t{yu}", "posx,posy": "{xm},{ym}", "xpos,ypos": "{xm},{ym}",
    "position_x_um,position_y_um": "{xu},{yu}", "samx_um,samy_um": "{xu},{yu}",
    "x_position_m,y_position_m": "{xm},{ym}", "ScanX(um) ScanY(um)": "{xu} {yu}", "vertical_nm,horizontal_nm": "{yn},{xn}",
    "# x (um) y (um)": "{xu} {yu}", "X position [nm]  Y position [nm]": "{xn}  {yn}",
    "# x y": "{xm} {ym}", "x in um,y in um": "{xu},{yu}", "x/nm,y/nm": "{xn},{yn}", '"x (Å)","y (Å)"': "{xa},{ya}",
    "x,y\num,um": "{xu},{yu}", "# positions in um\n# x y": "{xu} {yu}", "# units: um\n# x y": "{xu} {yu}",
    "# x: um, y: um\n# x y": "{xu} {yu}", "scan 12, 2024\nx_um, y_um": "{xu}, {yu}", "x_um,y_um,": "{xu},{yu}",
    "x_um,y_um": "{xu},{yu},", "y_um,x_nm": "{yu},{xn}", "x [10^-6 m],y [1e-9 m]": "{xu},{yn}",
    "x_err,x_um,y_um,y_err": "9,{xu},{yu},9", "Target_x,Target_y,x,y": "9,9,{xm},{ym}",
}  # fmt: skip
"""Headers, and a row with x and y in metres (m), micrometers (u), nanometers (n) or angstrom (a)."""


@pytest.mark.parametrize("header", TABLES)
def test_columns_and_units_are_read_by_their_names(header, tmp_path):
    scales = {"m": 1, "u": 1e6, "n": 1e9, "a": 1e10}
    rows = [
        TABLES[header].format(
            **{f"{name}{unit}": value * scale for unit, scale in scales.items() for name, value in (("x", x), ("y", y))}
        )
        for y, x in zip(ROWS, COLUMNS, strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join([header, *rows]), "utf-8")
    found = table_positions(read_table(tmp_path / "a.csv"))
    np.testing.assert_allclose(found.values * length_m(found.unit), np.stack([ROWS, COLUMNS], axis=1), rtol=1e-6)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_encodings_of_other_machines_are_read(encoding, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("x (µm),y (µm)\r\n1.5,2\r\n3,N/A\r\n4,\r\n".encode(encoding))
    found = table_positions(read_table(path))
    assert found.unit == "um"
    np.testing.assert_array_equal(found.values, [[2, 1.5], [np.nan, 3], [np.nan, 4]])


def test_decimal_commas_stand_beside_semicolons(tmp_path):
    (tmp_path / "a.csv").write_text("x_um;y_um\n1,5;-2,25\n3;4,5e1\n")
    np.testing.assert_array_equal(table_positions(read_table(tmp_path / "a.csv")).values, [[-2.25, 1.5], [45, 3]])


@pytest.mark.parametrize("header", ["a,b", "x1,x2", "x,y,samx,samy\nx_1,x_2,y_1,y_2"])
def test_names_that_say_no_axis_are_asked_for(header, tmp_path):
    width = header.splitlines()[-1].count(",") + 1
    (tmp_path / "a.csv").write_text("\n".join([header, ",".join("1" * width), ",".join("2" * width)]))
    with pytest.raises(DataError, match="does not say which of its columns are positions") as caught:
        table_positions(read_table(tmp_path / "a.csv"))
    assert "--positions FILE:ROW,COLUMN" in caught.value.remedy


def test_keys_are_read_by_their_names_too(tmp_path):
    small = SmallScan()
    scan = ptylab(tmp_path / "scan.h5", small, encoder=np.zeros((FRAMES, 2)))
    write(
        tmp_path / "p.h5", {"samx_um": small.metres[:, 1] * 1e6, "samy_nm": small.metres[:, 0] * 1e9, "time": np.arange(FRAMES)}
    )
    for named in ("", ":samx_um,samy_nm"):
        assert_same(open_scan(scan, {"positions": f"{tmp_path / 'p.h5'}{named}"}), small)
    write(tmp_path / "q.h5", {"a": small.metres[:, 1], "b": small.metres[:, 0]})
    with pytest.raises(DataError, match="no key of it is named; it holds 'a', 'b'"):
        open_scan(scan, {"positions": str(tmp_path / "q.h5")})
