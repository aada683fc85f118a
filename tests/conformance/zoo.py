"""Backends that are wrong in one thing each, and the tests of the kit that tell it.

Most are derived from the reference. Those whose verbs are the engine's have one wrong array operation.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent, indent

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


def asking(job, group, **changes):
    return replace(job, settings={{**job.settings, group: {{**job.settings[group], **changes}}}})


def unmasked(job, dark=False):
    import numpy as np

    with np.load(job.scan.source, allow_pickle=False) as file:
        counts, mask = file["intensity"].astype(np.float32), file["mask"]
    patterns = Raw(counts * (mask if dark else 1))
    return replace(job, scan=replace(job.scan, patterns=patterns, mask=np.ones_like(mask)))


class Raw:
    def __init__(self, counts):
        self.counts, self.shape, self.dtype = counts, counts.shape, counts.dtype

    def __len__(self):
        return len(self.counts)

    def read(self, frames):
        return self.counts[frames].copy()


calls = []


class Deaf:
    def __init__(self, events, deaf=lambda events: True):
        self.events, self.deaf = events, deaf

    def __getattr__(self, name):
        return getattr(self.events, name)

    @property
    def stop_requested(self):
        return self.events.stop_requested and not self.deaf(self.events.events)
"""

ENGINE_PLUGIN = """
from ptycho_core.engine import engine_hooks

(
    ptycho_backend_spec,
    ptycho_probe,
    ptycho_plan,
    ptycho_train,
    ptycho_infer,
    ptycho_reconstruct,
    ptycho_evaluate,
) = engine_hooks("{name}", __package__)
"""

ENGINE_DEVICES = """
from contextlib import contextmanager
from dataclasses import replace

import torch

from ptycho_backend_torch import devices
from ptycho_backend_torch.arrays import TorchArrays


def probe():
    found = devices.probe()
    return replace(found, devices=found.devices[:1], precisions=("float64",))


@contextmanager
def operations(plan):
    with devices.configured(plan) as device:
        yield Wrong(device, torch.float64)


class Wrong(TorchArrays):
"""

MANIFEST = """
name = "{name}"
contract = "{contract}"
title = "Wrong: {name}"
capabilities = {claims}
precisions = {precisions}
only_by_name = true
{options}
"""

OPTION = """
[[options]]
name = "gain"
type = "float"
default = 1.0
minimum = 0.5
maximum = 2.0
help = "factor that no one wants."
"""


@dataclass(frozen=True)
class Animal:
    """A wrong backend.

    Attributes:
        told_by: ids of the tests that must fail, and no other may.
        code: what follows `HEAD` in its plugin.
        claims: capabilities; few, so that the kit is soon done with it.
        contract: of its manifest.
        options: of its manifest.
        precisions: of its manifest.
        alone: whether it ends or hangs its process, so that it needs the kit's own.
        long: whether it takes its time.
        timeout: seconds for each job.
    """

    told_by: set[str]
    code: str = ""
    claims: tuple[str, ...] = ("evaluate",)
    contract: str = "2.0"
    options: str = ""
    precisions: tuple[str, ...] = ("float64",)
    alone: bool = False
    long: bool = False
    timeout: float = 60.0

    def install(self, name: str, site: Path) -> None:
        """Write it into a folder for ``sys.path``: package, manifest and what makes it an installed distribution."""
        package, info = site / f"wrong_{name}", site / f"wrong_{name}-1.0.dist-info"
        for folder in (package, info):
            folder.mkdir(parents=True)
        for module, source in self.modules(name).items():
            (package / f"{module}.py").write_text(source)
        manifest = MANIFEST.format(
            name=name, contract=self.contract, claims=list(self.claims), options=self.options, precisions=list(self.precisions)
        )
        (package / "ptycho-backend.toml").write_text(manifest.replace("'", '"'))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wrong-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ptycho.backends]\n{name} = wrong_{name}.plugin\n")

    def modules(self, name: str) -> dict[str, str]:
        """Sources of its modules."""
        return {"__init__": "", "plugin": HEAD.format(name=name) + self.code}


class OnTheEngine(Animal):
    """A wrong backend whose verbs are the engine's: ``code`` holds methods, which PyTorch's array operations have wrong."""

    def modules(self, name: str) -> dict[str, str]:
        return {
            "__init__": "",
            "plugin": ENGINE_PLUGIN.format(name=name),
            "devices": ENGINE_DEVICES + indent(self.code, "    "),
            "planning": "from ptycho_backend_torch.planning import plan\n",
        }


