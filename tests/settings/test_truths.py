"""Every spelling of a truth means what it says, from each source, for each setting that is one."""

import argparse

import pytest

from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.contract import VERBS
from ptycho_core.errors import SettingsError
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.resolution import resolve

TRUE, FALSE = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")
NEITHER = ("yes", "on", "no", "off", "2", "", " true", "t")
SWITCHES = [(verb, name) for verb in VERBS for name, one in declarations(verb).items() if one.switches]
MEANT = {"deterministic": ("on", "off"), "refine_positions": ("on", "off")}
"""Words that True and False mean, where a setting has a third; else they mean themselves."""

MORE = {"--quiet": False, "--disable-checkpointing": False}
"""Further flags of truths, and what each means."""


def meant(name, truth):
    return MEANT.get(name, (True, False))[0 if truth else 1]


def typed(verb, *words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_setting_flags(parser, verb)
    return resolve(verb, overrides=collect(parser.parse_args(list(words)), verb).overrides)


def test_there_are_such_settings_in_each_verb():
    assert {verb for verb, _ in SWITCHES} == set(VERBS)
    assert {flag for verb, name in SWITCHES for flag in declarations(verb)[name].flags} == set(MORE)


@pytest.mark.parametrize(("verb", "name"), SWITCHES)
def test_a_flag_alone_is_true_and_its_no_form_false(verb, name):
    one = declarations(verb)[name]
    spellings = {one.flag: True, f"--no-{one.flag[2:]}": False} | {flag: MORE[flag] for flag in one.flags}
    for flag, truth in spellings.items():
        found = typed(verb, flag)
        assert found.requested == {name}
        assert found.values[name].value == meant(name, truth), flag


@pytest.mark.parametrize(("verb", "name"), SWITCHES)
def test_a_variable_a_file_and_code_say_the_same(verb, name, tmp_path):
    one = declarations(verb)[name]
    for truth, words in ((True, TRUE), (False, FALSE)):
        for word in words:
            found = resolve(verb, environment={one.variable: word})
            assert (found.values[name].value, found.requested) == (meant(name, truth), {name}), word
        path = tmp_path / "settings.toml"
        path.write_text(f"[{one.group}]\n{name} = {str(truth).lower()}\n")
        for found in (resolve(verb, file=path), resolve(verb, overrides={name: truth})):
            assert (found.values[name].value, found.requested) == (meant(name, truth), {name})


@pytest.mark.parametrize(("verb", "name"), SWITCHES)
def test_a_variable_that_is_no_truth_is_refused(verb, name):
    one = declarations(verb)[name]
    for word in NEITHER:
        if word not in one.choices:
            with pytest.raises(SettingsError, match=one.variable):
                resolve(verb, environment={one.variable: word})
