"""The kit that every backend is held to, without an exception."""

import json


def test_the_kit_proves_all_that_the_manifest_claims(python, tmp_path) -> None:
    report = tmp_path / "report.json"
    kit = ["--pyargs", "ptycho_core.conformance", "--ptycho-backend=jax", f"--ptycho-report={report}", "--ptycho-timeout=900"]
    python("-m", "pytest", *kit, "-q", "-p", "no:cacheprovider", timeout=3000)
    found = json.loads(report.read_text())
    assert (found["proven"], found["problems"]) == (True, [])
    assert {one["outcome"] for one in found["tests"]} == {"passed"}
