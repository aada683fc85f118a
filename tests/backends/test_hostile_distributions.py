"""Whatever one distribution has in its metadata, its manifest or its code: the others are listed and start."""

from __future__ import annotations

import os

import pytest

MANIFEST = 'name = "{name}"\ncontract = "2.0"\ntitle = "{title}"\ncapabilities = ["evaluate"]\n'

MANIFESTS = {
    "digits": MANIFEST + '[[options]]\nname = "a"\ntype = "int"\nhelp = "a"\ndefault = ' + "9" * 5000,
    "dotted": MANIFEST + "a." * 20000 + "a = 1",
    "brackets": MANIFEST + "a = " + "[" * 3000,
    "long": MANIFEST + "# " + "a" * 70_000,
    "maximum": MANIFEST + '[[options]]\nname = "a"\ntype = "int"\nhelp = "a"\nmaximum = 1' + "0" * 400,
    "version": MANIFEST + '[framework]\nmodule = "fakeflow"\ndistributions = ["fakeflow"]\nminimum = "' + "9" * 5000 + '"',
    "figures": MANIFEST + '[framework]\nmodule = "fakeflow"\ndistributions = ["fakeflow"]\nminimum = "٣.١"',
    "requirement": MANIFEST + '[framework]\nmodule = "fakeflow"\ndistributions = ["fakeflow"]\nrequires = ["odd>=1"]',
}


def test_no_manifest_disturbs_the_others(site):
    site.backend("acme")
    site.framework()
    site.distribution("odd", "not-a-version")
    for name, manifest in MANIFESTS.items():
        site.backend(name, manifest=manifest)
    package = site.backend("pipe", manifest=None)
    os.mkfifo(site.folder / package / "ptycho-backend.toml")
    states = {row["name"]: row["state"] for row in site.rows()}
    assert states.pop("acme") == "ok"
    assert states.pop("requirement") in ("broken", "out-of-range")
    assert {state for name, state in states.items() if name in (*MANIFESTS, "pipe")} == {"broken"}
    assert site.choose("acme", "load(row)").returncode == 0
    shown = site.ptycho("backends", "show", "acme")
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize(
    "raising",
    [
        "raise GeneratorExit",
        "raise SystemExit(0)",
        "class Odd(BaseException): pass\nraise Odd('a' * 100_000)",
        "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute",
    ],
    ids=["GeneratorExit", "SystemExit", "its own exception", "an exception without words"],
)
def test_whatever_a_plugin_raises_when_it_is_imported_it_is_broken(site, raising):
    site.backend("acme", plugin=raising)
    site.framework()
    done = site.choose("acme", "load(row)")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "backend 'acme' (ptycho-acme 1.0) cannot be loaded" in done.stderr
    assert len(done.stderr) < 2000
    examined = site.ptycho("backends", "doctor", "acme")
    assert examined.returncode == 3
    assert "acme: broken" in examined.stdout


def test_ctrl_c_while_a_plugin_is_imported_stops_the_command(site):
    site.backend("acme", plugin="raise KeyboardInterrupt")
    site.framework()
    assert "KeyboardInterrupt" in site.choose("acme", "load(row)").stderr
