"""``ptycho config init``: each line of the file, uncommented, asks for what is taken without it."""

import re
import subprocess
import sys
import tomllib

import pytest

from ptycho_core.cli.main import main
from ptycho_core.settings.groups import declarations
from ptycho_core.settings.resolution import resolve
from ptycho_core.settings.template import template

VERBS = ("train", "infer", "reconstruct")


def uncommented(text, names=None):
    """The text with the settings of these names asked for; of every name if None."""

    def is_wanted(line):
        return re.match(r"#\w", line) and (names is None or line[1:].partition(" = ")[0] in names)

    return "\n".join(line[1:] if is_wanted(line) else line for line in text.splitlines())


def shown(verb):
    return [one for one in declarations(verb).values() if verb != "infer" or one.group != "model"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("named", [False, True])
def test_each_line_uncommented_asks_for_the_value_that_is_taken_without_it(acme, tmp_path, verb, named):
    spec = acme(capabilities=VERBS, precisions=("float64",)).spec if named else None
    text = template(verb, spec)
    path = tmp_path / "run.toml"
    path.write_text(text, "utf-8")
    before = resolve(verb, file=path, spec=spec)
    assert before.requested == ({"backend"} if named else frozenset())
    for name in [one.name for one in shown(verb)] + (["compile", "streams", "kernel"] if named else []):
        path.write_text(uncommented(text, {name}), "utf-8")
        after = resolve(verb, file=path, spec=spec)
        full = name if name in after.values else f"acme.{name}"
        assert after.requested == before.requested | {full}
        for values, others in ((after.values, before.values), (after.options, before.options)):
            assert {key: one.value for key, one in values.items()} == {key: one.value for key, one in others.items()}
    path.write_text(uncommented(text), "utf-8")
    assert resolve(verb, file=path, spec=spec).requested == {one.name for one in shown(verb)} | set(before.options)


@pytest.mark.parametrize("verb", VERBS)
def test_the_file_has_every_setting_with_its_help_range_and_unit(verb):
    text = template(verb)
    assert tomllib.loads(text) == {group: {} for group in dict.fromkeys(one.group for one in shown(verb))}
    words = " ".join(text.replace("\n# ", " ").split())
    for one in shown(verb):
        assert f"#{one.name} = " in text
        assert " ".join(one.help[1:].split()) in words
        assert one.allowed in words
        assert not one.unit or f"in {one.unit}" in words
    assert max(map(len, text.splitlines())) <= 130


def test_the_command_prints_or_writes_and_never_replaces_unasked(acme, tmp_path, capsys):
    acme(capabilities=VERBS)
    assert main(["config", "init", "train"]) == 0
    assert capsys.readouterr().out == template("train")
    path = tmp_path / "run.toml"
    words = ["config", "init", "reconstruct", "--backend", "acme", "-o", str(path)]
    assert main(words) == 0
    written = path.read_text("utf-8")
    assert "[backend.acme]" in written
    assert '\nbackend = "acme"\n' in written
    path.write_text("mine")
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert path.read_text("utf-8") == written
    assert [one.name for one in tmp_path.iterdir()] == ["run.toml"]
    assert main(["config", "explain", "reconstruct", "--config", str(path)]) == 0


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["trian"], 2, "trian"),
        (["train", "--backend", "nonsense"], 2, "nonsense"),
        (["train", "--overwrite"], 2, "--output"),
        (["train", "-o", "none/run.toml"], 2, "none"),
    ],
)
def test_what_cannot_be_written_is_told(words, status, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init", *words]) == status
    out, err = capsys.readouterr()
    assert part in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_no_framework_is_imported_for_it():
    code = (
        "import sys\n"
        "from ptycho_core.cli.main import main\n"
        "assert main(['config', 'init', 'train']) == 0\n"
        "sys.stderr.write(str([name for name in ('numpy', 'torch', 'tensorflow') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]"
