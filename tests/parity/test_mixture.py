"""Two frameworks in one process: refused, unless the setting allows it."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
import torch
from ptycho_core.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("allowed", [False, True])
def test_a_second_framework_comes_into_a_process_only_where_it_is_allowed(allowed, scan_file, tmp_path):
    words = ["reconstruct", scan_file(), "-o", tmp_path / "out", "--backend", "tensorflow", "--epochs", 1, "--iterations", 0]
    words += ["--allow-mixed-frameworks"] if allowed else []
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, words)], capture_output=True, text=True, timeout=300, env=dict(os.environ)
    )
    assert done.returncode == (0 if allowed else 3), done.stderr
    assert (tmp_path / "out" / "reconstruction.h5").exists() is allowed
    if not allowed:
        assert done.stderr == (
            "ptycho: PyTorch (module 'torch') is already imported in this process, and backend 'tensorflow' uses another one."
            " Start it in a separate process, or set allow_mixed_frameworks.\n"
        )
