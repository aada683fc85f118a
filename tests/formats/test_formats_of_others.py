"""The format of the guide, installed by another distribution: it reads; and one that is broken is a row."""

import re
import sys
from pathlib import Path

import pytest
from small_files import cxi, write
from small_scan import PIXEL, SmallScan, assert_same

from ptycho_core.backends import discovery
from ptycho_core.cli.main import main
from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats import registry
from ptycho_core.formats.opening import open_scan

GUIDE = (Path(__file__).parents[2] / "docs" / "writing-a-component.md").read_text("utf-8")
IMPORT = "from ptycho_core.formats.interface import Evidence, ScanFormat\n"
BROKEN = {
    "acme_raises": ("raise OSError('no beam')", "it cannot be loaded: OSError: no beam"),
    "acme_lacks": (
        "from ptycho_core.formats.interface import ScanFormat\nclass Found(ScanFormat):\n    name = 'acme_lacks'\n",
        "lacks",
    ),
    "acme_other": ("Found = 3", "no class derived from"),
    "acme_mute": (
        "from ptycho_core.formats.tike import Tike\nclass Found(Tike):\n    name = 'acme_mute'\n    written_as = 'a'\n",
        "has no method 'write'",
    ),
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of distributions on the path: name, code, and the class."""

    def install(name, code, attribute):
        (tmp_path / f"{name}_format.py").write_text(code)
        info = tmp_path / f"{name}_format-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-format\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ptycho.formats]\n{name} = {name}_format:{attribute}\n")
        discovery.forget()
        registry.forget()

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    monkeypatch.undo()
    discovery.forget()
    registry.forget()
    for name in [*sys.modules]:
        if name.startswith("acme"):
            del sys.modules[name]


def test_the_format_of_the_guide_reads_and_writes(site, tmp_path, capsys):
    (code,) = re.findall(r"```py\n(.*?)```", GUIDE, flags=re.DOTALL)
    site("acme", code, "Acme")
    small = SmallScan()
    path = write(
        tmp_path / "a.h5",
        {
            "acme/frames": small.counts, "acme/motor_y": small.metres[:, 0] * 1e6, "acme/motor_x": -small.metres[:, 1] * 1e6,
            "acme/pixel": PIXEL,
        },
    )  # fmt: skip
    scan = open_scan(path)
    assert_same(scan, small)
    assert (scan.format, scan.object_pixel_m) == ("Acme beamline", pytest.approx(PIXEL))
    assert main(["inspect", str(path)]) == 0
    assert "--format acme: it has acme/frames" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "b.h5"), "--to", "acme"]) == 0
    assert_same(open_scan(tmp_path / "b.h5"), small)
    assert main(["formats"]) == 0
    assert "--to acme" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("acme"))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_format_is_a_row_and_disturbs_no_other(name, site, tmp_path, capsys):
    code, reason = BROKEN[name]
    site(name, code, "Found")
    assert main(["formats"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(name))
    assert "left out" in row
    assert reason in row
    small = SmallScan()
    assert_same(open_scan(cxi(tmp_path / "a.cxi", small)), small)
    with pytest.raises(SettingsError, match="is left out"):
        open_scan(tmp_path / "a.cxi", {"format": name})


def test_a_format_that_raises_on_reading_says_so_in_a_sentence(site, tmp_path):
    code = (
        f"{IMPORT}class Found(ScanFormat):\n    name = title = reads = 'acme_odd'\n"
        "    def recognize(self, source):\n        return Evidence(3, 'is odd')\n"
        "    def read(self, source):\n        raise KeyError('a')\n"
    )
    site("acme_odd", code, "Found")
    (tmp_path / "a.odd").write_text("odd")
    with pytest.raises(DataError, match=r"a\.odd: its content, by format 'acme_odd'"):
        open_scan(tmp_path / "a.odd")


def test_a_format_that_raises_on_a_file_is_passed_over(site, tmp_path):
    code = (
        f"{IMPORT}class Found(ScanFormat):\n    name = title = reads = 'acme_bad'\n"
        "    def recognize(self, source):\n        raise RuntimeError\n    def read(self, source):\n        raise RuntimeError\n"
    )
    site("acme_bad", code, "Found")
    small = SmallScan()
    assert_same(open_scan(cxi(tmp_path / "a.cxi", small)), small)