def evaluating(change, told_by="", **more):
    """Answers to batches are changed: ``found`` is what the reference gives for ``job``."""
    code = f"""

@hookimpl
def ptycho_evaluate(job):
    import numpy as np

    def right(**changes):
        return reference.ptycho_evaluate(replace(job, **changes))

    {change}
"""
    return Animal({f"test_evaluate.py::{one}" for one in told_by.split()}, code, **more)


def _fitting(verb, change, told_by, claims, more):
    code = f"""

@hookimpl
def ptycho_{verb}(job, plan, events):
    import numpy as np

    def right(job=job, events=events):
        return reference.ptycho_{verb}(job, plan, events)

    {change}
"""
    return Animal(ids(verb, told_by), code, claims or (verb,), **more)


def ids(verb, told_by):
    """Ids of tests, most of them in the module of a verb; a plus stands for a blank within one."""
    names = (one.replace("+", " ") for one in told_by.split())
    return {one if "::" in one else f"test_{verb}.py::{one}" for one in names}


def reconstructing(change, told_by, claims=(), **more):
    """A reconstruction is changed: ``right()`` is what the reference gives for ``job``."""
    return _fitting("reconstruct", change, told_by, claims, more)


def training(change, told_by, claims=(), **more):
    """A training is changed: ``right()`` is what the reference gives for ``job``."""
    return _fitting("train", change, told_by, claims, more)


def inferring(change, told_by, claims=("infer",), setup="", **more):
    """Each batch that the reference yields for ``job`` is changed."""
    code = f"""

@hookimpl
def ptycho_infer(job, events):
    import numpy as np

    {setup or "pass"}
    for batch in reference.ptycho_infer(job, events):
        if not hasattr(batch, "patches"):  # a tile is left as it is
            yield batch
            continue
        {change}
"""
    return Animal(ids("infer", told_by), code, claims, **more)


def planning(change, told_by, claims, module="test_execution.py", code="", **more):
    """The plan of the reference is changed: answers ``said`` and execution settings ``run``."""
    plan = f"""

@hookimpl
def ptycho_plan(request, probe):
    from ptycho_core.contract import Disposition

    plan, asked = reference.ptycho_plan(request, probe), request.execution
    said, run, options = dict(plan.dispositions), dict(plan.execution), dict(plan.options)
    {change}
    return replace(plan, dispositions=said, execution=run, options=options)
"""
    return Animal({one if "::" in one else f"{module}::{one}" for one in told_by.split()}, plan + code, claims, **more)


def operating(code, told_by, claims=("evaluate",), **more):
    """An array operation is changed: ``code`` overrides a method of PyTorch's; the engine's verbs are as they are."""
    return OnTheEngine(ids(claims[0], told_by), dedent(code), claims, **more)


def stamping(animal):
    """Its model files say that they are its own."""
    code = """

@hookimpl
def ptycho_train(job, plan, events):
    from ptycho_core.model import load_model, save_model

    found = reference.ptycho_train(job, plan, events)
    for path in {found.model_path, found.last_path}:
        save_model(path, replace(load_model(path, training=True), producer={"stamp": "its own"}))
    return found
"""
    return replace(animal, code=animal.code + code)


def accepting(*names):
    """Code for `planning`: what is asked for is said to be applied."""
    return f"""for name in {names!r}:
        if name in said:
            value = asked[name] if name in asked else next(one[name] for one in request.settings.values() if name in one)
            said[name] = Disposition("applied", value)
            if name in run:
                run[name] = value"""


IMPORTED = {"test_backend.py::test_the_plugin_can_be_imported"}
ANSWERED = "test_the_plan_answers_exactly_what_was_asked_for"
MIXED = ("float64", "bf16-mixed")
MIXED_PROBE = """

@hookimpl
def ptycho_probe():
    return replace(reference.ptycho_probe(), precisions=('float64', 'bf16-mixed'))
"""
IN_THREAD = """

@hookimpl
def ptycho_infer(job, events):
    import queue
    import threading

    if not job.settings["execution"]["num_workers"]:
        yield from reference.ptycho_infer(job, events)
        return
    found = queue.Queue()

    def run():
        for batch in reference.ptycho_infer(job, events):
            found.put(batch)
        found.put(None)

    thread = threading.Thread(target=run)
    thread.start()
    while (batch := found.get()) is not None:
        yield batch
    thread.join()
"""

