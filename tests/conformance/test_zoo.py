"""Backends that are wrong in one thing each, derived from the reference, and the tests of the kit that tell it.

Each fails exactly the tests that name its fault; what depends on them is blocked, all else passes.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HEAD = """
from dataclasses import replace
from pathlib import Path

from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest
from ptycho_core.conformance.reference import plugin as reference


@hookimpl
def ptycho_backend_spec():
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "{name}")


ptycho_probe, ptycho_plan = reference.ptycho_probe, reference.ptycho_plan
ptycho_train, ptycho_infer = reference.ptycho_train, reference.ptycho_infer
ptycho_reconstruct, ptycho_evaluate = reference.ptycho_reconstruct, reference.ptycho_evaluate
"""

MANIFEST = """
name = "{name}"
contract = "{contract}"
title = "Wrong: {name}"
capabilities = {claims}
precisions = ["float64"]
only_by_name = true
"""


@dataclass(frozen=True)
class Animal:
    """A wrong backend.

    Attributes:
        told_by: ids of the tests that must fail, and no other may.
        code: what follows `HEAD` in its plugin.
        claims: capabilities; few, so that the kit is soon done with it.
        contract: of its manifest.
        long: whether it takes its time.
    """

    told_by: set[str]
    code: str = ""
    claims: tuple[str, ...] = ("evaluate",)
    contract: str = "1.0"
    long: bool = False
    timeout: float = 60.0

    def install(self, name: str, site: Path) -> None:
        """Write it into a folder for ``PYTHONPATH``: package, manifest and what makes it an installed distribution."""
        package, info = site / f"wrong_{name}", site / f"wrong_{name}-1.0.dist-info"
        for folder in (package, info):
            folder.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(HEAD.format(name=name) + self.code)
        manifest = MANIFEST.format(name=name, contract=self.contract, claims=list(self.claims)).replace("'", '"')
        (package / "ptycho-backend.toml").write_text(manifest)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wrong-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ptycho.backends]\n{name} = wrong_{name}.plugin\n")


def evaluating(change: str) -> str:
    """A plugin whose answers to batches are changed; ``found`` is what the reference answers."""
    return f"""

@hookimpl
def ptycho_evaluate(job):
    import numpy as np

    {change}
"""


BACKEND = "test_backend.py::"
EVALUATE = "test_evaluate.py::"
ISOLATION = "test_isolation.py::"
IMPORTED = {f"{BACKEND}test_the_plugin_can_be_imported"}
FOUND = "found = reference.ptycho_evaluate(job)\n    "

ZOO = {
    "nothing_wrong": Animal(set()),
    "import_error": Animal(IMPORTED, "import a_module_that_is_not_there"),
    "exit_at_import": Animal(IMPORTED, "import os\nos._exit(3)"),
    "polite_exit_at_import": Animal(IMPORTED, "raise SystemExit(0)", long=True),
    "hang_at_import": Animal(IMPORTED, "import time\ntime.sleep(600)", timeout=6.0),
    "newer_contract": Animal({f"{BACKEND}test_it_can_be_used"}, contract="1.99"),
    "heavy_import": Animal({f"{BACKEND}test_loading_imports_nothing_heavy"}, "import numpy"),
    "stale_manifest": Animal(
        {f"{BACKEND}test_it_says_what_its_manifest_says"},
        "_said = ptycho_backend_spec\n\n"
        "@hookimpl\ndef ptycho_backend_spec():\n    return replace(_said(), precisions=('float32',))",
    ),
    "misspelled_hook": Animal(
        {f"{BACKEND}test_the_hooks_fit_the_contract"}, "@hookimpl\ndef ptycho_reconstuct(job):\n    return None"
    ),
    "forgets_an_option": Animal(
        {f"{BACKEND}test_the_plan_answers_exactly_what_was_asked_for[evaluate]"},
        """
@hookimpl
def ptycho_plan(request, probe):
    plan = reference.ptycho_plan(request, probe)
    return replace(plan, dispositions={name: one for name, one in plan.dispositions.items() if name != "seed"})
