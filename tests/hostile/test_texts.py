"""Settings and manifests that are too long, too deep, or make a parser raise its own something."""

from __future__ import annotations

import os
import time

import pytest

from ptycho_core.backends.manifest import check_spec, read_manifest
from ptycho_core.cli.main import main
from ptycho_core.compatibility.yaml_file import read_yaml
from ptycho_core.contract import BackendSpec, OptionSpec
from ptycho_core.errors import BackendUnusableError, SettingsError
from ptycho_core.files.texts import TextError, parse_toml
from ptycho_core.settings.sources import SettingsFile

MANIFEST = 'name = "acme"\ncontract = "2.0"\ntitle = "Acme"\ncapabilities = ["reconstruct"]\n'

TOML = {
    "a number of 5000 digits": "[data]\nphotons = " + "9" * 5000,
    "3000 brackets": "[data]\nphotons = " + "[" * 3000,
    "3000 tables in tables": "a = " + "{a = " * 3000,
    "a dotted key of 20000 parts": "a." * 20000 + "a = 1",
    "a dotted table of 20000 parts": "[" + "a." * 20000 + "a]",
    "a dotted key of 5000 quoted parts": '"a".' * 5000 + "a = 1",
    "a dotted key in a table in a line": "a = {" + "a." * 5000 + "a = 1}",
    "too many bytes": "# " + "a" * 2**20,
    "a date that is none": "[data]\nphotons = 2020-13-45",
    "no end": '[data]\nprobe = "',
    "a zero byte": "a = 1\0",
}


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
@pytest.mark.parametrize("what", ["settings", "manifest"])
def test_what_is_no_sound_toml_is_refused_in_a_sentence_and_soon(tmp_path, what, text):
    path, begun = tmp_path / "a.toml", time.process_time()
    path.write_text(text if what == "settings" else text + "\n" + MANIFEST)
    read = SettingsFile if what == "settings" else lambda path: read_manifest(path, "acme")
    with pytest.raises((SettingsError, BackendUnusableError)) as caught:
        read(path)
    assert "a.toml" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "line",
    [
        "# " + "." * 200,
        'help = "' + "a." * 200 + '"',
        "names = ['a.b.c', \"d.e\"] # " + "a.b" * 99,
        "values = [" + "1.5, " * 100 + "]",
    ],
)
def test_dots_in_texts_numbers_and_remarks_are_no_keys(line):
    parse_toml(line)


def test_tomllib_itself_would_take_a_dotted_key_of_as_many_parts_as_are_allowed():
    assert parse_toml(".".join("a" * 32) + " = 1")
    with pytest.raises(TextError, match="more than 32 parts in line 2"):
        parse_toml("b = 1\n" + ".".join("a" * 33) + " = 1")


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf[reconstruction]\r\nmodes = 2\r\n")
    assert [(one.name, one.value) for one in SettingsFile(path).settings("reconstruct")] == [("modes", 2)]


@pytest.mark.parametrize(
    ("line", "table"), [('backend = "torch"', "execution"), ("modes = 2", "model"), ("photons = 1e5", "data")]
)
def test_a_setting_above_all_tables_is_told_where_it_belongs(tmp_path, line, table):
    path = tmp_path / "a.toml"
    path.write_text(line)
    with pytest.raises(SettingsError, match=rf"Put it below \[{table}\]"):
        SettingsFile(path)


def test_a_line_of_blanks_in_a_list_takes_no_time(tmp_path):
    path, begun = tmp_path / "a.toml", time.process_time()
    path.write_text("[backends]\nallow = [\n[" + " " * 100_000 + "]]\n[data]\nphotons = -1\n")
    with pytest.raises(SettingsError):
        SettingsFile(path).settings("reconstruct")
    assert time.process_time() - begun < 2


def merged(levels):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{one}: &a{one} {{<<: [{', '.join([f'*a{one - 1}'] * 9)}]}}" for one in range(1, levels)]
    return "\n".join(lines)


YAML = {
    "a month that is none": "epochs: 2020-13-45",
    "a number of 5000 digits": "epochs: " + "9" * 5000,
    "many brackets": "a: " + "[" * 5000,
    "many lists": "- " * 5000,
    "names for names for names": merged(12),
    "too many bytes": "a: 1\n" * 20000,
    "a key that is a list": "[1, 2]: 3",
    "not UTF-8": b"\xff\xfe",
    "a zero byte": "a: \0",
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_what_is_no_sound_yaml_is_refused_in_a_sentence_and_soon(tmp_path, text):
    path, begun = tmp_path / "a.yaml", time.process_time()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match=r"a\.yaml"):
        read_yaml("train", path)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("name", ["a.toml", "a.yaml"])
@pytest.mark.parametrize("what", ["pipe", "folder", "nothing"])
def test_settings_are_in_a_plain_file(tmp_path, name, what):
    path = tmp_path / name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    with pytest.raises(SettingsError, match=r"cannot be read: it (is no plain file|is a folder|does not exist)"):
        SettingsFile(path) if name == "a.toml" else read_yaml("train", path)


@pytest.mark.parametrize("key", ["minimum", "maximum", "default"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1" + "0" * 400, "1e301"])
def test_a_range_or_default_that_is_no_number_to_work_with_is_broken(tmp_path, key, value):
    whole = "e" not in value and "n" not in value
    path = tmp_path / "ptycho-backend.toml"
    path.write_text(f'{MANIFEST}[[options]]\nname = "a"\ntype = "{"int" if whole else "float"}"\nhelp = "a"\n{key} = {value}\n')
    with pytest.raises(BackendUnusableError, match=rf"has a {key} that is not finite or beyond 1e\+300") as caught:
        read_manifest(path, "acme")
    assert caught.value.state == "broken"


def test_a_specification_made_in_python_keeps_the_same_rules():
    option = OptionSpec("a", "float", None, "a", minimum=float("nan"))
    with pytest.raises(BackendUnusableError, match="has a minimum that is not finite"):
        check_spec(BackendSpec("acme", "Acme", (2, 0), None, ("reconstruct",), options=(option,)))


def test_settings_that_are_damaged_end_a_command_with_status_2(tmp_path, capsys):
    for name in ("a number of 5000 digits", "3000 brackets", "a dotted key of 20000 parts"):
        (tmp_path / "a.toml").write_text(TOML[name])
        words = [
            "reconstruct",
            "sample:siemens-star",
            "-o",
            str(tmp_path / "out"),
            "--config",
            str(tmp_path / "a.toml"),
            "--dry-run",
        ]
        assert main(words) == 2
        assert "a.toml" in capsys.readouterr().err