BACKEND = {
    "import_error": Animal(IMPORTED, "import a_module_that_is_not_there"),
    "exit_at_import": Animal(IMPORTED, "import os\nos._exit(3)", alone=True),
    "polite_exit_at_import": Animal(IMPORTED, "raise SystemExit(0)", long=True),
    "hang_at_import": Animal(IMPORTED, "import time\ntime.sleep(600)", alone=True, timeout=6.0),
    "newer_contract": Animal({"test_backend.py::test_it_can_be_used"}, contract="2.99"),
    "heavy_import": Animal({"test_backend.py::test_loading_imports_nothing_heavy"}, "import numpy"),
    "stale_manifest": Animal(
        {"test_backend.py::test_it_says_what_its_manifest_says"},
        "_said = ptycho_backend_spec\n\n"
        "@hookimpl\ndef ptycho_backend_spec():\n    return replace(_said(), precisions=('float32',))",
    ),
    "misspelled_hook": Animal(
        {"test_backend.py::test_the_hooks_fit_the_contract"}, "@hookimpl\ndef ptycho_reconstuct(job):\n    return None"
    ),
    "finds_what_it_does_not_claim": Animal(
        {"test_backend.py::test_the_probe_says_what_there_is"},
        """
@hookimpl
def ptycho_probe():
    found = reference.ptycho_probe()
    return replace(found, devices=(*found.devices, replace(found.devices[0], accelerator="cuda", name="cuda:0")))
""",
    ),
    "forgets_an_option": planning("said.pop('seed', None)", f"{ANSWERED}[evaluate]", ("evaluate",), "test_backend.py"),
    "takes_another_option": planning(
        "options['gain'] = 1.0",
        "test_backend.py::test_an_option_of_its_own_is_answered[gain]",
        ("evaluate",),
        options=OPTION,
    ),
    "never_reads_its_option": planning(
        "pass", "test_an_option_of_its_own_acts_or_is_refused[gain]", ("evaluate",), options=OPTION
    ),
    "pins_memory_for_a_cpu": planning(
        accepting("pin_memory"), "test_what_only_the_backend_can_act_on_is_answered_truly[infer]", ("infer",)
    ),
    "strict_in_words_alone": planning(
        "run['deterministic'] = 'on'",
        "test_what_only_the_backend_can_act_on_is_answered_truly[reconstruct]",
        ("reconstruct",),
    ),
    "no_workers_at_inference": planning(
        accepting("num_workers", "prefetch"), "test_num_workers_read_or_are_refused[infer]", ("infer",)
    ),
    "no_workers_at_training": planning(
        accepting("num_workers", "prefetch"), "test_num_workers_read_or_are_refused[train]", ("train",), long=True
    ),
    "no_workers_at_reconstruction": planning(
        accepting("num_workers", "prefetch"), "test_num_workers_read_or_are_refused[reconstruct]", ("reconstruct",)
    ),
    "reads_all_ahead": planning(
        accepting("num_workers", "prefetch"),
        "test_prefetch_bounds_what_is_read_ahead_or_is_refused",
        ("infer",),
        code=IN_THREAD,
    ),
}

