import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_core.compatibility.translation import FileAndDefaults
from ptycho_core.contract import BackendSpec, OptionSpec
from ptycho_core.errors import SettingsError
from ptycho_core.settings.data import DataSettings
from ptycho_core.settings.execution import ExecutionSettings
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.reconstruction import ReconstructionSettings
from ptycho_core.settings.resolution import REQUESTING, Facts, resolve
from ptycho_core.settings.rules import check_together
from ptycho_core.settings.sources import ORIGINS, SettingsFile, Typed

SPEC = BackendSpec(
    "acme",
    "Acme",
    (2, 0),
    None,
    ("reconstruct",),
    precisions=("float64", "bf16-mixed"),
    options=(OptionSpec("compile", "bool", False, "translate"), OptionSpec("streams", "int", 2, "copies", minimum=1, maximum=8)),
)
DECLARED = declarations("reconstruct")
VERBS = ("train", "infer", "reconstruct", "evaluate")
TEXTS = st.sampled_from(["a", "scan.npz", "two words", "Größe/probe.h5"])


def values_of(one):
    """Values that a declaration allows."""
    if one.choices:
        found = st.sampled_from(one.choices)
    elif one.kind == "bool":
        found = st.booleans()
    elif one.kind == "int":
        step, low = one.multiple or 1, int(max(one.minimum or 0, one.multiple or 0))
        high = int(min(one.maximum if one.maximum is not None else 40 * step, 40 * step))
        found = st.integers(-(-low // step), max(high // step, -(-low // step))).map(lambda number: number * step)
    elif one.kind == "float":
        low, high = one.minimum if one.minimum is not None else one.above or 0.0, one.maximum or one.below or 9.0
        bounds = {"exclude_min": one.above is not None, "exclude_max": one.below is not None}
        found = st.floats(low, min(high, 1e6), allow_subnormal=False, **bounds)
    else:
        found = TEXTS
    return st.one_of(st.none(), found) if one.optional else found


@st.composite
def sources_of(draw):
    """A verb, and for each source some of its settings with values: among few settings, so that sources meet."""
    verb = draw(st.sampled_from(VERBS))
    declared = declarations(verb)
    chosen = draw(st.lists(st.sampled_from(sorted(declared)), min_size=1, max_size=5, unique=True))
    some = {origin: {} for origin in ORIGINS[:7]}
    for origin, values in some.items():
        for name in chosen:
            if (origin != "execution object" or declared[name].group == "execution") and draw(st.booleans()):
                values[name] = draw(values_of(declared[name]))
    return verb, some


def toml(verb, values):
    """A settings file with these values, by group, and the line of each."""
    declared, lines, places = declarations(verb), [], {}
    for group in dict.fromkeys(one.group for one in declared.values()):
        lines.append(f"[{group}]")
        for name, value in values.items():
            if declared[name].group == group:
                word = declared[name].show(value)
                lines.append(f'{name} = "{word}"' if isinstance(value, str) or value is None else f"{name} = {word}")
                places[name] = len(lines)
    return "\n".join(lines) + "\n", places


def write(folder, text):
    path = folder / "run.toml"
    path.write_text(text, "utf-8")
    return path


def refusal(*parts, **sources):
    with pytest.raises(SettingsError) as caught:
        resolve("reconstruct", **sources)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.exit_status == 2
    return str(caught.value)


class FileAndDefaultsOfAnother(NamedTuple):
    """A settings our file, and what ranks as another program's defaults."""

    path: Path
    defaults: dict

    def given(self, verb):
        return [*SettingsFile(self.path).settings(verb), *FileAndDefaults({}, self.defaults).given(verb)]


@settings(max_examples=300, deadline=None)
@given(drawn=sources_of())
def test_the_highest_source_wins_and_every_loser_is_listed(tmp_path_factory, drawn):
    verb, some = drawn
    declared = declarations(verb)
    text, places = toml(verb, some["file"])
    path = write(tmp_path_factory.mktemp("file"), text)
    resolved = resolve(
        verb,
        overrides=some["override"],
        execution=some["execution object"],
        environment={declared[name].variable: declared[name].show(value) for name, value in some["environment"].items()},
        file=FileAndDefaultsOfAnother(
            path, {name: Typed(declared[name].show(value), f"there: {name}") for name, value in some["command default"].items()}
        ),
        facts=Facts(
            {name: (value, f"scan: '{name}'") for name, value in some["data"].items()},
            {name: (value, f"model: '{name}'") for name, value in some["model"].items()},
        ),
        spec=SPEC,
    )
    where = {
        "override": lambda name: f"override '{name}'",
        "execution object": lambda name: f"execution object '{name}'",
        "environment": lambda name: declared[name].variable,
        "file": lambda name: f"{path}, line {places[name]}: [{declared[name].group}] {name}",
        "model": lambda name: f"model: '{name}'",
        "data": lambda name: f"scan: '{name}'",
        "command default": lambda name: f"there: {name}",
        "backend default": lambda _: "manifest of 'acme'",
        "core default": lambda _: "declaration",
    }
    some["backend default"] = {"precision": "float64"}
    some["core default"] = {name: one.default for name, one in declared.items()}
    assert set(resolved.values) == set(declared)
    for name, found in resolved.values.items():
        expected = [(some[origin][name], origin, where[origin](name)) for origin in ORIGINS if name in some[origin]]
        assert [(one.value, one.origin, one.where) for one in (found, *found.losers)] == expected
        assert (name in resolved.requested) == (expected[0][1] in REQUESTING)
    json.dumps(resolved.as_dict())


@pytest.mark.parametrize("chosen", range(16))
def test_the_five_levels_of_ptychopinn_are_a_special_case(chosen):
    # What a command line has by default counts only where the job is run in its words: test_what_is_not_typed_leaves_no_trace.
    command = FileAndDefaults({}, {"precision": Typed("float32", "the command's default")})
    levels = {
        "override": ("overrides", {"precision": "bf16-mixed"}, "bf16-mixed"),
        "execution object": ("execution", {"precision": "fp16-mixed"}, "fp16-mixed"),
        "command default": ("file", command, "float32"),
        "backend default": ("spec", SPEC, "float64"),
    }
    taken = {origin: level for bit, (origin, level) in enumerate(levels.items()) if chosen >> bit & 1}
    found = resolve("reconstruct", **{name: given for name, given, _ in taken.values()}).values["precision"]
    expected = [(value, origin) for origin, (_, _, value) in taken.items()] + [("float32", "core default")]
    assert [(one.value, one.origin) for one in (found, *found.losers)] == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_options_of_the_backend_follow_the_same_order(tmp_path_factory, data):
    given_by = {origin: data.draw(st.one_of(st.none(), st.integers(1, 8))) for origin in ("override", "environment", "file")}
    path = write(tmp_path_factory.mktemp("file"), f"[backend.acme]\nstreams = {given_by['file']}\n" if given_by["file"] else "")
    resolved = resolve(
        "reconstruct",
        overrides={"acme.streams": given_by["override"]} if given_by["override"] else {},
        environment={"PTYCHO_OPT_ACME_STREAMS": str(given_by["environment"])} if given_by["environment"] else {},
        file=path,
        spec=SPEC,
    )
    found = resolved.options["acme.streams"]
    expected = [(value, origin) for origin, value in given_by.items() if value] + [(2, "backend default")]
    assert [(one.value, one.origin) for one in (found, *found.losers)] == expected
    assert ("acme.streams" in resolved.requested) == (len(expected) > 1)
    assert resolved.options["acme.compile"].origin == "backend default"


def test_without_any_source_nothing_is_requested():
    resolved = resolve("reconstruct", spec=SPEC)
    assert resolved.requested == frozenset()
    assert {one.origin for one in resolved.values.values()} == {"core default", "backend default"}


def test_a_default_asked_for_by_name_is_a_request():
    assert resolve("reconstruct", overrides={"seed": 0}).requested == {"seed"}
    assert resolve("reconstruct", execution={"seed": 0}).requested == {"seed"}


def test_an_execution_object_asks_for_what_differs_from_the_defaults():
    resolved = resolve("reconstruct", execution=ExecutionSettings(seed=4), environment={"PTYCHO_PRECISION": "float64"})
    assert resolved.requested == {"seed", "precision"}
    assert resolved.values["precision"].value == "float64"


def test_groups_are_the_plain_values():
    groups = resolve("reconstruct", overrides={"modes": 3, "signal": "counts", "accelerator": "gpu"}).groups()
    assert groups["reconstruction"] == vars(ReconstructionSettings(modes=3))
    assert groups["data"] == vars(DataSettings(signal="counts"))
    assert groups["execution"].items() <= vars(ExecutionSettings(accelerator="cuda")).items()


def test_a_losing_value_is_checked_too():
    refusal("PTYCHO_MODES", "modes", overrides={"modes": 2}, environment={"PTYCHO_MODES": "0"})


@pytest.mark.parametrize("name", ["modse", "Modes", "wavelength", ""])
def test_an_unknown_override_is_refused_with_its_name(name):
    refusal(f"override '{name}'", "modes", overrides={name: 2})


def test_an_unknown_override_gets_the_nearest_name():
    refusal("Did you mean 'refine_positions'?", overrides={"refine_position": True})


def test_an_execution_object_takes_execution_settings_only():
    refusal("execution object 'modes'", "seed", execution={"modes": 2})
    refusal("execution object 'sede'", "Did you mean 'seed'?", execution={"sede": 2})
    refusal("execution object 'seed'", execution={"seed": True})


@pytest.mark.parametrize(
    ("variable", "nearest"), [("PTYCHO_SEDE", "PTYCHO_SEED"), ("PTYCHO_BACKENDS_BLOK", "PTYCHO_BACKENDS_BLOCK")]
)
def test_an_unknown_variable_is_refused_with_the_nearest(variable, nearest):
    refusal(variable, f"Did you mean '{nearest}'?", environment={variable: "1"})


@pytest.mark.parametrize(
    ("variable", "text"), [("PTYCHO_SEED", "-1"), ("PTYCHO_SEED", "1.0"), ("PTYCHO_PROGRESS", "yes"), ("PTYCHO_MASK", ""),
                           ("PTYCHO_HELD_OUT", "nan"), ("PTYCHO_ACCELERATOR", "cudda"), ("PTYCHO_OPT_ACME_STREAMS", "9"),
                           ("PTYCHO_OPT_ACME_STREMS", "1")]
)  # fmt: skip
def test_a_bad_variable_is_refused_by_its_name(variable, text):
    refusal(variable, environment={variable: text}, spec=SPEC)


def test_variables_that_are_no_settings_or_anothers_are_left_alone():
    others = {
        "PTYCHO_BACKENDS_ALLOW": "x",
        "PTYCHO_BACKENDS_BLOCK": "x",
        "PTYCHO_OPT_OTHER_THING": "?",
        "PTYCHOLOGY": "1",
        "HOME": "/",
    }
    assert not resolve("reconstruct", environment=others, spec=SPEC).requested
    assert not resolve("train", environment={"PTYCHO_ITERATIONS": "2"}).requested


def test_a_variable_of_another_verb_is_still_checked():
    with pytest.raises(SettingsError, match="PTYCHO_ITERATIONS"):
        resolve("train", environment={"PTYCHO_ITERATIONS": "two"})


def test_a_variable_serves_whichever_verb_runs_by_that_verbs_declaration():
    assert resolve("train", environment={"PTYCHO_EPOCHS": "7"}).values["epochs"].value == 7
    assert resolve("reconstruct", environment={"PTYCHO_EPOCHS": "auto"}).values["epochs"].value is None
    refused = {"train": "0", "reconstruct": "-1"}  # a reconstruction may go without epochs, a training may not
    for verb, text in refused.items():
        with pytest.raises(SettingsError, match="PTYCHO_EPOCHS"):
            resolve(verb, environment={"PTYCHO_EPOCHS": text})
    assert resolve("reconstruct", environment={"PTYCHO_EPOCHS": "0"}).values["epochs"].value == 0


def test_a_variable_of_several_other_verbs_must_be_right_for_one_of_them():
    assert not resolve("infer", environment={"PTYCHO_EPOCHS": "0"}).requested
    with pytest.raises(SettingsError, match="PTYCHO_EPOCHS"):
        resolve("infer", environment={"PTYCHO_EPOCHS": "many"})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[reconstruction]\nmodes = 0\n", ["line 2: [reconstruction] modes", "at least 1"]),
        ("[reconstruction]\n\n# two\nmodes = 2.0\n", ["line 4", "whole number"]),
        ("[reconstruction]\nmodes = true\n", ["line 2", "whole number"]),
        ("[data]\nsignal = 3\n", ["line 2: [data] signal"]),
        ("[reconstruction]\nheld_out = nan\n", ["line 2", "finite"]),
        ("[reconstruction]\nheld_out = inf\n", ["line 2", "finite"]),
        ("[reconstruction]\nrefine_probe = 1\n", ["line 2", "true or false"]),
        ("[reconstruction]\nmodse = 2\n", ["line 2", "Did you mean 'modes'?"]),
        ("[execution]\nmodes = 2\n", ["line 2: [execution] modes"]),
        ("[exection]\nseed = 2\n", ["'exection'", "Did you mean 'execution'?"]),
        ("seed = 2\n", ["'seed' is no table"]),
        ("[backend.acme]\nstreams = 9\n", ["line 2: [backend.acme] streams", "at most 8"]),
        ("[backend.acme]\nstrems = 2\n", ["Did you mean 'acme.streams'?"]),
        ("[backend]\nacme = 3\n", ["[backend] acme", "[backend.NAME]"]),
        ("[data\n", ["is not TOML"]),
        ("[data]\nsignal = 'auto'\nsignal = 'counts'\n", ["is not TOML"]),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_key(tmp_path, text, parts):
    path = write(tmp_path, text)
    refusal(str(path), *parts, file=path, spec=SPEC)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    refusal("none.toml", "cannot be read", file=tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    refusal("bytes.toml", "is not TOML", file=tmp_path / "bytes.toml")


def test_a_line_is_not_named_where_it_could_be_wrong(tmp_path):
    path = write(tmp_path, "[data]\nmask = '''\n[reconstruction]\nmodes = 1'''\n[reconstruction]\nmodes = 0\n")
    assert "line" not in refusal("[reconstruction] modes", file=path).partition(str(path))[2]


def test_one_file_serves_many_verbs_and_backends(tmp_path):
    path = write(
        tmp_path, "[reconstruction]\nmodes = 2\n[execution]\nseed = 3\n[backend.other]\nfoo = 1\n[backend.acme]\nstreams = 4\n"
    )
    assert resolve("train", file=path).requested == {"seed"}
    assert resolve("infer", file=path).requested == {"seed"}
    assert resolve("reconstruct", file=path, spec=SPEC).requested == {"modes", "seed", "acme.streams"}


def test_in_a_file_auto_and_none_stand_for_no_value(tmp_path):
    path = write(tmp_path, '[data]\nmask = "none"\n[execution]\nthreads = "auto"\n')
    resolved = resolve("reconstruct", file=path, environment={"PTYCHO_THREADS": "auto"})
    assert (resolved.values["mask"].value, resolved.values["threads"].value) == (None, None)
    assert {"mask", "threads"} <= resolved.requested


def test_options_are_checked_against_the_manifest():
    refusal("override 'acme.streams'", "at most 8", overrides={"acme.streams": 9}, spec=SPEC)
    refusal("true or false", overrides={"acme.compile": "true"}, spec=SPEC)
    refusal("no option 'acme.compil'", "Did you mean 'acme.compile'?", overrides={"acme.compil": True}, spec=SPEC)
    refusal("--opt acme.compile=maybe", overrides={"acme.compile": Typed("maybe", "--opt acme.compile=maybe")}, spec=SPEC)


def test_an_option_of_other_verbs_is_refused_where_it_is_asked_for_and_waits_in_a_file_or_a_variable(tmp_path):
    one = replace(SPEC.options[1], verbs=("train",))
    spec = replace(SPEC, capabilities=("train", "reconstruct"), options=(SPEC.options[0], one))
    refusal("acts in train only, not in reconstruct", "'acme.streams'", overrides={"acme.streams": 3}, spec=spec)
    path = tmp_path / "settings.toml"
    path.write_text("[backend.acme]\nstreams = 3\n")
    given = {"file": path, "environment": {"PTYCHO_OPT_ACME_STREAMS": "4"}}
    assert set(resolve("reconstruct", spec=spec, **given).options) == {"acme.compile"}
    found = resolve("train", spec=spec, **given).options["acme.streams"]
    assert (found.value, found.origin) == (4, "environment")
    refusal("acme.streams", environment={"PTYCHO_OPT_ACME_STREAMS": "99"}, spec=spec)


def test_an_option_of_another_backend_names_both():
    refusal("'other'", "'acme'", overrides={"other.compile": True}, spec=SPEC)


def test_an_alias_of_the_backend_may_be_used_for_its_options(tmp_path):
    # The aliases of the data file of known names; the option is this test's own.
    spec = BackendSpec(
        "tensorflow", "T", (2, 0), None, ("reconstruct",), options=(OptionSpec("jit", "bool", False, "translate"),)
    )
    assert resolve("reconstruct", overrides={"tf.jit": True}, spec=spec).options["tensorflow.jit"].value is True
    path = write(tmp_path, "[backend.tf]\njit = true\n")
    assert resolve("reconstruct", file=path, spec=spec).options["tensorflow.jit"].origin == "file"
    refusal("twice", overrides={"tf.jit": True, "tensorflow.jit": False}, spec=spec)
    refusal("twice", file=write(tmp_path, "[backend.tf]\njit = true\n[backend.tensorflow]\njit = true\n"), spec=spec)


def test_a_backend_without_the_default_precision_has_the_first_of_its_own():
    found = resolve("reconstruct", spec=SPEC)
    assert (found.values["precision"].value, found.values["precision"].origin) == ("float64", "backend default")
    assert "precision" not in found.requested
    assert resolve("reconstruct", overrides={"precision": "float32"}, spec=SPEC).values["precision"].value == "float32"


def sealed(seed):
    return Facts(model={"seed": (seed, "model.ptycho: seed")}, sealed=frozenset({"seed"}))


@pytest.mark.parametrize("source", ["overrides", "environment", "file", "execution"])
def test_a_sealed_fact_cannot_be_changed_by_any_source(tmp_path, source):
    sources = {
        "overrides": {"seed": 2},
        "execution": {"seed": 2},
        "environment": {"PTYCHO_SEED": "2"},
        "file": write(tmp_path, "[execution]\nseed = 2\n"),
    }
    message = refusal("model.ptycho: seed", **{source: sources[source]}, facts=sealed(1))
    assert "seed = 2" in message
    same = resolve("reconstruct", **{source: sources[source]}, facts=sealed(2))
    assert same.values["seed"].value == 2


def test_an_unsealed_fact_is_overruled_and_listed():
    found = resolve("reconstruct", overrides={"seed": 2}, facts=Facts(model={"seed": (1, "model")})).values["seed"]
    assert [(one.value, one.origin) for one in found.losers] == [(1, "model"), (0, "core default")]


def test_what_a_model_states_beyond_the_settings_of_a_verb_is_passed_over():
    found = resolve("reconstruct", facts=Facts(model={"size": (64, "model"), "acme.streams": (3, "model")}))
    assert set(found.values) == set(DECLARED)
    assert not found.options
    assert resolve("reconstruct", facts=Facts(model={"acme.streams": (3, "model")}), spec=SPEC).options["acme.streams"].value == 3


def test_energy_distance_and_pixel_size_are_asked_for_together_or_known_from_the_data():
    facts = Facts({"photon_energy_ev": (8000.0, "scan"), "detector_distance_m": (2.0, "scan")})
    pixel = {"detector_pixel_size_m": 75e-6}
    with pytest.raises(SettingsError, match=r"override .detector_pixel_size_m..*photon_energy_ev and detector_distance_m"):
        check_together(resolve("reconstruct", overrides=pixel))
    check_together(resolve("reconstruct", overrides=pixel, facts=facts))
    check_together(resolve("reconstruct", facts=facts))
    check_together(resolve("evaluate"))


def test_the_origins_that_mean_a_request_are_the_highest():
    assert ORIGINS[: len(REQUESTING)] == REQUESTING
