"""Each folder of tests is named after the package that it tests, or is a suite that ``docs/testing.md`` explains."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_folders_of_tests_mirror_the_packages_but_for_the_suites_that_are_explained() -> None:
    tests = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    packages = {path.parent.name for path in ROOT.glob("ptycho_core/*/__init__.py")}
    packages |= {path.parent.name for path in ROOT.glob("backends/*/ptycho_*/__init__.py")} | {"benchmarks"}
    rows = re.findall(r"^\| (`.+?`) \|", (ROOT / "docs" / "testing.md").read_text("utf-8"), flags=re.MULTILINE)
    suites = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(tests & packages) > 15
    assert tests - packages == suites