EVALUATE = {
    "returns_none": evaluating("return None", "test_evaluate_answers"),
    "crashes": evaluating("import os\n    os.abort()", "test_evaluate_answers", alone=True),
    "returns_tensors": evaluating(
        "class Tensor:\n        values, shape = right().intensities, right().intensities.shape\n"
        "    return replace(right(), intensities=Tensor())",
        "test_evaluate_gives_numpy_arrays",
    ),
    "gradients_in_single_precision": evaluating(
        "found = right()\n    return replace(found, gradients={name: one.astype(np.complex64 if np.iscomplexobj(one) else "
        "np.float32) for name, one in found.gradients.items()})",
        "test_evaluate_gives_shapes_and_types_of_the_contract",
    ),
    "amplitude_for_intensity": evaluating(
        "return replace(right(), intensities=np.sqrt(right().intensities))",
        "test_intensities_grow_with_the_square_of_the_probe",
    ),
    "wrong_norm": evaluating("return right(probe=job.probe * job.probe.shape[-1])", "test_no_counts_are_lost"),
    "drops_the_fftshift": evaluating(
        "return replace(right(), intensities=np.fft.ifftshift(right().intensities, axes=(-2, -1)))",
        "test_zero_frequency_is_in_the_middle",
    ),
    "transposed_positions": evaluating(
        "return right(positions=job.positions[:, ::-1].copy())", "test_positions_are_row_and_column"
    ),
    "no_subpixel_shift": evaluating("return right(positions=np.floor(job.positions))", "test_forward_model[float64]"),
    "float32_inside_float64": evaluating(
        "return replace(right(), intensities=right().intensities.astype(np.float32).astype(float))",
        "test_forward_model[float64]",
    ),
    "mask_left_out_of_the_loss": evaluating(
        "return replace(right(), losses=right(mask=None).losses)", "test_loss_terms[float64]"
    ),
    "half_the_gradient": evaluating(
        "return replace(right(), gradients={name: one / 2 for name, one in right().gradients.items()})",
        "test_gradients[float64]",
    ),
    "mask_left_out_of_the_gradient": evaluating(
        "return replace(right(), gradients=right(mask=None).gradients if job.gradients else {})",
        "test_gradients[float64]",
        long=True,
    ),
    "flux_of_the_background": evaluating(
        "factor = 1 if job.flux is None else job.flux[:, None, None]\n"
        "    stray = 0 if job.background is None else job.background\n"
        "    return replace(right(), intensities=right().intensities + (factor - 1) * stray)",
        "test_the_flux_is_a_factor_on_the_light_of_a_frame[float64]",
        claims=("evaluate", "reconstruct", "flux"),
    ),
    "saturation_left_out": evaluating(
        "return right(saturation=None)",
        "test_saturated_counts_are_lower_bounds[float64]",
        claims=("evaluate", "reconstruct", "saturation"),
    ),
    "near_field_the_other_way": evaluating(
        "if job.propagation is None:\n        return right()\n"
        "    turned = right(object=job.object.conj(), probe=job.probe.conj())\n"
        "    back = {name: one.conj() for name, one in turned.gradients.items()}\n"
        "    return replace(turned, gradients=back)",
        "test_the_near_field_is_that_of_its_propagator[float64]",
        claims=("evaluate", "reconstruct", "near-field"),
    ),
    "gradients_unasked": evaluating("return right(gradients=True)", "test_gradients_are_given_only_where_they_are_wanted"),
    "mask_shifted_the_other_way": evaluating(
        "return right(mask=None if job.mask is None else np.fft.fftshift(np.fft.fftshift(job.mask)))",
        "test_odd_sizes_are_centred_too[float64]",
    ),
    "patterns_shifted_the_other_way": evaluating(
        "turned = np.fft.fftshift(right().intensities, axes=(-2, -1))\n"
        "    return replace(right(), intensities=np.fft.fftshift(turned, axes=(-2, -1)))",
        "test_odd_sizes_are_centred_too[float64]",
        long=True,
    ),
}

ISOLATION = {
    "says_it_is_repeatable": evaluating(
        "calls.append(0)\n    return replace(right(), intensities=right().intensities * (1 + 1e-15 * len(calls)))"
    ),
    "touches_the_global_generator": evaluating("np.random.random()\n    return right()"),
    "sets_a_variable": evaluating("import os\n    os.environ['ZOO'] = os.environ.get('ZOO', '') + '0'\n    return right()"),
    "moves_elsewhere": evaluating("import os\n    os.chdir('/usr' if Path.cwd() == Path('/') else '/')\n    return right()"),
    "leaves_a_file": evaluating("Path('cache.bin').write_bytes(b'0')\n    return right()"),
    "leaves_a_thread": evaluating(
        "import threading, time\n    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n    return right()"
    ),
}
TOLD = {
    "says_it_is_repeatable": "test_another_process_gives_the_same",
    "touches_the_global_generator": "test_global_random_state_is_left_alone",
    "sets_a_variable": "test_the_environment_is_left_alone",
    "moves_elsewhere": "test_the_working_directory_is_left_alone",
    "leaves_a_file": "test_no_file_is_left_outside_of_the_output_folder",
    "leaves_a_thread": "test_no_thread_and_no_process_is_left",
}
for _name, _test in TOLD.items():
    ISOLATION[_name].told_by.add(f"test_isolation.py::{_test}[evaluate]")

OF_A_MODEL = "test_a_model_file_gives_what_it_gives_in_the_reference"
OF_A_CANVAS = f"{OF_A_MODEL}[float64-canvas]"
IN_WINDOWS = f"{OF_A_MODEL}[float64-every+fact] {OF_A_MODEL}[float64-tiles]"
OF_ALL = f"{IN_WINDOWS} {OF_A_CANVAS}"
EVERY_PATCH = f"{OF_A_MODEL}[float64-plain] {IN_WINDOWS}"
ALONE = "test_a_scan_alone_gives_what_it_gives_in_the_reference"
EVERY_SCAN = f"{ALONE}[float64-many] {ALONE}[float64-few]"

