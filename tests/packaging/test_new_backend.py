"""A backend that ``ptycho backends new`` writes is complete: it installs, works and passes the kit at once, as the guide says."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_core.backends.scaffold import rendered, write_backend
from ptycho_core.cli.main import main
from ptycho_core.errors import OutputError, UsageError

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "writing-a-backend.md").read_text("utf-8")


def test_the_example_is_what_the_command_writes() -> None:
    folder = ROOT / "examples" / "plugins" / "template"
    tracked = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True, check=True).stdout
    there = {name: (folder / name).read_text("utf-8") for name in filter(None, tracked.split("\0"))}
    again = "rm -r examples/plugins/template; ptycho backends new template -o examples/plugins/template"
    assert there == {str(path): text for path, text in rendered("template").items()}, again


def test_every_command_of_the_guide_works(shell: Callable[[str, Path], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) > 5
    done = shell("\n".join(blocks), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("refused with status 4") == 1
    assert done.stdout.count("refused with status 2") == 1
    assert "acme: ok (ptycho-acme 0.1.0" in done.stdout
    assert "gauss: ok (ptycho-gauss 0.1.0" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["proven"], report["problems"]
    assert {"contract", "reconstruct"} <= report["counts"].keys()
    assert (tmp_path / "by-gauss" / "reconstruction.h5").is_file()
    threads = json.loads((tmp_path / "driven" / "settings.json").read_text())["settings"]["threads"]
    assert (threads["value"], threads["effective"], threads["disposition"]["kind"]) == (4, 1, "adjusted")


@pytest.mark.parametrize("kind", ["verbs", "arrays"])
def test_the_name_is_everywhere_and_no_placeholder_is_left(kind: str, tmp_path: Path) -> None:
    folder = write_backend("my_own", tmp_path / "new", kind=kind)
    texts = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert "ptycho_backend_my_own/plugin.py" in texts
    assert "tests/test_my_own.py" in texts
    assert not [name for name, text in texts.items() if "@" in name or re.search("@[A-Z]+@", text) or "template" in text.lower()]
    assert "my_own = ptycho_backend_my_own.plugin" in texts["setup.cfg"]
    assert "name = ptycho-my-own" in texts["setup.cfg"]
    assert not [name for name, text in texts.items() if "numpy_backend" in text], "it does not lean on the core's own"
    for name, text in texts.items():
        if name.endswith(".py"):
            compile(text, name, "exec")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My-Own", "'My-Own' is no name for a backend: lower-case letters"),
        ("../up", "is no name for a backend"),
        ("list", "'list' is a reserved word"),
        ("tf", "'tf' is another spelling of 'tensorflow'"),
        ("torch", "'torch' is the name of a backend of ptycho's own. Choose another name."),
        ("reference", "a backend 'reference' is installed already (ptycho-core"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_backend(name, tmp_path / "new")
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    assert main(["backends", "new", "acme", "-o", str(tmp_path / "there")]) == 2
    assert capsys.readouterr().err == f"ptycho: {tmp_path / 'there'} is there already. Name another folder with -o.\n"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is there already"):
        write_backend("acme", tmp_path / "link")
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_backend("acme", tmp_path / "no" / "parent")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
    assert list((tmp_path / "there").iterdir()) == []


def test_without_a_folder_it_is_named_after_the_backend(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ptycho_core", "backends", "new", "acme"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ptycho-acme"]
    assert "pip install --editable ptycho-acme" in done.stdout
