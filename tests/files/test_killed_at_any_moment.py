"""A job that is killed between any two of its files leaves nothing false, and what comes after it is as if it had not been."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAD = """
import json, sys
from pathlib import Path
from killing import run_killed
from small_backend import SPEC, Small
import ptycho_core
from ptycho_core import backends

scan, place = sys.argv[1], Path(sys.argv[2])
backends.register("small", Small(), SPEC)
"""

TRAINING = """
from ptycho_core.model import load_model
settings = {"backend": "small", "network_width": 4, "checkpoint_save_top_k": 2, "epochs": 4, "progress": False, "logger": "none"}

def train(folder):
    ptycho_core.train(scan, folder, **settings)

def go_on(folder):
    if (folder / "last.ptycho").exists():
        ptycho_core.train(scan, folder, resume=True, progress=False)
    else:
        ptycho_core.train(scan, folder, overwrite=True, **settings)

def found(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): len(load_model(path).history) if path.suffix == ".ptycho" else 0 for path in files}

train(place / "first")  # so that every process finds loaded what it needs
points = run_killed(place / "whole", train)
print(json.dumps(found(place / "whole")))
for last in range(points):
    assert run_killed(place / str(last), train, last) == 0
    run_killed(place / str(last), go_on)
    print(json.dumps(found(place / str(last))))
"""

FIT = """
import shutil

def fit(folder, seed):
    ptycho_core.reconstruct(scan, folder, backend="small", seed=seed, overwrite=True, progress=False)

def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}

fit(place / "old", 1)
fit(place / "new", 2)
old, new = contents(place / "old"), contents(place / "new")
shutil.copytree(place / "old", place / "whole")
points = run_killed(place / "whole", lambda folder: fit(folder, 2))
for last in range(points):
    folder = place / str(last)
    shutil.copytree(place / "old", folder)
    assert run_killed(folder, lambda folder: fit(folder, 2), last) == 0
    left = contents(folder)
    arrays = left["reconstruction.h5"]
    kind = "old" if arrays == old["reconstruction.h5"] else "new" if arrays == new["reconstruction.h5"] else "damaged"
    settings = left.get("settings.json")
    print(json.dumps({
        "arrays": kind, "files": sorted(left), "whole": left == old,
        "settings": {None: None, old["settings.json"]: "old", new["settings.json"]: "new"}[settings],
    }))
    run_killed(folder, lambda folder: fit(folder, 3))
    assert sorted(path.name for path in folder.iterdir()) == sorted(old), sorted(folder.iterdir())
"""


def lines(code: str, scan: Path, place: Path) -> list[Any]:
    """What a program prints, a line of JSON at a time; what its killed jobs leave among temporary files stays in ``place``."""
    (place / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(place / "temporary")}
    program = [sys.executable, "-c", HEAD + code, str(scan), str(place)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=200, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_k_best_epochs_are_kept_wherever_a_training_was_killed(scan32, tmp_path):
    whole, *rest = lines(TRAINING, scan32, tmp_path)
    models = {"best.ptycho": 4, "last.ptycho": 4, "checkpoints/epoch-0002.ptycho": 2, "checkpoints/epoch-0004.ptycho": 4}
    assert whole == models | dict.fromkeys(("settings.json", "metrics.json", "losses.png"), 0)
    assert len(rest) > 12
    assert [one for one in rest if one != whole] == []


def test_a_result_is_old_or_new_and_only_a_complete_one_has_metrics_wherever_a_fit_was_killed(scan, tmp_path):
    found = lines(FIT, scan, tmp_path)
    assert len(found) > 10
    assert {one["arrays"] for one in found} == {"old", "new"}
    for one in found:
        if "metrics.json" in one["files"]:
            assert one["whole"] or one["arrays"] == one["settings"] == "new", one
        if one["arrays"] == "new":
            assert one["settings"] in (None, "new"), one
    assert found[0]["whole"]