INFER = {
    "yields_nothing": inferring("return", "test_infer_answers"),
    "leaves_out_a_frame": inferring(
        "keep = batch.frames != 3\n        yield replace(batch, frames=batch.frames[keep], patches=batch.patches[keep])",
        "test_infer_yields_each_frame_once_as_numpy",
    ),
    "first_mode_alone": inferring(
        "yield batch",
        f"{OF_ALL} {EVERY_SCAN}",
        setup="job = replace(job, probe=job.probe[:1])",
    ),
    "mask_ignored_at_inference": inferring(
        "yield batch",
        f"{OF_ALL} {EVERY_SCAN} test_infer_does_not_look_at_bad_pixels",
        setup="job = unmasked(job)",
    ),
    "glances_at_bad_pixels": inferring(
        "yield replace(batch, patches=batch.patches * dim)",
        "test_infer_does_not_look_at_bad_pixels",
        setup="with np.load(job.scan.source) as file:\n        seen = file['intensity'][:, ~file['mask']].sum(dtype=float)\n"
        "    dim = 1 + 1e-15 * (seen % 89)",
    ),
    "float32_inside_inference": inferring(
        "yield replace(batch, patches=batch.patches.astype(np.complex64).astype(complex))", EVERY_PATCH
    ),
    "answers_in_single_precision": inferring(
        "yield replace(batch, patches=batch.patches.astype(np.complex64))", EVERY_PATCH, long=True
    ),
    "patches_depend_on_the_batch": inferring(
        "yield replace(batch, patches=batch.patches * (1 + (len(batch.frames) < 2) * 1e-3))",
        "test_a_patch_does_not_depend_on_the_batch",
    ),
    "two_batches_in_one": inferring(
        "yield batch",
        "test_a_batch_is_no_larger_than_asked_for",
        setup="job = asking(job, 'execution', inference_batch_size=2 * (job.settings['execution']['inference_batch_size'] or 1))",
    ),
    "reads_from_the_top": inferring(
        "yield replace(batch, patches=batch.patches * dim)",
        "test_a_patch_does_not_depend_on_the_order_of_the_frames",
        setup="with np.load(job.scan.source) as file:\n"
        "        dim = 1 - 1e-3 * (file['positions_px'][0, 0] > file['positions_px'][-1, 0])",
    ),
    "leaves_the_canvas_as_it_is": inferring(
        "yield batch",
        OF_A_CANVAS,
        setup="if job.model.network['version'] == 3:\n"
        "        still = {name: 0 * one for name, one in job.model.weights.items()}\n"
        "        job = replace(job, model=replace(job.model, weights=still))",
    ),
    "bounds_ignored_at_inference": inferring(
        "yield batch",
        "test_a_pass_takes_saturated_counts_as_lower_bounds[float64]",
        claims=("infer", "saturation"),
        setup="job = replace(job, scan=replace(job.scan, saturation=None))",
    ),
    "deaf_at_inference": inferring("yield batch", "test_infer_ends_early_when_asked", setup="events = Deaf(events)"),
    "mixed_in_words_alone": planning(
        "if asked['precision'] == 'bf16-mixed':\n        said['precision'] = Disposition('applied', 'bf16-mixed')",
        "test_infer.py::test_infer_runs_in_mixed_precision[bf16-mixed]",
        ("infer",),
        precisions=MIXED,
        code=MIXED_PROBE,
    ),
}

