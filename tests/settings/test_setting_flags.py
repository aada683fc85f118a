import argparse
import json

import pytest

from ptycho_core.cli.main import main
from ptycho_core.cli.options import add_setting_flags, collect
from ptycho_core.errors import SettingsError
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.model import WITHOUT_MODEL
from ptycho_core.settings.resolution import resolve


def typed(*words, verb="reconstruct"):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_setting_flags(parser, verb)
    return collect(parser.parse_args(list(words)), verb)


def explain(capsys, *words):
    """The settings of ``config explain reconstruct`` as JSON."""
    assert main(["config", "explain", "reconstruct", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)["settings"]


def test_what_is_not_typed_leaves_no_trace():
    assert typed().overrides == {}
    assert typed().config is None


@pytest.mark.parametrize(
    ("verb", "name"), [(verb, name) for verb in ("reconstruct", "train", "infer") for name in declarations(verb)]
)
def test_every_setting_has_a_flag_that_acts(verb, name):
    one = declarations(verb)[name]
    if one.kind == "bool":
        words, value = [f"--no-{name.replace('_', '-')}" if one.default else one.flag], not one.default
    elif one.choices:
        words, value = [one.flag, one.choices[-1]], one.choices[-1]
    else:
        fraction = 0.35 if one.minimum is None or one.minimum < 1 else 1.5
        value = {"int": one.multiple or 3, "float": fraction, "str": "word", "path": "some.npz"}[one.kind]
        words = [one.flag, str(value)]
    found = resolve(verb, overrides=typed(*words, verb=verb).overrides).values[name]
    assert (found.value, found.origin, found.where) == (value, "override", " ".join(words))
    assert found.value != one.default


@pytest.mark.parametrize(
    ("words", "value", "where"),
    [
        (["--deterministic"], "on", "--deterministic"),
        (["--no-deterministic"], "off", "--no-deterministic"),
        (["--deterministic=strict"], "strict", "--deterministic strict"),
        (["--deterministic", "strict"], "strict", "--deterministic strict"),
        (["--deterministic", "false"], "off", "--deterministic false"),
        (["--deterministic=1"], "on", "--deterministic 1"),
    ],
)
@pytest.mark.parametrize("after", [True, False])
def test_a_flag_that_may_stand_alone_takes_a_value_only_if_it_is_one(words, value, where, after):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("scan")
    add_setting_flags(parser, "reconstruct")
    args = parser.parse_args([*words, "my-scan.npz"] if after else ["my-scan.npz", *words])
    assert args.scan == "my-scan.npz"
    found = resolve("reconstruct", overrides=collect(args, "reconstruct").overrides).values["deterministic"]
    assert (found.value, found.where) == (value, where)


@pytest.mark.parametrize("words", [["--deterministic=maybe"], ["--deterministic="], ["--no-deterministic", "--deterministic"]])
def test_what_such_a_flag_cannot_mean_is_refused(words):
    with pytest.raises(SettingsError, match="--deterministic"):
        resolve("reconstruct", overrides=typed(*words).overrides)


def test_quiet_is_no_progress():
    found = resolve("reconstruct", overrides=typed("--quiet").overrides).values["progress"]
    assert (found.value, found.where) == (False, "--quiet")


@pytest.mark.parametrize(
    "words",
    [
        ("--modes", "1", "--modes", "2"),
        ("--progress", "--quiet"),
        ("--progress", "--no-progress"),
        ("--opt", "a.b=1", "--opt", "a.b=2"),
    ],
)
def test_two_spellings_or_repetitions_that_contradict_are_refused(words):
    with pytest.raises(SettingsError, match="contradict"):
        typed(*words)


def test_repetitions_that_agree_are_accepted():
    assert typed("--quiet", "--no-progress", "--modes", "2", "--modes", "2").overrides["modes"].value == "2"


@pytest.mark.parametrize("text", ["compile=true", "acme.compile", ".compile=1", "acme.=1", "=", ""])
def test_a_malformed_option_is_refused(text):
    with pytest.raises(SettingsError, match=r"BACKEND\.NAME=VALUE"):
        typed("--opt", text)


def test_a_flag_of_another_verb_is_not_there(capsys):
    assert main(["config", "explain", "train", "--iterations", "2"]) == 2
    assert "--iterations" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "nearest"), [("--modse", "--modes"), ("--no-refine-prob", "--no-refine-probe")])
def test_an_unknown_flag_gets_the_nearest(capsys, flag, nearest):
    assert main(["config", "explain", "reconstruct", flag]) == 2
    message = capsys.readouterr().err
    assert flag in message
    assert f"Did you mean '{nearest}'?" in message


