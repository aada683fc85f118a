"""What the documents say can be done: links lead somewhere, and the commands of the README exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "specs").rglob("*.md"))]


def test_there_are_documents_and_links_to_look_at() -> None:
    """An empty list would make the tests below none, not failures."""
    assert {path.parent.name for path in DOCUMENTS} >= {"docs", "specs", "decisions", "reference"}
    assert sum(path.read_text("utf-8").count("](") for path in DOCUMENTS) > 100


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_files_to_touch_for_a_change_exist_and_are_as_many_as_said() -> None:
    text = (ROOT / "docs" / "changing-ptycho.md").read_text("utf-8")
    named = {word for word in re.findall(r"`([^`\s]+/[^`\s]+)`", text) if "NAME" not in word}
    assert len(named) > 8
    assert sorted(word for word in named if not (ROOT / word).exists()) == []
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (.+) \|$", text, flags=re.MULTILINE)
    assert len(rows) >= 4
    for change, number, files in rows:
        assert int(number) == files.count("`") / 2, change


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "docs" / "tutorial.md"], ids=lambda path: path.name)
def test_flags_of_the_shown_commands_exist(document: Path) -> None:
    shown = re.findall(r"^\s*ptycho (\w+) (.*)$", document.read_text("utf-8"), flags=re.MULTILINE)
    assert shown
    for command, rest in shown:
        if command in ("backends", "config"):
            continue
        done = subprocess.run(
            [sys.executable, "-m", "ptycho_core", command, "--help"], capture_output=True, text=True, check=True
        )
        for flag in re.findall(r"(?<![\w-])--[a-z-]+", rest.partition("#")[0]):
            assert flag in done.stdout, f"{document.name}: ptycho {command} has no {flag}"


def test_the_python_example_of_the_readme_runs(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    assert code is not None
    quick = code[1].replace("modes=2)", "modes=2, epochs=1, iterations=1)")
    assert quick != code[1]
    subprocess.run([sys.executable, "-c", quick], check=True, cwd=tmp_path, timeout=120)
    assert (tmp_path / "star.png").stat().st_size > 10_000