RECONSTRUCT = {
    "fails": reconstructing("raise RuntimeError('no luck')", "test_reconstruct_answers"),
    "positions_in_single_precision": reconstructing(
        "found = right()\n    return replace(found, positions=found.positions.astype(np.float32))",
        "test_reconstruct_gives_numpy_arrays_of_the_contract",
    ),
    "history_of_another_course": reconstructing(
        "found = right()\n    return replace(found, history=[{**row, 'epoch': 0} for row in found.history])",
        "test_reconstruct_keeps_a_history_and_tells_of_every_epoch",
    ),
    "gives_up_early": reconstructing(
        "asked = job.settings['reconstruction']\n"
        "    return right(asking(job, 'reconstruction', epochs=0, iterations=1) if asked['iterations'] == 15 else job)",
        "test_it_improves_a_known_scan",
    ),
    "half_the_misfit": reconstructing(
        "found = right()\n    return replace(found, history=[{**row, 'misfit': row['misfit'] / 2} for row in found.history])",
        "test_the_history_says_what_the_arrays_say",
    ),
    "takes_near_for_far": reconstructing(
        "return right(replace(job, scan=replace(job.scan, geometry=None)))",
        "test_it_improves_a_scan_in_the_near_field",
        claims=("reconstruct", "near-field"),
    ),
    "sums_of_other_frames": reconstructing(
        "found = right()\n    return replace(found, frame_sums=found.frame_sums[::-1])",
        "test_the_sums_of_each_frame_are_those_of_its_answer",
    ),
    "fits_on_for_who_watches": reconstructing(
        "more = {'epochs': 1 + job.settings['reconstruction']['epochs']} if events.snapshot_due else {}\n"
        "    return right(asking(job, 'reconstruction', **more))",
        "test_who_watches_changes_nothing",
    ),
    "shows_another_state": reconstructing(
        "shown = events.show\n"
        "    events.show = lambda snapshot: shown(replace(snapshot, object=snapshot.object.T))\n"
        "    return right()",
        "test_who_watches_changes_nothing",
        long=True,
    ),
    "modes_not_orthogonal": reconstructing(
        "found = right()\n    mixed = found.probe + 0.1 * np.roll(found.probe, 1, axis=0) * (len(found.probe) > 1)\n"
        "    return replace(found, probe=mixed)",
        "test_modes_are_orthogonal_and_the_strongest_is_first",
    ),
    "weakest_mode_first": reconstructing(
        "found = right()\n    return replace(found, probe=found.probe[::-1])",
        "test_modes_are_orthogonal_and_the_strongest_is_first",
    ),
    "float32_inside_reconstruction": reconstructing(
        "found = right()\n    return replace(found, object=found.object.astype(np.complex64).astype(complex))",
        "test_reconstruct_computes_in_the_precision_that_was_asked_for[float64]",
    ),
    "object_in_single_precision": reconstructing(
        "found = right()\n    return replace(found, object=found.object.astype(np.complex64))",
        "test_reconstruct_computes_in_the_precision_that_was_asked_for[float64]",
        long=True,
    ),
    "mask_ignored": reconstructing(
        "return right(unmasked(job))",
        "test_reconstruct_does_not_look_at_bad_pixels",
    ),
    "bad_pixels_taken_for_dark": reconstructing(
        "return right(unmasked(job, dark=True))",
        "test_reconstruct_does_not_look_at_bad_pixels",
    ),
    "fits_what_is_held_out": reconstructing(
        "found = right()\n    if not len(found.held_out):\n        return found\n"
        "    every = right(asking(job, 'reconstruction', held_out=0.0, object_alpha=0.1))\n"
        "    return replace(found, object=every.object, probe=every.probe)",
        "test_frames_held_out_take_no_part",
    ),
    "begins_with_a_flat_object": reconstructing(
        "return right(replace(job, object=np.ones_like(job.object)))",
        "test_it_begins_with_what_it_is_given",
    ),
    "tolerance_of_its_own": reconstructing(
        "return right(asking(job, 'reconstruction', tolerance=1e-9))", "test_a_tolerance_ends_the_fit_or_is_refused"
    ),
    "keeps_all_in_memory": planning(
        accepting("memory_gib"),
        "test_reconstruct.py::test_less_memory_changes_the_reading_alone_or_is_refused",
        ("reconstruct",),
    ),
    "ignores_a_setting": reconstructing(
        "return right(asking(job, 'reconstruction', object_alpha=0.02))", "test_a_setting_acts_or_is_refused[object_alpha]"
    ),
    "no_coarse_start": planning(
        accepting("coarse_start"),
        "test_reconstruct.py::test_a_setting_acts_or_is_refused[coarse_start]",
        ("reconstruct",),
        long=True,
    ),
    "leaves_positions": planning(
        accepting("refine_positions"),
        "test_reconstruct.py::test_positions_are_refined",
        ("reconstruct", "positions"),
    ),
    "searches_no_positions": planning(
        accepting("refine_positions"),
        "test_reconstruct.py::test_positions_that_are_far_off_are_found[search]",
        ("reconstruct", "position-search"),
    ),
    "no_background": planning(
        accepting("background"),
        "test_reconstruct.py::test_a_background_is_fitted",
        ("reconstruct", "background"),
        code=reconstructing(
            "found, wanted = right(), job.settings['reconstruction']['background']\n"
            "    return replace(found, background=None if wanted == 'none' else np.zeros(found.probe.shape[1:]))",
            "",
        ).code,
    ),
    "leaves_the_flux": planning(
        accepting("refine_flux"),
        "test_reconstruct.py::test_the_flux_is_fitted",
        ("reconstruct", "flux"),
        code=reconstructing(
            "wanted = job.settings['reconstruction']['refine_flux']\n"
            "    found = right(asking(job, 'reconstruction', refine_flux=False))\n"
            "    return replace(found, flux=np.ones(len(found.positions)) if wanted else None)",
            "",
        ).code,
    ),
    "leaves_the_saturation": planning(
        accepting("saturation"),
        "test_reconstruct.py::test_a_saturated_pixel_is_a_lower_bound",
        ("reconstruct", "saturation"),
        code=reconstructing("return right(asking(job, 'reconstruction', saturation=0.0))", "").code,
    ),
    "deaf": reconstructing("return right(events=Deaf(events))", "test_reconstruct_stops_when_asked_with_the_best_so_far"),
    "deaf_in_the_last_stage": reconstructing(
        "return right(events=Deaf(events, lambda events: events[-1].stage == 'joint'))",
        "test_reconstruct_stops_in_every_stage",
    ),
}

