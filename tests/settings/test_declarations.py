import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.contract import VERBS, OptionSpec
from ptycho_core.errors import SettingsError
from ptycho_core.settings import declare
from ptycho_core.settings.declare import declarations_of, option_declaration
from ptycho_core.settings.groups import GROUPS, declarations
from ptycho_core.settings.resolution import REQUESTING
from ptycho_core.settings.sources import NOT_SETTINGS, ORIGINS

ROOT = Path(__file__).parents[2]
EVERY = [one for group in GROUPS for one in declarations_of(group)]
ALL = {one.name: one for one in EVERY}
MODES = declarations("reconstruct")["modes"]


def refused(one, value, *, text=False):
    with pytest.raises(SettingsError) as caught:
        one.parse(value, "the source") if text else one.check(value, "the source")
    assert "the source" in str(caught.value)
    assert caught.value.source == "the source"
    assert one.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("verb", VERBS)
def test_names_and_flags_are_unique_among_those_of_a_verb(verb):
    mine = [one for one in EVERY if verb in one.verbs]
    names = [one.name for one in mine]
    assert len(names) == len(set(names)) >= 7
    flags = [flag for one in mine for flag in (one.flag, *one.flags)]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("one", EVERY, ids=lambda one: f"{one.group}.{one.name}")
def test_every_setting_is_fit_to_be_used(one):
    assert one.check(one.default, "declaration") == one.default
    assert one.parse(one.show(one.default), "text") == one.default
    assert len(one.help) > 20
    assert one.verbs
    assert set(one.verbs) <= set(VERBS) == set(declare.VERBS)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: f"{one.group}.{one.name}")
def test_a_refusal_is_one_sentence_and_perhaps_a_guess(one):
    for value in ("@", [1], *(word + "x" for word in one.choices)):
        if one.kind in ("str", "path") and not one.choices and value == "@":
            continue
        told = refused(one, value)
        assert re.search(r"[^.?]\.( Did you mean '[^']+'\?)?$", told), told
        assert ".." not in told, told


@pytest.mark.parametrize("value", [True, 1.5, "2", None, [1], math.nan, 0, 65, 10**400])
def test_a_whole_number_is_nothing_else(value):
    refused(MODES, value)


@pytest.mark.parametrize("value", [True, "0.1", [0.1], math.nan, math.inf, -math.inf, -0.1, 0.51, 10**400])
def test_a_fraction_is_finite_and_in_range(value):
    refused(ALL["held_out"], value)


@pytest.mark.parametrize("value", [1, 0, "true", None, 1.0])
def test_a_truth_is_no_number_and_no_text(value):
    refused(ALL["refine_probe"], value)


@pytest.mark.parametrize("value", ["", 3, True, b"file"])
def test_a_path_is_text_or_a_path(value):
    refused(ALL["mask"], value)


@pytest.mark.parametrize("text", ["1.0", "1e3", " 2", "2 ", "1_0", "٣", "0x10", "", "9" * 5000])
def test_a_text_for_a_whole_number_is_plain_decimal(text):
    refused(MODES, text, text=True)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1_0.0", "0,1", "1e999", "", "0.1 ", "0x1p3"])
def test_a_text_for_a_fraction_is_plain_decimal_and_finite(text):
    refused(ALL["object_alpha"], text, text=True)


@pytest.mark.parametrize("text", ["yes", "on", "2", "", "t", "auto", " true"])
def test_a_text_for_a_truth_is_one_of_four(text):
    refused(ALL["progress"], text, text=True)


def test_texts_that_are_right_become_values():
    assert MODES.parse("3", "x") == 3
    assert ALL["object_alpha"].parse("5e-2", "x") == 0.05
    assert [ALL["progress"].parse(text, "x") for text in ("true", "False", "1", "0")] == [True, False, True, False]
    assert ALL["threads"].parse("auto", "x") is None
    assert ALL["mask"].parse("none", "x") is None
    assert ALL["accelerator"].parse("gpu", "x") == "cuda"


def test_truths_mean_two_of_three_words():
    deterministic = ALL["deterministic"]
    assert [deterministic.check(value, "x") for value in (True, False, 1, 0, "strict")] == ["on", "off", "on", "off", "strict"]
    texts = ("true", "FALSE", "1", "0", "on", "off", "strict")
    assert [deterministic.parse(text, "x") for text in texts] == ["on", "off", "on", "off", "on", "off", "strict"]
    for wrong in (2, -1, 0.5, "yes", None):
        refused(deterministic, wrong)


def test_numbers_of_numpy_and_paths_are_taken_as_plain_values():
    assert type(MODES.check(np.int64(2), "x")) is int
    assert type(ALL["held_out"].check(np.float32(0.25), "x")) is float
    assert type(ALL["held_out"].check(0, "x")) is float
    assert ALL["mask"].check(Path("a") / "b.npy", "x") == str(Path("a") / "b.npy")


def test_a_bound_that_excludes_itself_is_refused():
    assert "above 0" in refused(ALL["photon_energy_ev"], 0.0)
    assert ALL["photon_energy_ev"].check(1e-9, "x") == 1e-9


@pytest.mark.parametrize(("name", "wrong", "right"), [("momentum", 1.0, 0.999), ("network_width", 30, 28)])
def test_a_bound_not_to_reach_and_a_multiple_are_kept_and_told(name, wrong, right):
    assert {"momentum": "below 1", "network_width": "a multiple of 4"}[name] in refused(ALL[name], wrong)
    assert ALL[name].check(right, "x") == right


def test_a_wrong_word_gets_the_nearest_one_and_all():
    message = refused(ALL["likelihood"], "poison")
    assert "Did you mean 'poisson'?" in message
    assert "auto, amplitude, poisson" in message


def test_the_largest_seed_is_written_out():
    assert "4294967295" in refused(ALL["seed"], 2**32)


def test_an_option_of_a_backend_is_checked_as_a_setting_is():
    one = option_declaration("acme", OptionSpec("streams", "int", 2, "copies in flight", minimum=1, maximum=8))
    assert one.check(8, "x") == 8
    assert "acme.streams" in refused(one, 9)
    free = option_declaration("acme", OptionSpec("limit", "float", None, "no limit by default"))
    assert free.parse("none", "x") is None


def test_the_specification_names_the_groups_origins_and_variables_of_the_code():
    text = (ROOT / "specs" / "options.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \| [a-z ,]+ \|$", text, re.MULTILINE) == [group.GROUP for group in GROUPS]
    ranks = re.findall(r"^\| (\d) \| `([\w ]+)` \| .* \| (yes|no) \|$", text, re.MULTILINE)
    assert [name for _, name, _ in ranks] == list(ORIGINS)
    assert [number for number, _, _ in ranks] == [str(rank) for rank in range(1, len(ORIGINS) + 1)]
    assert tuple(name for _, name, asked in ranks if asked == "yes") == REQUESTING
    assert all(f"`{name}`" in text for name in NOT_SETTINGS)
    for one in ALL.values():
        assert one.variable == "PTYCHO_" + one.name.upper()
        assert one.flag == "--" + one.name.replace("_", "-")


def test_a_verb_takes_only_its_settings():
    assert declarations("reconstruct")["modes"].group == "reconstruction"
    assert declarations("train")["modes"].group == "model"
    assert "iterations" not in declarations("train")
    assert "signal" not in declarations("evaluate")
    assert "precision" in declarations("evaluate")


def test_declarations_load_nothing_heavy():
    code = "import sys, ptycho_core.cli.options; print([n for n in ('numpy', 'tomllib', 'pluggy', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
