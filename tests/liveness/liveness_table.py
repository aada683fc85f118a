"""Which test proves that a setting or an option acts, by verb and backend, and what the backend's plan answers.

The cases themselves stand where the tests are, by name of the setting; a new setting needs its case there and, only if it is
tried elsewhere, answered otherwise or refused, a line here. ``settings_pages.py`` shows it on the page of the settings.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from reading_flags import READING

from ptycho_core.backends.registry import find_named
from ptycho_core.settings.groups import declarations

ROOT = Path(__file__).parents[2]
BACKENDS = ("torch", "tensorflow", "numpy")
VERBS = ("train", "infer", "reconstruct")

CASES = {
    "train": ("tests/liveness/test_every_setting_of_learning_acts.py", "TRAIN", "test_the_setting_acts_on_a_training"),
    "infer": ("tests/liveness/test_every_setting_of_learning_acts.py", "INFER", "test_the_setting_acts_on_an_inference"),
    "reconstruct": ("tests/liveness/test_every_setting_acts.py", "ACTS", "test_the_setting_acts"),
}
"""File, name of the cases by setting, and the test that runs the real command twice for each, with every backend."""

ELSEWHERE = {
    "frame_axis": (["--frame-axis", "first"], "tests/liveness/test_the_frame_axis_acts.py::test_the_frame_axis_acts"),
    "margin": (["--regime", "near", "--margin", "4"], "tests/liveness/test_the_margin_acts.py::test_the_margin_acts"),
    "clip_negative": (["--clip-negative"], "tests/liveness/test_clipping_acts.py::test_clipping_acts"),
    "allow_mixed_frameworks": (
        ["--allow-mixed-frameworks"],
        "tests/parity/test_mixture.py::test_a_second_framework_comes_into_a_process_only_where_it_is_allowed",
    ),
    **{
        name: (
            ["--format", "plain_npz"] if name == "format" else words,
            "tests/liveness/test_reading_acts.py::test_what_says_how_a_scan_is_read_acts",
        )
        for name, (_, words) in READING.items()
    },
}
"""Settings that need a file of another layout, one with negative counts, or their own process: words to ask for them with,
and the test."""

OPTIONS = {
    "tensorflow.jit": (["--opt", "tensorflow.jit=true"], "test_jit.py::test_the_option_acts_through_the_real_command"),
    "torch.compile": (
        ["--opt", "torch.compile=true", "--allow-unsupported"],
        "test_compile.py::test_the_network_is_compiled_once_and_gives_the_same",
    ),
}
"""Options of backends: words, and the test in the backend's own folder."""

SEALED = "tests/settings/test_payload_of_learning.py::test_no_setting_of_a_model_can_be_changed_at_inference"

ADJUSTED = {
    (
        "tensorflow",
        "deterministic",
    ): "on a CPU, which adds in a fixed order in any case, off is adjusted to on; on a GPU on is adjusted to strict",
    ("tensorflow", "threads"): "applied by the first job of a process; adjusted after it",
    ("numpy", "deterministic"): "it adds in a fixed order in any case: off is adjusted to on",
}
"""Where the plan may answer that it does something else, and when."""

UNSUPPORTED = {
    ("torch", "pin_memory"): (("applied", "unsupported"), "unsupported on a CPU, to which nothing is copied"),
    ("torch", "torch.compile"): (("applied", "unsupported"), "unsupported where no compiler is found, and on `reconstruct`"),
    ("tensorflow", "pin_memory"): (("unsupported",), "TensorFlow has no pinned memory to offer"),
    ("numpy", "pin_memory"): (("unsupported",), "pinned memory serves copies to a GPU"),
    ("numpy", "allow_mixed_frameworks"): (("applied",), "it has no framework, and nothing to allow"),
}
"""What the plan answers where it may not be able to do what is asked, and why not."""

REFUSED = {
    "accelerator": {"tpu": "no backend offers it", "mps": "no backend offers it", "cuda": "where there is no usable GPU"},
    "precision": {"fp16-mixed": "no backend offers it"},
}
REFUSED_BY = {"numpy": {"accelerator": {"cuda": "it computes on the CPU"}, "precision": {"bf16-mixed": "NumPy has none"}}}
"""Values that are refused with status 4, and why: those that are for every backend, and those of one."""

OWN = {
    ("numpy", "deterministic"): "tests/numpy_backend/test_numpy_backend.py::test_whatever_is_asked_it_gives_the_same_bits",
    (
        "numpy",
        "threads",
    ): "tests/numpy_backend/test_numpy_backend.py::test_threads_act_on_transforms_and_products_and_go_back",
}
"""Settings that a test of the backend shows instead."""


@dataclass(frozen=True)
class Proof:
    """One setting of a verb with one backend: the words to ask for it with, the answers a plan may give, the test."""

    verb: str
    name: str
    backend: str
    words: tuple[str, ...]
    answers: tuple[str, ...]
    test: str
    note: str = ""


@cache
def module(path: str) -> ModuleType:
    """A file of tests, for the cases in it."""
    spec = importlib.util.spec_from_file_location(f"cases_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def names(verb: str, backend: str) -> list[str]:
    """All settings of a verb, and the options of the backend; none where it does not have the verb."""
    spec = find_named(backend)[0].spec
    assert spec is not None
    if verb not in spec.capabilities:
        return []
    return [*declarations(verb), *(f"{backend}.{one.name}" for one in spec.options)]


def refused(name: str, backend: str) -> dict[str, str]:
    """The values of a setting that a backend refuses, and why."""
    return REFUSED.get(name, {}) | REFUSED_BY.get(backend, {}).get(name, {})


def proof(verb: str, name: str, backend: str) -> Proof | None:
    """The proof of one setting, or None where there is none."""
    path, table, function = CASES[verb]
    cases = getattr(module(path), table)
    note = ADJUSTED.get((backend, name), "")
    answers: tuple[str, ...] = ("applied", "adjusted") if note else ("applied",)
    answers, note = UNSUPPORTED.get((backend, name), (answers, note))
    if name in OPTIONS:
        return Proof(
            verb, name, backend, tuple(OPTIONS[name][0]), answers, f"tests/ptycho_backend_{backend}/{OPTIONS[name][1]}", note
        )
    if verb == "infer" and name in declarations(verb) and declarations(verb)[name].group == "model":
        return Proof(verb, name, backend, (), ("refused",), f"{SEALED}[{name}]", "the model file fixes it")
    if name in ELSEWHERE:
        return Proof(verb, name, backend, tuple(ELSEWHERE[name][0]), answers, ELSEWHERE[name][1], note)
    if name not in cases:
        return None
    refusals = "; ".join(f"{value} is refused: {why}" for value, why in refused(name, backend).items())
    test = OWN.get((backend, name), f"{path}::{function}[{name}]")
    return Proof(verb, name, backend, tuple(cases[name][1]), answers, test, "; ".join(filter(None, [note, refusals])))


def is_there(test: str) -> bool:
    """Whether the file of a test has a function of that name. That a parameter is one of its cases, `proof` has seen to."""
    path, _, function = test.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8")) if (ROOT / path).is_file() else ast.Module([], [])
    return function.partition("[")[0] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
