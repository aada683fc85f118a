"""The kit that every backend is held to, without an exception."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_kit_proves_all_that_the_manifest_claims(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    kit = ["-m", "pytest", "--pyargs", "ptycho_core.conformance", "--ptycho-backend", "ptychi", "--ptycho-report", str(report)]
    done = subprocess.run(
        [sys.executable, *kit, "-q", "-p", "no:cacheprovider"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(report.read_text())
    assert (found["proven"], found["problems"]) == (True, [])
    assert {one["outcome"] for one in found["tests"]} == {"passed"}
