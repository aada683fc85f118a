"""The layout that the documentation shows, and the keys that it lists."""

import re
from pathlib import Path

import h5py
import pytest
from small_scan import ENERGY, PITCH, PIXEL, SmallScan, assert_same

from ptycho_core.cli.main import main
from ptycho_core.errors import SettingsError
from ptycho_core.formats.layout_file import read_layout
from ptycho_core.formats.opening import open_scan

PAGE = Path(__file__).parents[2] / "docs" / "your-data.md"


@pytest.fixture
def layout(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "beamline.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_layout_of_the_docs_reads_a_scan(layout, tmp_path, capsys):
    small = SmallScan()
    y, x = small.metres.T * 1e6
    values = {
        "entry/detector/frames": small.counts, "scan/sample_x": -x, "scan/sample_y": y, "beam/energy": ENERGY / 1e3,
        "detector/pitch": PITCH * 1e6,
    }  # fmt: skip
    with h5py.File(tmp_path / "scan_17.h5", "w") as file:
        for key, value in values.items():
            file[key] = value
    scan = open_scan(tmp_path / "scan_17.h5", {"format": str(layout)})
    assert_same(scan, small)
    assert (scan.format, scan.object_pixel_m) == ("Our beamline", pytest.approx(PIXEL))
    assert main(["inspect", str(tmp_path / "scan_17.h5"), "--format", str(layout)]) == 0
    assert "Our beamline" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "scan_17.h5"), "--format", str(tmp_path / "no.toml")]) == 2


@pytest.mark.parametrize("table", ["frames", "positions", "mask", "filter"])
def test_the_docs_list_the_keys_of_each_table(table, layout):
    """A key that is unknown is answered with those that are."""
    text = f"[frames]\npath = 'a'\n[[{table}]]\nodd = 1\n" if table == "filter" else f"[{table}]\nodd = 1\n"
    layout.write_text(text if table in ("frames", "filter") else f"[frames]\npath = 'a'\n{text}")
    with pytest.raises(SettingsError, match="'odd', which is not known") as raised:
        read_layout(layout)
    row = next(line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `[") and f"[{table}]" in line)
    known = re.findall(r"\w+", str(raised.value).partition("Known: ")[2])
    assert known
    assert set(known) <= set(re.findall(r"`(\w+)`", row))