def test_flags_must_not_be_abbreviated(capsys):
    assert main(["config", "explain", "reconstruct", "--mode", "2"]) == 2
    assert "--modes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--modes", "0"], ["--modes 0", "at least 1"]),
        (["--modes", "two"], ["--modes two", "whole number"]),
        (["--held-out", "nan"], ["--held-out nan"]),
        (["--seed", "-1"], ["--seed -1", "at least 0"]),
        (["--likelihood", "poison"], ["Did you mean 'poisson'?"]),
        (["--config", "no such file.toml"], ["no such file.toml", "cannot be read"]),
    ],
)
def test_a_bad_value_on_the_command_line_is_one_sentence_and_status_2(capsys, words, parts):
    assert main(["config", "explain", "reconstruct", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert all(part in err for part in parts)


def test_explain_tells_value_source_and_what_it_beat(acme, capsys, monkeypatch, tmp_path):
    acme()
    (tmp_path / "run.toml").write_text("[reconstruction]\nmodes = 4\n[backend.acme]\nstreams = 5\n", "utf-8")
    monkeypatch.setenv("PTYCHO_MODES", "3")
    found = explain(
        capsys, "--backend", "acme", "--modes", "2", "--config", str(tmp_path / "run.toml"), "--opt", "acme.compile=true"
    )
    assert (found["modes"]["value"], found["modes"]["where"]) == (2, "--modes 2")
    assert [one["value"] for one in found["modes"]["beat"]] == [3, 4, 1]
    assert found["acme.streams"]["value"] == 5
    assert found["acme.compile"]["where"] == "--opt acme.compile=true"
    assert main(["config", "explain", "reconstruct", "--backend", "acme", "--modes", "2"]) == 0
    table = capsys.readouterr().out
    assert [line.split() for line in table.splitlines() if line.startswith("modes")] == [
        ["modes", "2", "override", "--modes", "2", "beat", "3", "(environment", "PTYCHO_MODES),", "1", "(core", "default)"]
    ]
    assert "Backend: acme" in table


@pytest.mark.parametrize("verb", ["train", "infer", "reconstruct"])
def test_explain_works_without_any_backend_and_says_so(capsys, monkeypatch, verb):
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "nothing")
    assert main(["config", "explain", verb, "--seed", "4"]) == 0
    table = capsys.readouterr().out
    assert "override --seed 4" in table
    assert "No backend" in table


def test_explain_takes_what_the_scan_states_into_account(acme, capsys, tmp_path):
    import numpy as np

    acme()
    np.savez(tmp_path / "scan.npz", detector_distance_m=2.5)
    found = explain(capsys, str(tmp_path / "scan.npz"), "--backend", "acme")
    assert (found["detector_distance_m"]["value"], found["detector_distance_m"]["origin"]) == (2.5, "data")


@pytest.mark.parametrize("words", [("--backend", "acme", "--help"), ("--help", "--backend=acme"), ("-h", "--backend", "acme")])
def test_the_help_of_a_command_shows_the_options_of_the_backend_that_is_named(acme, capsys, words):
    acme()
    assert main(["reconstruct", *words]) == 0
    page = capsys.readouterr().out
    assert "acme.streams=INT" in page
    assert "default: 2; at least 1 and at most 8" in page
    assert main(["reconstruct", "--help"]) == 0
    assert "acme.streams" not in capsys.readouterr().out


def test_the_help_of_a_command_does_not_fail_for_a_backend_that_cannot_be_used(capsys):
    assert main(["reconstruct", "--backend", "nonsense", "--help"]) == 0
    assert "'nonsense' is not known" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["reconstruct", "train", "infer"])
def test_the_help_of_a_verb_shows_every_setting_but_those_that_a_model_file_seals(capsys, verb):
    assert main([verb, "--help"]) == 0
    page = capsys.readouterr().out
    for one in declarations(verb).values():
        assert (f" {one.flag} " in page or f" {one.flag}, " in page) == (
            verb != "infer" or one.group != "model" or one.name in WITHOUT_MODEL
        )


def test_the_help_shows_default_unit_and_range(capsys):
    assert main(["reconstruct", "--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "(default: auto; at least 0 and at most 0.5)" in page
    assert "(default: auto; eV; above 0)" in page


def test_an_unknown_command_gets_the_nearest_one_and_the_list(capsys):
    assert main(["trian", "scan.npz"]) == 2
    message = capsys.readouterr().err
    assert "there is no command 'trian'. Did you mean 'train'?" in message
    assert "infer, reconstruct" in message
