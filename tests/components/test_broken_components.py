"""What is wrong with a component is reported where it is asked for, and nothing else suffers from it."""

import argparse
import json

import pytest

from ptycho_core.cli.main import parse
from ptycho_core.settings.components import COMMAND_FLAGS
from ptycho_core.settings.declare import declarations_of
from ptycho_core.settings.groups import GROUPS

HEAD = """
from dataclasses import dataclass
from ptycho_core.engine.losses import Loss
from ptycho_core.settings.declare import setting

@dataclass(frozen=True)
class Broken(Loss):
    name = "broken"
    likelihood = "broken"
    weight: float = setting(0.0, minimum=0, help="its weight")

    def values(self, xp, modelled, amplitudes):
        return modelled

    def derivative(self, xp, modelled, amplitudes):
        return 1 + 0 * modelled
"""
NO_WEIGHT = "its class has no field 'weight', a number that is 0 by default"
WEIGHT = '    weight: float = setting(0.0, minimum=0, help="its weight")\n'

CASES = {
    "raises": ("raise RuntimeError('not today')", "it cannot be loaded: RuntimeError: not today (site/bad.py:1)"),
    "leaves": ("raise SystemExit(3)", "it cannot be loaded: SystemExit: 3"),
    "syntax": ("def (", "it cannot be loaded: SyntaxError"),
    "lacks": ("", "it cannot be loaded: AttributeError: module 'bad' has no attribute 'Broken'"),
    "function": ("def Broken(): pass", "bad:Broken is no class derived from ptycho_core.engine.losses.Loss"),
    "abstract": (HEAD.partition("    def derivative")[0], "its class lacks derivative"),
    "called otherwise": (HEAD.replace('name = "broken"', 'name = "other"'), "is called 'broken', and its class 'other'"),
    "no dataclass": (HEAD.replace("@dataclass(frozen=True)\n", ""), "its class is no frozen dataclass"),
    "no likelihood": (HEAD.replace('    likelihood = "broken"\n', ""), "its class states no 'likelihood', a word or None"),
    "word of another": (HEAD.replace('= "broken"\n    weight', '= "poisson"\n    weight'), "--likelihood poisson already means"),
    "bad word": (HEAD.replace('= "broken"\n    weight', '= "Bro ken"\n    weight'), "'Bro ken' cannot be a word"),
    "no weight": (HEAD.replace(WEIGHT, ""), NO_WEIGHT),
    "acts unasked": (HEAD.replace("setting(0.0", "setting(1.0"), NO_WEIGHT),
    "loose field": (HEAD.replace(WEIGHT, WEIGHT + "    more: int = 3\n"), "its field 'more' is not made with setting(...)"),
    "strange field": (
        HEAD.replace(WEIGHT, WEIGHT + "    more: list = setting(3, help='more')\n"), "'broken_more' is a list; there are",
    ),
    "bad default": (
        HEAD.replace(WEIGHT, WEIGHT + "    more: int = setting(3, maximum=2, help='')\n"), "broken_more = 3 must be at most 2",
    ),
    "no job": (
        HEAD.replace(WEIGHT, WEIGHT + "    more: int = setting(3, verbs=('infer',), help='')\n"), "'broken_more' serves no job",
    ),
    "not made": (
        HEAD + "\n    def __post_init__(self):\n        raise ValueError('never')\n", "it cannot be made: ValueError: never",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_loss_that_breaks_a_rule_is_left_out_with_the_reason(site, case):
    code, told = CASES[case]
    site.distribution("bad", code, "broken = bad:Broken")
    assert told in site.reasons()["broken"]


def named(name, field="weight"):
    """The sound loss under another name, with a further setting."""
    more = f"    {field}: float = setting(0.0, help='more')\n" if field != "weight" else ""
    return HEAD.replace('"broken"', f'"{name}"').replace(WEIGHT, WEIGHT + more)


@pytest.mark.parametrize(
    ("name", "field", "told"),
    [
        ("amplitude", "weight", "ptycho itself has a term of that name"),
        ("tv", "weight", "ptycho itself has a term of that name"),
        ("batch", "size", "its setting 'batch_size' would be written as 'batch_size' is"),
        ("no", "progress", "its setting 'no_progress' would be written as 'progress' is, --no-progress"),
        ("output", "dir", "its setting 'output_dir' would be written as '--output-dir' is"),
        ("backends", "allow", "its setting 'backends_allow' would be written as 'PTYCHO_BACKENDS_ALLOW' is"),
        ("opt", "weight", "its setting 'opt_weight' has the variable PTYCHO_OPT_WEIGHT, as options of backends have"),
        ("auto", "weight", "'auto' is a reserved word and no name for a loss"),
        ("Big", "weight", "'Big' is no name for a loss"),
    ],
)
def test_a_loss_whose_name_or_setting_is_taken_is_left_out(site, name, field, told):
    site.distribution("bad", named(name, field), f"{name} = bad:Broken")
    assert told in site.reasons()[name]


def test_of_two_losses_whose_settings_clash_the_first_by_name_stays(site):
    site.distribution("first", named("far", "away_weight"), "far = first:Broken")
    site.distribution("second", named("far_away"), "far_away = second:Broken")
    assert site.reasons() == {
        "far": "",
        "far_away": "its setting 'far_away_weight' would be written as 'far_away_weight' is, far_away_weight",
    }


def test_a_loss_that_imports_a_framework_is_left_out(site, scan, tmp_path):
    site.distribution("bad", "import torch\n" + HEAD, "broken = bad:Broken")
    told = site.refused("reconstruct", scan, "-o", tmp_path / "out", "--backend", "torch", "--likelihood", "broken")
    assert "it imports 'torch' when it is loaded; a loss computes on `ArrayOps` alone" in told


def test_a_name_that_two_distributions_provide_is_none(site):
    for name in ("first", "second"):
        site.distribution(name, HEAD, f"broken = {name}:Broken")
    assert site.reasons() == {"broken": "it is provided 2 times: first 1.0, second 1.0"}


def test_a_loss_can_be_blocked(site):
    site.distribution("good", HEAD, "broken = good:Broken")
    assert site.reasons() == {"broken": ""}
    assert site.reasons(PTYCHO_BACKENDS_BLOCK="broken") == {"broken": "it is blocked by PTYCHO_BACKENDS_BLOCK=broken"}
    assert site.reasons(PTYCHO_BACKENDS_ALLOW="torch") == {"broken": ""}


def test_asking_for_a_loss_that_is_left_out_says_why(site, scan, tmp_path):
    site.distribution("bad", "raise RuntimeError('not today')", "broken = bad:Broken")
    why = "Loss 'broken' (bad 1.0) is left out: it cannot be loaded: RuntimeError: not today (site/bad.py:1)."
    reconstruct = ("reconstruct", scan, "-o", tmp_path / "out", "--backend", "torch")
    train = ("train", scan, "-o", tmp_path / "run", "--backend", "torch")
    assert why in site.refused(*reconstruct, "--likelihood", "broken")
    assert why in site.refused(*train, "--broken-weight", "1")
    assert why in site.refused(*train, PTYCHO_BROKEN_WEIGHT="1")
    file = tmp_path / "settings.toml"
    file.write_text("[training]\nbroken_weight = 1.0\n")
    assert why in site.refused(*train, "--config", file)
    assert "is not a setting here" in site.refused(*train, "--config", file)


def test_what_is_broken_disturbs_nothing_else(site):
    site.distribution("bad", "raise RuntimeError('not today')", "broken = bad:Broken", "poor = bad:Poor")
    site.distribution("same", "raise SystemExit(3)", "amplitude = same:Amplitude", "nrmse = same:Nrmse")
    site.distribution("good", named("sound"), "sound = good:Broken")
    listed = site.done("backends", "list")
    assert listed.splitlines()[-5:] == [
        "amplitude  loss    same 1.0",
        "broken     loss    bad 1.0",
        "sound      loss    good 1.0",
        "nrmse      metric  same 1.0",
        "poor       metric  bad 1.0",
    ]
    assert "not today" not in site.done("reconstruct", "--help")
    explained = site.done("config", "explain", "reconstruct", "--backend", "torch", "--likelihood", "amplitude", "--json")
    assert json.loads(explained)["settings"]["likelihood"]["value"] == "amplitude"
    examined = site.ptycho("backends", "doctor", PTYCHO_BACKENDS_ALLOW="reference").stdout
    assert "Loss 'sound' (good 1.0): ok" in examined
    assert "Loss 'broken' (bad 1.0) is left out: it cannot be loaded: RuntimeError: not today" in examined


def test_listing_imports_no_component(site):
    site.distribution("bad", "raise RuntimeError('it was imported')", "broken = bad:Broken")
    code = (
        "import sys\nfrom ptycho_core.cli.main import main\nstatus = main(sys.argv[1:])\n"
        "assert 'bad' not in sys.modules\nsys.exit(status)"
    )
    for words in (["--help"], ["backends", "list"], ["backends", "list", "--json"]):
        done = site.python("-c", code, *words)
        assert done.returncode == 0, done.stderr
        assert ("broken" in done.stdout) == (words == ["backends", "list"])


def test_the_flags_of_the_commands_that_no_setting_may_have_are_all_named():
    """Those with a hyphen after the first word, of the commands that take settings."""
    settings = {word for group in GROUPS for one in declarations_of(group) for word in one.spellings}
    assert flags_of_commands() - settings == set(COMMAND_FLAGS)


def flags_of_commands():
    found = set()
    original = argparse.ArgumentParser.parse_known_args

    def walk(parser):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    walk(child)
            found.update(word for word in action.option_strings if word.startswith("--") and "-" in word[2:])

    def watch(parser, *arguments, **more):
        walk(parser)
        return original(parser, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", watch)
        for command in (["train"], ["infer"], ["reconstruct"], ["config"], ["compare"]):
            with pytest.raises(SystemExit):
                parse([*command, "--no-such-flag"])
    return found
