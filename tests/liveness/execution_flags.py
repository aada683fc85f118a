"""The execution flags of a verb on the real command line: into the payload, into the records of the run, into the run.

The tests are the same for each backend; ``tests/torch`` and ``tests/tensorflow`` run them. Flags, words and answers come from the
declarations and from ``liveness_table``, so that a new flag is among them without a line here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import liveness_table as table
import pytest

from ptycho_core.cli.main import _parser, main
from ptycho_core.cli.options import collect
from ptycho_core.model import load_model, read_model_manifest
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.payload import create_inference_payload, create_training_payload

SMALL = {"train": ["--epochs", "1", "--network-width", "4", "--update-steps", "2", "--batch-size", "12"], "infer": []}

INSTEAD = {
    "deterministic": ["--no-deterministic"],
    "num_workers": ["--num-workers", "2"],
    "prefetch": ["--prefetch", "1"],
    "inference_batch_size": ["--inference-batch-size", "3"],
    "checkpoint_save_top_k": ["--checkpoint-save-top-k", "2"],
    "checkpoint_monitor": ["--checkpoint-monitor", "loss"],
    "checkpoint_mode": ["--checkpoint-mode", "max"],
    "early_stop_patience": ["--early-stop-patience", "1"],
    "log_every": ["--log-every", "2"],
}
"""Words for a run with others. ``strict`` would hold for every later job of a process of TensorFlow."""

ALONE = ("pin_memory", "enable_checkpointing", "logger")
"""Flags that have their own run: what they turn off, others are seen by. All others are given to one run together."""


@dataclass
class Run:
    """What a run of the real command left."""

    words: list[str]
    folder: Path
    planned: dict[str, Any]
    kept: dict[str, Any]
    metrics: dict[str, Any]
    stderr: str

    @property
    def fact(self) -> dict[str, Any]:
        return self.metrics["facts"]

    def effective(self, name: str) -> Any:
        return self.kept["settings"][name]["effective"]

    @property
    def dtypes(self) -> set[str]:
        arrays = load_model(self.folder / "last.ptycho", training=True).training.arrays
        return {str(array.dtype) for name, array in arrays.items() if name.startswith("exact.")}


SEEN = {
    "train": {
        "backend": lambda run: run.kept["backend"]["chosen_by"] == "named",
        "accelerator": lambda run: run.fact["device"] == "cpu" and not any("auto" in note for note in run.kept["notes"]),
        "precision": lambda run: run.dtypes == {"float64"},
        "threads": lambda run: run.fact["threads"] == run.effective("threads"),
        "figures": lambda run: not list(run.folder.glob("*.png")),
        "progress": lambda run: run.stderr == "",
    },
    "infer": {
        "backend": lambda run: run.kept["backend"]["chosen_by"] == "named",
        "accelerator": lambda run: run.kept["device"] == "cpu" and not any("auto" in note for note in run.kept["notes"]),
        "figures": lambda run: not list(run.folder.glob("*.png")),
        "progress": lambda run: run.stderr == "",
    },
}
"""What is seen of a flag in the run that it was given to with others; what it changes next to another value, its proof shows."""


@pytest.mark.usefixtures("undrawn")
class ExecutionFlags:
    """Subclass it for a verb and a backend."""

    verb: str
    name: str

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test for each execution setting of the verb."""
        if "flag" in metafunc.fixturenames:
            every = [name for name, one in declarations(metafunc.cls.verb).items() if one.group == "execution"]
            metafunc.parametrize("flag", every)

    @pytest.fixture(scope="class")
    @classmethod
    def state(cls, tmp_path_factory):
        """A scan, a trained model where the verb takes one, and the runs so far."""
        folder = tmp_path_factory.mktemp("flags")
        assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "36", "--seed", "8"]) == 0
        assert main(["simulate", str(folder / "long.npz"), "--size", "32", "--frames", "40", "--seed", "9"]) == 0
        words = ["--backend", cls.name, *SMALL["train"], "--quiet"]
        assert cls.verb == "train" or not main(["train", str(folder / "scan.npz"), "-o", str(folder / "run"), *words])
        return SimpleNamespace(folder=folder, runs={})

    @pytest.fixture
    def asked(self, state):
        """The words that ask for a flag, as its proof has them."""

        def asked(flag, *, to_run=False):
            proof = table.proof(self.verb, flag, self.name)
            alias = table.module(table.CASES[self.verb][0]).ALIASES[self.name]
            words = INSTEAD.get(flag, proof.words) if to_run else proof.words
            allowed = ["--allow-unsupported"] if "unsupported" in proof.answers else []
            return proof, [*(word.format(folder=state.folder, alias=alias) for word in words), *allowed]

        return asked

    def line(self, state, words, out):
        """A whole command line."""
        model = ["--model", str(state.folder / "run")] if self.verb == "infer" else []
        named = [] if any(word.startswith("--backend") for word in words) else ["--backend", self.name]
        given = [
            word for flag, value in zip(*[iter(SMALL[self.verb])] * 2, strict=True) if flag not in words for word in (flag, value)
        ]
        common = ["-o", str(out), *model, *named, *given]
        return [self.verb, *common, str(state.folder / "scan.npz"), *words]  # words may begin with a second scan

    def payload(self, state, words):
        """The payload that the command makes of a command line."""
        args = _parser(words).parse_args(words)
        given = collect(args, self.verb)
        rest = {"config_file": given.config, "environment": {}, "allow_unsupported": args.allow_unsupported}
        if self.verb == "train":
            return create_training_payload(args.scans, args.output_dir, given.overrides, validation=args.validation, **rest)
        return create_inference_payload(args.model, args.scan, args.output_dir, given.overrides, **rest)

    @pytest.fixture
    def run_with(self, state, asked, capsys):
        """The run that was given a flag, alone or together with others; each is run once."""

        def run_with(flag):
            execution = [name for name, one in declarations(self.verb).items() if one.group == "execution"]
            together = [flag] if flag in ALONE else [name for name in execution if name not in ALONE]
            key = tuple(together)
            if key not in state.runs:
                words = [word for name in together for word in asked(name, to_run=True)[1]]
                state.runs[key] = self.run(state, words, capsys)
            return state.runs[key]

        return run_with

    def run(self, state, words, capsys):
        out = state.folder / f"out{len(state.runs)}" / "of" / "run"
        line = self.line(state, words, out)
        capsys.readouterr()
        assert main([*line, "--dry-run", "--json"]) == 0, capsys.readouterr().err
        planned = json.loads(capsys.readouterr().out)
        assert not out.parent.parent.exists()
        assert main(line) == 0, capsys.readouterr().err
        assert {path.name + "/" * path.is_dir() for path in out.iterdir()} == set(planned["writes"])
        kept, metrics = (json.loads((out / name).read_text()) for name in ("settings.json", "metrics.json"))
        return Run(line, out, planned, kept, metrics, capsys.readouterr().err)

    def test_a_flag_arrives_in_the_payload(self, flag, state, asked):
        proof, words = asked(flag)
        payload = self.payload(state, self.line(state, words, state.folder / "none"))
        entry = payload.audit["settings"][flag]
        assert (entry["origin"], entry["requested"]) == ("override", True)
        assert entry["where"].split()[0].partition("=")[0] in declarations(self.verb)[flag].every_flag
        assert flag in payload.resolved.requested
        assert payload.plan.dispositions[flag].kind == entry["disposition"]["kind"]
        assert entry["disposition"]["kind"] in proof.answers
        assert payload.plan.execution[flag] == payload.groups["execution"][flag]
        if flag != "backend":
            assert payload.groups["execution"][flag] == entry["effective"]
        if entry["disposition"]["kind"] == "applied" and flag != "backend":
            assert entry["effective"] == entry["value"]
        assert not (state.folder / "none").exists()

    def test_a_flag_arrives_in_the_run_and_its_records(self, flag, run_with):
        run = run_with(flag)
        planned, kept = (one["settings"][flag] for one in (run.planned, run.kept))
        assert kept == planned
        assert kept["requested"]
        if self.verb == "train":
            for model in run.folder.glob("*.ptycho"):
                assert read_model_manifest(model)["settings"]["settings"][flag] == kept
        if flag in SEEN[self.verb]:
            assert SEEN[self.verb][flag](run), f"{flag} is not seen in the run"

    def test_a_flag_that_is_not_given_has_its_default_and_is_no_request(self, flag, state):
        payload = self.payload(state, self.line(state, [], state.folder / "none"))
        entry = payload.audit["settings"][flag]
        if flag == "backend":
            assert (entry["value"], entry["requested"]) == (self.name, True)
            return
        assert (entry["requested"], entry["disposition"]) == (False, None)
        if entry["origin"] == "core default":
            assert entry["value"] == declarations(self.verb)[flag].default
        else:
            assert (self.verb, flag, entry["origin"]) == ("infer", "inference_batch_size", "model")
            assert entry["where"].endswith("best.ptycho: batch_size of its training")

    def test_a_flag_joined_to_its_value_is_the_same(self, flag, state, asked):
        _, words = asked(flag)
        place = next((k for k, word in enumerate(words) if word in declarations(self.verb)[flag].every_flag), None)
        assert place is not None
        if place + 1 < len(words) and not words[place + 1].startswith("--"):
            words[place : place + 2] = [f"{words[place]}={words[place + 1]}"]
        joined, apart = (
            self.payload(state, self.line(state, one, state.folder / "none")).resolved for one in (words, asked(flag)[1])
        )
        assert flag in joined.requested
        assert joined.values[flag].value == apart.values[flag].value

    def test_a_wrong_value_names_the_flag_and_makes_nothing(self, flag, state, capsys):
        one = declarations(self.verb)[flag]
        wrong = [one.flag, f"--no-{one.flag[2:]}"] if one.kind == "bool" else [f"{one.flag}=no such value"]
        assert main(self.line(state, wrong, state.folder / "none")) == 2
        assert one.flag in capsys.readouterr().err
        assert not (state.folder / "none").exists()