HISTORY = "test_the_history_is_that_of_the_reference"
REWRITTEN = """from ptycho_core.model import load_model, save_model
    found = right()
    model = load_model(found.last_path, training=True)
    save_model(found.last_path, replace(model, history=[{{**row, '{name}': {value}}} for row in model.history]))
    return found"""
WAY = "test_train.py::test_training_goes_the_way_of_the_reference"
EVERY_WAY = f"{WAY}[adam] {WAY}[adamw] {WAY}[sgd]"
EVERY_HISTORY = f"{HISTORY}[adam] {HISTORY}[adamw] {HISTORY}[sgd] {HISTORY}[canvas]"

TRAIN = {
    "trains_nothing": training("return None", "test_train_answers"),
    "leaves_a_file_in_the_run": training(
        "(job.output_dir / 'notes.txt').write_text('')\n    return right()",
        "test_train_leaves_whole_checkpoints_and_nothing_else",
    ),
    "history_without_a_column": training(
        "found, lost = right(), 'trivial_loss'\n"
        "    kept = [{name: one for name, one in row.items() if name != lost} for row in found.history]\n"
        "    return replace(found, history=kept)",
        "test_train_keeps_a_history_and_tells_of_every_epoch",
    ),
    "learns_nothing": training("return right(asking(job, 'training', learning_rate=1e-9))", "test_training_lowers_the_loss"),
    "ignores_the_momentum": training(
        "return right(asking(job, 'training', momentum=0.0) if job.settings['training']['optimizer'] == 'sgd' else job)",
        "test_training_goes_the_way_of_the_reference[sgd]",
    ),
    "bounds_ignored_in_training": training(
        "scans = [replace(one, scan=replace(one.scan, saturation=None)) for one in job.data.scans]\n"
        "    return right(replace(job, data=replace(job.data, scans=tuple(scans))))",
        "test_a_training_takes_saturated_counts_as_lower_bounds",
        claims=("train", "saturation"),
    ),
    # What compares patterns, however little, leaves the canvas as it lies.
    "turns_no_canvas": training(
        "return right(asking(job, 'training', amplitude_weight=1e-12) if job.model.network['version'] == 3 else job)",
        f"{WAY}[canvas]",
    ),
    "never_collapses": training(REWRITTEN.format(name="output_deviation", value="1.0"), EVERY_HISTORY),
    "another_flat_object": training(
        REWRITTEN.format(name="trivial_loss", value="1.0005 * row['trivial_loss']"), EVERY_HISTORY, long=True
    ),
    "resumes_wrongly": training(
        "return right(asking(job, 'training', learning_rate=2e-3) if job.model.training else job)",
        "test_training_goes_on_from_a_checkpoint",
    ),
    "deaf_in_training": training("return right(events=Deaf(events))", "test_train_stops_when_asked_with_a_checkpoint"),
    "reads_its_own_otherwise": stamping(
        inferring(
            "yield replace(batch, patches=batch.patches * (1 + 1e-3 * ('stamp' in job.model.producer)))",
            "test_train.py::test_the_reference_reads_what_it_has_trained",
            claims=("train", "infer"),
        )
    ),
    "reads_others_otherwise": inferring(
        "other = job.model.producer.get('backend', '').startswith('reference')\n"
        "        yield replace(batch, patches=batch.patches * (1 + 1e-3 * other))",
        "test_train.py::test_it_reads_what_the_reference_has_trained",
    ),
    "trains_mixed_in_words_alone": planning(
        "if asked['precision'] == 'bf16-mixed':\n        said['precision'] = Disposition('applied', 'bf16-mixed')",
        "test_train.py::test_train_runs_in_mixed_precision[bf16-mixed]",
        ("train",),
        precisions=MIXED,
        code=MIXED_PROBE,
    ),
    "labels_without_a_gradient": evaluating(
        "found = right()\n    if found.patches is None or job.model.network['version'] != 3:\n        return found\n"
        "    return replace(found, gradients=right(settings=asking(job, 'training', realspace_weight=0.0).settings).gradients)",
        claims=("train", "evaluate"),
    ),
    "another_batch": evaluating(
        "found = right()\n    return found if found.patches is None else replace(found, patches=found.patches * (1 + 1e-9))",
        claims=("train", "evaluate"),
    ),
}
BATCH = "test_batches.py::test_a_batch_of_a_training"
EVERY_OPERATION = f"{BATCH}[float64-every+operation]"
ON_CANVAS = f"{BATCH}[float64-canvas]"
EVERY_BATCH_OF_WINDOWS = f"{BATCH}[float64-one+frame] {BATCH}[float64-four+frames] {EVERY_OPERATION}"
EVERY_BATCH = f"{EVERY_BATCH_OF_WINDOWS} {ON_CANVAS}"
TRAIN["another_batch"].told_by.update(ids("train", EVERY_BATCH))
TRAIN["labels_without_a_gradient"].told_by.update(ids("train", ON_CANVAS))

