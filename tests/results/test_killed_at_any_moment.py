"""A training that is killed between any two of its files keeps, once it has gone on, what one that was never killed keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import json, os, signal, sys
from pathlib import Path
from small_backend import SPEC, Small
import ptycho_core
from ptycho_core import backends
from ptycho_core.model import load_model

scan, place, keep = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
backends.register("small", Small(), SPEC)
settings = {"backend": "small", "network_width": 4, "checkpoint_save_top_k": keep, "epochs": 4}
from ptycho_core.imaging import figures
from ptycho_core.imaging.drawing import empty_figure
figures.figure_of_losses = lambda history: empty_figure(1, 1)
os.fsync = lambda descriptor: None  # a killed process loses nothing that it has written
settings |= {"progress": False, "logger": "none"}

def in_a_process(folder, act, last=None):
    # Whether it ended of its own accord, and how many changes of files it made; killed before the one numbered `last`.
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        changes = 0
        def counted(change):
            def changed(*arguments, **keywords):
                nonlocal changes
                if os.path.lexists(arguments[0]):
                    if changes == last:
                        os.kill(os.getpid(), signal.SIGKILL)
                    changes += 1
                return change(*arguments, **keywords)
            return changed
        os.replace, os.unlink = counted(os.replace), counted(os.unlink)
        try:
            act(folder)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os.write(writing, str(changes).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as told:
        count = told.read()
    os.waitpid(child, 0)
    return int(count or 0)

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
points = in_a_process(place / "whole", train)
print(json.dumps({"whole": found(place / "whole"), "points": points}))
for last in range(points):
    folder = place / str(last)
    assert in_a_process(folder, train, last) == 0
    in_a_process(folder, go_on)
    print(json.dumps({"last": last, "found": found(folder)}))
"""


@pytest.mark.parametrize(("keep", "epochs"), [(2, [4, 2])])
def test_the_k_best_are_the_same_wherever_it_was_killed(scan32, tmp_path, keep, epochs):
    words = [sys.executable, "-c", KILLED, str(scan32), str(tmp_path), str(keep)]
    path = str(Path(__file__).parent)
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stderr
    first, *rest = [json.loads(line) for line in done.stdout.splitlines()]
    models = {f"checkpoints/epoch-{epoch:04d}.ptycho": epoch for epoch in epochs}
    others = dict.fromkeys(("settings.json", "metrics.json", "losses.png"), 0)
    assert first["whole"] == {"best.ptycho": 4, "last.ptycho": 4, **models, **others}
    assert len(rest) == first["points"] > 12
    assert [one for one in rest if one["found"] != first["whole"]] == []
