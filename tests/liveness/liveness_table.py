"""Which test proves that a setting or an option acts, by verb and backend, and what the backend's plan answers.

The cases themselves stand where the tests are, by name of the setting; a new setting needs its case there and, only if it is
tried elsewhere, answered otherwise or refused, a line here.
``python tests/liveness/liveness_table.py > docs/options-by-backend.md`` brings the page up to date.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from reading_flags import READING

from ptycho_core.backends.registry import find_named
from ptycho_core.settings.document import markdown_table
from ptycho_core.settings.groups import declarations

ROOT = Path(__file__).parents[2]
BACKENDS = ("torch", "tensorflow")
VERBS = ("train", "infer", "reconstruct")

CASES = {
    "train": ("tests/liveness/test_every_setting_of_learning_acts.py", "TRAIN", "test_the_setting_acts_on_a_training"),
    "infer": ("tests/liveness/test_every_setting_of_learning_acts.py", "INFER", "test_the_setting_acts_on_an_inference"),
    "reconstruct": ("tests/liveness/test_every_setting_acts.py", "ACTS", "test_the_setting_acts"),
}
"""File, name of the cases by setting, and the test that runs the real command twice for each, with every backend."""

ELSEWHERE = {
    "frame_axis": (["--frame-axis", "first"], "tests/liveness/test_the_frame_axis_acts.py::test_the_frame_axis_acts"),
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
}
"""Where the plan may answer that it does something else, and when."""

UNSUPPORTED = {
    ("torch", "pin_memory"): (("applied", "unsupported"), "unsupported on a CPU, to which nothing is copied"),
    ("torch", "torch.compile"): (("applied", "unsupported"), "unsupported where no compiler is found, and on `reconstruct`"),
    ("tensorflow", "pin_memory"): (("unsupported",), "TensorFlow has no pinned memory to offer"),
}
"""What the plan answers where it may not be able to do what is asked, and why not."""

REFUSED = {
    "accelerator": {"tpu": "no backend offers it", "mps": "no backend offers it", "cuda": "where there is no usable GPU"},
    "precision": {"fp16-mixed": "no backend offers it"},
}
"""Values that are refused with status 4, and why."""
REFUSALS = "tests/liveness/test_options_by_backend.py::test_a_value_that_a_backend_does_not_offer_is_refused"


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
    """All settings of a verb, and the options of the backend."""
    spec = find_named(backend)[0].spec
    assert spec is not None
    return [*declarations(verb), *(f"{backend}.{one.name}" for one in spec.options)]


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
    refused = "; ".join(f"{value} is refused: {why}" for value, why in REFUSED.get(name, {}).items())
    told = "; ".join(filter(None, [note, refused]))
    return Proof(verb, name, backend, tuple(cases[name][1]), answers, f"{path}::{function}[{name}]", told)


def is_there(test: str) -> bool:
    """Whether the file of a test has a function of that name. That a parameter is one of its cases, `proof` has seen to."""
    path, _, function = test.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8")) if (ROOT / path).is_file() else ast.Module([], [])
    return function.partition("[")[0] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


_HEAD = """# Options by backend

Made from the tests by `make pages`; do not edit. For each setting and option what a backend makes of it when it is asked for,
and the test that shows it: the real command runs a tiny real job twice, with two values, and the difference is seen in what the
job did or left. The tests run with every backend (`pytest --backend NAME`); a setting without such a test fails them. The answers
are those of the backends' plans, which a test compares with this page.

*applied*: done as asked. *adjusted*: done otherwise, and the run says how and why. *unsupported*: an error, unless
`--allow-unsupported` continues without it. *refused*: an error; nothing is run.
"""


def page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    for verb in VERBS:
        rows = [_row(verb, name) for name in dict.fromkeys(name for backend in BACKENDS for name in names(verb, backend))]
        parts.append(f"## {verb}\n\n{markdown_table(['setting', *BACKENDS, 'notes', 'proof'], rows)}")
    rows = [
        [f"`{name} = {value}`", *("refused" for _ in BACKENDS), why, _link(f"{REFUSALS}[{name}-{value}]")]
        for name, values in REFUSED.items()
        for value, why in values.items()
    ]
    parts.append(f"## Values that are refused\n\n{markdown_table(['value', *BACKENDS, 'notes', 'proof'], rows)}")
    return "\n".join(parts)


def _row(verb: str, name: str) -> list[str]:
    found = {backend: proof(verb, name, backend) for backend in BACKENDS if name in names(verb, backend)}
    cells = [" or ".join(one.answers) if (one := found.get(backend)) else "–" for backend in BACKENDS]
    notes = {backend: one.note for backend, one in found.items() if one and one.note}
    tests = {backend: one.test for backend, one in found.items() if one}
    return [f"`{name}`", *cells, _merged(notes), _merged({backend: _link(test) for backend, test in tests.items()})]


def _merged(told: dict[str, str]) -> str:
    """One text where all backends have the same, else each with its backend."""
    if len(set(told.values())) == 1 and len(told) != 1:
        return next(iter(told.values()))
    return "; ".join(f"{backend}: {text}" for backend, text in told.items())


def _link(test: str) -> str:
    path, _, function = test.partition("::")
    return f"[`{function}`](../{path})"


if __name__ == "__main__":
    sys.stdout.write(page())