""",
        long=True,
    ),
    "returns_none": Animal({f"{EVALUATE}test_evaluate_answers"}, evaluating("return None")),
    "crashes": Animal({f"{EVALUATE}test_evaluate_answers"}, evaluating("import os\n    os.abort()")),
    "returns_tensors": Animal(
        {f"{EVALUATE}test_evaluate_gives_numpy_arrays"},
        "class Tensor:\n    def __init__(self, values):\n        self.values, self.shape = values, values.shape\n"
        + evaluating(FOUND + "return replace(found, intensities=Tensor(found.intensities))"),
    ),
    "amplitude_for_intensity": Animal(
        {f"{EVALUATE}test_intensities_grow_with_the_square_of_the_probe"},
        evaluating(FOUND + "return replace(found, intensities=np.sqrt(found.intensities))"),
    ),
    "wrong_norm": Animal(
        {f"{EVALUATE}test_no_counts_are_lost"},
        evaluating("return reference.ptycho_evaluate(replace(job, probe=job.probe * job.probe.shape[-1]))"),
    ),
    "drops_the_fftshift": Animal(
        {f"{EVALUATE}test_zero_frequency_is_in_the_middle"},
        evaluating(FOUND + "return replace(found, intensities=np.fft.ifftshift(found.intensities, axes=(-2, -1)))"),
    ),
    "transposed_positions": Animal(
        {f"{EVALUATE}test_positions_are_row_and_column"},
        evaluating("return reference.ptycho_evaluate(replace(job, positions=job.positions[:, ::-1].copy()))"),
    ),
    "no_subpixel_shift": Animal(
        {f"{EVALUATE}test_forward_model[float64]"},
        evaluating("return reference.ptycho_evaluate(replace(job, positions=np.floor(job.positions)))"),
        long=True,
    ),
    "half_the_gradient": Animal(
        {f"{EVALUATE}test_gradients[float64]"},
        evaluating(FOUND + "return replace(found, gradients={name: one / 2 for name, one in found.gradients.items()})"),
        long=True,
    ),
    "a_trace_for_bad_input": Animal(
        {f"{EVALUATE}test_evaluate_refuses_a_window_outside_of_the_object"},
        evaluating(
            "if job.positions.max() > 100:\n        raise ValueError('out of bounds')\n    return reference.ptycho_evaluate(job)"
        ),
        long=True,
    ),
    "touches_the_global_generator": Animal(
        {f"{ISOLATION}test_global_random_state_is_left_alone[evaluate]"},
        evaluating("np.random.seed(1)\n    return reference.ptycho_evaluate(job)"),
    ),
    "leaves_a_file": Animal(
        {f"{ISOLATION}test_no_file_is_left_outside_of_the_output_folder[evaluate]"},
        evaluating("Path('cache.bin').write_bytes(b'0')\n    return reference.ptycho_evaluate(job)"),
    ),
    "leaves_a_thread": Animal(
        {f"{ISOLATION}test_no_thread_and_no_process_is_left[evaluate]"},
        evaluating(
            "import threading, time\n    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
            "    return reference.ptycho_evaluate(job)"
        ),
        long=True,
    ),
    "sets_a_variable": Animal(
        {f"{ISOLATION}test_the_environment_is_left_alone[evaluate]"},
        evaluating("import os\n    os.environ['OMP_NUM_THREADS'] = '7'\n    return reference.ptycho_evaluate(job)"),
        long=True,
    ),
    "claims_determinism_falsely": Animal(
        {f"{ISOLATION}test_another_process_gives_the_same[evaluate]"},
        evaluating(
            FOUND + "import os\n    return replace(found, intensities=found.intensities * (1 + 1e-15 * (os.getpid() % 1000)))"
        ),
    ),
    "ignores_num_workers": Animal(
        {"test_infer.py::test_num_workers_read_or_are_refused"},
        """
@hookimpl
def ptycho_plan(request, probe):
    plan, asked = reference.ptycho_plan(request, probe), request.execution.get("num_workers", 0)
    answers = {name: replace(one, kind="applied", value=asked, why="") if name == "num_workers" else one
               for name, one in plan.dispositions.items()}
    return replace(plan, execution={**plan.execution, "num_workers": asked}, dispositions=answers)
""",
        claims=("infer",),
    ),
    "ignores_a_setting": Animal(
        {"test_reconstruct.py::test_a_setting_acts_or_is_refused[object_alpha]"},
        """
@hookimpl
def ptycho_reconstruct(job, plan, events):
    asked = {**job.settings["reconstruction"], "object_alpha": 0.02}
    return reference.ptycho_reconstruct(replace(job, settings={**job.settings, "reconstruction": asked}), plan, events)
""",
        claims=("reconstruct",),
    ),
    "patches_depend_on_the_batch": Animal(
        {"test_infer.py::test_a_patch_does_not_depend_on_the_batch"},
        """
@hookimpl
def ptycho_infer(job, events):
    for batch in reference.ptycho_infer(job, events):
        yield replace(batch, patches=batch.patches * (1 + (len(batch.frames) < 2) * 1e-3))
""",
        claims=("infer",),
        long=True,
    ),
    "ignores_the_momentum": Animal(
        {"test_train.py::test_training_goes_the_way_of_the_reference[sgd]"},
        """
@hookimpl
def ptycho_train(job, plan, events):
    asked = {**job.settings["training"], "momentum": 0.0}
    return reference.ptycho_train(replace(job, settings={**job.settings, "training": asked}), plan, events)
""",
        claims=("train",),
        long=True,
    ),
}

EVERY = [pytest.param(name, marks=pytest.mark.long if one.long else ()) for name, one in ZOO.items()]


@pytest.mark.parametrize("name", EVERY)
def test_a_wrong_backend_fails_exactly_what_names_its_fault(name, tmp_path):
    animal, report = ZOO[name], tmp_path / "report.json"
    animal.install(name, tmp_path / "site")
    arguments = [
        "--pyargs", "ptycho_core.conformance", "--ptycho-backend", name, f"--ptycho-report={report}",
        "--ptycho-timeout", str(animal.timeout), "-q", "-p", "no:cacheprovider",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    outcomes = {one["id"]: one["outcome"] for one in found["tests"]}
    assert {test for test, outcome in outcomes.items() if outcome == "failed"} == animal.told_by, done.stdout[-3000:]
    assert set(outcomes.values()) <= {"passed", "failed", "blocked"}
    assert (done.returncode, found["proven"]) == ((1, False) if animal.told_by else (0, True)), done.stdout[-3000:]