OPERATIONS = {
    "transform_without_its_factor": operating(
        """
        def fft2_ortho(self, array):
            return torch.fft.fft2(array)
        """,
        "test_no_counts_are_lost",
    ),
    "both_transforms_orthonormal": operating(
        """
        def fft2(self, array):
            return super().fft2_ortho(array)

        def ifft2(self, array):
            return super().ifft2_ortho(array)
        """,
        "test_gradients[float64]",
    ),
    "last_window_wins": operating(
        """
        def scatter_add(self, canvas, patches, corners):
            size, last = patches.shape[-1], canvas.clone()
            for patch, (row, column) in zip(patches.detach(), corners.places, strict=True):
                window = slice(row, row + size), slice(column, column + size)
                last[window] = canvas[window] + patch
            summed = super().scatter_add(canvas, patches, corners)
            return summed + (last - summed).detach()  # with the derivative of the sum
        """,
        "test_gradients[float64] test_train.py::test_training_lowers_the_loss",
        ("evaluate", "train"),
    ),
    "sum_with_half_its_derivative": operating(
        """
        def scatter_add(self, canvas, patches, corners):
            summed = super().scatter_add(canvas, patches, corners)
            return (summed + summed.detach()) / 2
        """,
        f"{EVERY_BATCH_OF_WINDOWS} {EVERY_WAY}",  # on the canvas no windows are added under a derivative
        ("evaluate", "train"),
        long=True,
    ),
    # As of a framework whose gradients are d/d Re - i d/d Im. What learns is one real vector: gradients by complex arrays pass
    # between framework and engine here alone.
    "gradients_conjugated": operating(
        """
        def with_adjoint(self, function, adjoint):
            return super().with_adjoint(function, lambda *given: tuple(one.conj() for one in adjoint(*given)))
        """,
        f"{EVERY_BATCH} test_train.py::test_training_lowers_the_loss",
        ("evaluate", "train"),
    ),
    "weights_of_waves_conjugated": operating(
        """
        def einsum(self, subscripts, first, second):
            return super().einsum(subscripts, first.conj(), second)
        """,
        EVERY_OPERATION,
        ("evaluate", "train"),
        long=True,
    ),
    "overlap_off_by_a_pixel": operating(
        """
        def overlap_sum(self, patches, corners, canvas):
            return super().overlap_sum(patches, corners, canvas).roll(1, -1)
        """,
        "test_half_a_turn_of_the_scan_turns_the_object",
        ("reconstruct",),
    ),
    "convolution_for_correlation": operating(
        """
        def convolution(self, given, weight, bias, stride, *, mixed):
            return super().convolution(given, weight.flip(-2, -1), bias, stride, mixed=mixed)
        """,
        f"{EVERY_PATCH} {OF_A_CANVAS}",
        ("infer",),
    ),
}

ZOO: dict[str, Animal] = {
    "nothing_wrong": Animal(set(), alone=True),
    **BACKEND,
    **EVALUATE,
    **ISOLATION,
    **INFER,
    **RECONSTRUCT,
    **TRAIN,
    **OPERATIONS,  # last: they import a framework, and the others share their process
}
