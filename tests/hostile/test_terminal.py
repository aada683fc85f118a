"""Whatever a file, a name, a variable or a plugin brings to the terminal: it steers nothing, forges no row, and has an end."""

from __future__ import annotations

import io
import os
import unicodedata

import numpy as np
import pytest

from ptycho_core import contract
from ptycho_core.backends.states import BackendInfo
from ptycho_core.cli import backends as backends_command
from ptycho_core.cli.main import main
from ptycho_core.cli.progress import BarProgress, PlainProgress
from ptycho_core.cli.streams import Stream, say
from ptycho_core.contract import BackendSpec, Event, OptionSpec
from ptycho_core.spelling import LONGEST, harmless, shown

ESCAPE = "\x1b]0;pwned\x07"
STEERING = [
    ESCAPE, "\x9b31m", "\x08\x08", "\r", "\x7f", "\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\u2028", "\u2029", "\x85",
    "\x0b", "\u00ad", "\u3164", "\u034f", "\ufe0f", "\U000e0041", "\udc9b", "\x00",
]  # fmt: skip


def steers(text: str) -> bool:
    kinds = {unicodedata.category(sign) for sign in text.replace("\n", "")}
    return bool(kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}) or any(sign in text for sign in "\u3164\u034f\ufe0f")


@pytest.mark.parametrize("sign", STEERING, ids=ascii)
def test_what_steers_is_spelled_as_python_spells_it(sign):
    told = shown(f"before{sign}after\nTORCH  ok")
    assert not steers(told)
    assert "\n" not in told
    assert told.startswith("before\\")
    assert told.endswith(r"after\nTORCH  ok")
    assert harmless(f"one\n\ttwo{sign}").startswith("one\n\ttwo\\")


def test_letters_of_all_languages_and_signs_of_ours_stay():
    for text in ("µm, Ångström ×10², 结果, ñ, e\u0301, 0\u00a0px, \u2026, λ²", "a" * LONGEST):
        assert shown(text) == text


def test_a_long_text_keeps_its_beginning_and_its_end():
    told = shown("scan.npz: " + "a" * 100_000 + " is refused.", 300)
    assert len(told) < 400
    assert told.startswith("scan.npz: a")
    assert told.endswith("a is refused.")
    assert "characters are not shown" in told


def test_a_stream_lets_nothing_through_that_steers_whoever_writes_it():
    held = io.StringIO()
    stream = Stream(held)
    print(f"a{ESCAPE}b\nc", file=stream)
    assert held.getvalue() == "a\\x1b]0;pwned\\x07b\nc\n"
    print(ESCAPE, file=Stream(held, steers=True), end="")
    assert held.getvalue().endswith(ESCAPE)


@pytest.fixture
def told(capsys):
    """Runs a command; what it said, which must be harmless."""

    def told(*words, status):
        assert main([str(word) for word in words]) == status
        out, err = capsys.readouterr()
        assert not steers(out + err)
        assert len(out + err) < 16000
        return out + err

    return told


SCAN = {"intensity": np.ones((4, 8, 8)), "positions_px": np.arange(8.0).reshape(4, 2)}


def test_names_of_files_and_keys_and_texts_in_them(told, tmp_path):
    path = tmp_path / f"s{ESCAPE}\nnote  all is well.npz"
    told("inspect", path, status=5)
    np.savez(path, **SCAN)
    lines = told("inspect", path, status=0).splitlines()
    assert not any(line.startswith("note  all is well") for line in lines)
    np.savez(tmp_path / "a.npz", **{f"a{ESCAPE}b": np.ones(3), "x" * 5000: np.ones(2)})
    assert r"'a\x1b" in told("inspect", tmp_path / "a.npz", status=5)
    for signal in (f"count{ESCAPE}", "\u202e", "a" * 10_000):
        np.savez(tmp_path / "a.npz", **SCAN, signal=np.array(signal))
        told("inspect", tmp_path / "a.npz", status=5)
        told("inspect", tmp_path / "a.npz", "--json", status=5)
    told("inspect", tmp_path / "a.npz", "--mask", f"m{ESCAPE}.npy", status=5)
    told("score", path, "--reference", path, status=5)


