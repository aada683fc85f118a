"""Allow and block lists, of the environment and of a settings file: which backends may be used at all."""

from __future__ import annotations

import pytest

from ptycho_core.backends import choose, find_backends, register, unregister
from ptycho_core.backends.lists import AccessList, AccessLists
from ptycho_core.contract import BackendSpec, Framework
from ptycho_core.errors import BackendUnusableError, CapabilityError, SettingsError
from ptycho_core.settings.planning import plan_for, resolve_for

ONE = BackendSpec("one", "One", (2, 0), None, ("evaluate",), accelerators=("cpu",), precisions=("float32", "float64"))
TWO = BackendSpec("two", "Two", (2, 0), None, ("evaluate", "reconstruct"), accelerators=("cpu", "tpu"), precisions=("float64",))
GONE = BackendSpec(
    "gone", "Gone", (2, 0), Framework("no_such_module", ("no-such-module",)), ("reconstruct",), accelerators=("tpu",)
)


@pytest.fixture
def pair(monkeypatch):
    """Two backends that can be used and one that cannot, and no other."""
    monkeypatch.setenv("PTYCHO_BACKENDS_ALLOW", "one,two,gone")
    for spec in (ONE, TWO, GONE):
        register(spec.name, object(), spec)
    yield monkeypatch
    for spec in (ONE, TWO, GONE):
        unregister(spec.name)


def resolved(tmp_path, text, **overrides):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return resolve_for("evaluate", {"overrides": overrides, "environment": {}, "file": path})


def test_a_settings_file_blocks(pair, tmp_path):
    assert resolved(tmp_path, '[backends]\nblock = ["two"]\n')[1].name == "one"
    with pytest.raises(BackendUnusableError) as caught:
        resolved(tmp_path, '[data]\n\n[backends]\nblock = ["two"]\n', backend="two")
    where = f"{tmp_path / 'run.toml'}, line 4: [backends] block = ['two']"
    assert str(caught.value) == f"Two backend selected, but it is blocked by {where}. (from override 'backend')"
    assert caught.value.code == "backend.blocked"


def test_a_settings_file_allows_where_the_environment_does_not_say_it(pair, tmp_path):
    text = '[backends]\nallow = ["one"]\n'
    pair.delenv("PTYCHO_BACKENDS_ALLOW")
    assert resolved(tmp_path, text)[1].name == "one"
    with pytest.raises(BackendUnusableError, match=r"it is not among those allowed by .*allow = "):
        resolved(tmp_path, text, backend="two")
    pair.setenv("PTYCHO_BACKENDS_ALLOW", "two")
    assert resolved(tmp_path, text)[1].name == "two"


def test_an_empty_list_is_a_list(pair, tmp_path):
    pair.delenv("PTYCHO_BACKENDS_ALLOW")
    with pytest.raises(BackendUnusableError, match="not among those allowed"):
        resolved(tmp_path, "[backends]\nallow = []\n", backend="one")
    pair.setenv("PTYCHO_BACKENDS_ALLOW", "")
    assert all(row.state == "blocked" for row in find_backends())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[backends]\nblock = "two"\n', 'line 2: [backends] block must be a list of names of backends, such as ["NAME", "NAME@'),
        ("[backends]\nallow = [2]\n", "line 2: [backends] allow must be a list of names of backends"),
        ('[backends]\nblok = ["two"]\n', "line 2: [backends] blok: 'blok' is not a setting here. Did you mean 'block'?"),
        ("backends = 3\n", "'backends' is no table of settings"),
    ],
)
def test_a_list_that_is_none_is_refused(pair, tmp_path, text, told):
    with pytest.raises(SettingsError) as caught:
        resolved(tmp_path, text)
    assert told in str(caught.value)


def test_blocking_goes_before_allowing():
    both = AccessLists(AccessList.of(["one"], "A"), AccessList.of(["one"], "B"))
    assert both.refusal("one", "") == "it is blocked by B"


def test_a_list_can_name_the_distribution_and_so_ends_a_conflict(site):
    site.backend(distribution="ptycho-acme")
    site.backend(distribution="Other_Dist")
    site.framework()
    rows = site.rows(PTYCHO_BACKENDS_BLOCK="acme@other.dist")
    assert {row["distribution"]: row["state"] for row in rows} == {"ptycho-acme": "ok", "Other_Dist": "blocked"}
    print_it = "print(row.distribution)"
    assert site.choose("acme", print_it, PTYCHO_BACKENDS_BLOCK="acme@other.dist").stdout == "ptycho-acme\n"
    assert site.choose(None, print_it, PTYCHO_BACKENDS_ALLOW="acme@OTHER-dist").stdout == "Other_Dist\n"
    done = site.choose("acme@other-dist", print_it, PTYCHO_BACKENDS_BLOCK="acme@other.dist")
    assert "it is blocked by PTYCHO_BACKENDS_BLOCK=acme@other.dist" in done.stderr


def test_what_a_backend_lacks_is_refused_with_those_that_have_it(pair):
    def refusal(**overrides):
        found = resolve_for("evaluate", {"overrides": {"backend": "one", **overrides}, "environment": {}})
        with pytest.raises(CapabilityError) as caught:
            plan_for(found, allow_unsupported=True)
        return str(caught.value)

    assert refusal(accelerator="tpu") == (
        "accelerator 'tpu' is not available: backend 'one' offers auto, cpu. (from override 'accelerator') "
        "Choose one of these. Installed ones that provide it: two."
    )
    assert refusal(precision="bf16-mixed").endswith("No installed backend provides it.")


def test_the_verb_too_and_what_is_not_usable_says_so(pair):
    found = resolve_for("reconstruct", {"overrides": {"backend": "one"}, "environment": {}})
    with pytest.raises(CapabilityError) as caught:
        plan_for(found, allow_unsupported=True)
    assert str(caught.value) == (
        "backend 'one' does not provide 'reconstruct'; it provides evaluate. Installed ones that provide it: gone (missing), two."
    )


def test_a_registered_backend_can_be_blocked(pair):
    pair.setenv("PTYCHO_BACKENDS_BLOCK", "one")
    with pytest.raises(BackendUnusableError, match="blocked by PTYCHO_BACKENDS_BLOCK=one"):
        choose("one")


PLACES = """
from pathlib import Path
from ptycho_core.settings.planning import resolve_for

def chosen(**sources):
    full = {"overrides": {}, "environment": {}} | sources
    row = resolve_for("evaluate", full).row
    return row.distribution

Path("run.toml").write_text('[execution]\\nbackend = "acme@ZZZ"\\n')
print(chosen(overrides={"backend": "acme@zzz"}))
print(chosen(environment={"PTYCHO_BACKEND": "acme@zzz"}))
print(chosen(execution={"backend": "acme@zzz"}))
print(chosen(file=Path("run.toml")))
print(chosen(file=Path("run.toml"), overrides={"backend": "acme@ptycho-acme"}))
"""


def test_the_distribution_can_be_named_wherever_a_backend_is_named(site):
    site.backend(distribution="ptycho-acme")
    site.backend(distribution="zzz")
    site.framework()
    done = site.python("-c", PLACES)
    assert done.stdout.split() == ["zzz"] * 4 + ["ptycho-acme"], done.stderr
    begun = site.ptycho("config", "init", "reconstruct", "--backend", "acme@ZZZ")
    assert 'backend = "acme@zzz"' in begun.stdout.splitlines(), begun.stderr
    shown = site.ptycho("backends", "show", "acme@zzz")
    assert "provided by   zzz 1.0" in shown.stdout.splitlines()