def test_words_of_the_command_line_and_variables(told, monkeypatch, tmp_path):
    told(f"inspe{ESCAPE}ct", status=2)
    told("inspect", "sample:siemens-star", "--signal", f"a{ESCAPE}\nptycho: all is well", status=2)
    words = ["reconstruct", "sample:siemens-star", "-o", tmp_path / "out", "--dry-run"]
    told(*words, "--backend", "\u202etorch", status=2)
    monkeypatch.setenv(f"PTYCHO_A{'a' * 9999}", "1")
    told(*words, status=2)
    monkeypatch.delenv(f"PTYCHO_A{'a' * 9999}")
    monkeypatch.setenv("PTYCHO_BACKEND", f"a{ESCAPE}b")
    assert r"a\x1b" in told(*words, status=2)


def hostile_row():
    option = OptionSpec("level", "int", 1, f"help{ESCAPE}\nforged  row", minimum=0, maximum=2)
    title = "a\nTORCH  ok  fake" + ESCAPE + "a" * 200_000
    spec = BackendSpec(
        "acme", title, contract.CONTRACT, None, ("reconstruct",), options=(option,), environment={"A": ESCAPE},
        issues_url=f"https://{ESCAPE}",
    )  # fmt: skip
    return BackendInfo("acme", title, "ok", f"why{ESCAPE}", "", f"dist{ESCAPE}", "1\n2", "", spec)


def test_rows_of_backends(told, monkeypatch):
    monkeypatch.setattr("ptycho_core.backends.registry.find_backends", lambda *_, **__: (hostile_row(),))
    monkeypatch.setattr("ptycho_core.backends.registry.find_named", lambda name: (hostile_row(),))
    listed = told("backends", "list", status=0)
    assert [line.split()[0] for line in listed.splitlines()][:2] == ["NAME", "acme"]
    assert not any(line.startswith("TORCH") for line in listed.splitlines())
    assert all(not line.startswith("forged") for line in told("backends", "show", "acme", status=0).splitlines())
    written = told("config", "init", "reconstruct", "--backend", "acme", status=0)
    assert all(line.startswith(("#", "[", "backend = ")) or not line for line in written.splitlines())


def test_the_trace_of_a_plugin_has_an_end(told, monkeypatch):
    from ptycho_core.backends.doctor import Diagnosis

    row = Diagnosis("acme", "dist 1", "broken", f"a{ESCAPE}" * 100_000, trace=f"line{ESCAPE}\n" * 5000 + "b" * 300_000)
    monkeypatch.setattr("ptycho_core.backends.doctor.diagnose", lambda *_: (row,))
    monkeypatch.setattr(backends_command, "_LINES", 5)
    told("backends", "doctor", "acme", status=3)


def test_what_a_backend_says_while_it_runs(monkeypatch, capsys):
    event = Event("message", message=f"[red]a[/]{ESCAPE}\nptycho: done [/b]" + "a" * 10_000)
    PlainProgress()(event)
    assert not steers(capsys.readouterr().err.rstrip("\n"))
    monkeypatch.setenv("TERM", "dumb")
    with BarProgress() as bar:
        bar(event)
        bar(Event("epoch", f"stage{ESCAPE}[/x]", 1, 3, {"loss": 1.0}))
    told = capsys.readouterr().err
    assert ESCAPE not in told
    assert "[red]a[/]" in told


def all_of(terminal):
    """What a terminal has got, once the other end is closed; it comes in pieces."""
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:  # Linux says so at the end
        pass
    os.close(terminal)
    return b"".join(pieces).decode()


def test_a_bar_may_steer_the_terminal_and_its_texts_may_not():
    read, write = os.openpty()
    with os.fdopen(write, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", Stream(stream))
        patch.setenv("TERM", "xterm")
        with BarProgress() as bar:
            bar(Event("message", message=f"a{ESCAPE}b"))
            bar(Event("epoch", "stage", 1, 3, {"loss": 1.0}))
    found = all_of(read)
    assert "\x1b[" in found
    assert ESCAPE not in found
    assert r"a\x1b]0;pwned\x07b" in found


def test_say_prints_one_line(capsys):
    say("a\nb")
    say("c\rd", error=True)
    assert capsys.readouterr() == ("a\\nb\n", "c\\rd\n")
