"""Listing and showing backends runs no third-party code, and is cheap."""

from __future__ import annotations

CHECK = """
import resource, sys
from ptycho_core.cli.main import main
status = main(sys.argv[1:])
heavy = {"numpy", "scipy", "torch", "tensorflow", "fakeflow", "matplotlib", "rich", "h5py", "ptycho_acme", "pluggy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
usage = resource.getrusage(resource.RUSAGE_SELF)
print("CPU", usage.ru_utime + usage.ru_stime)
sys.exit(status)
"""


def install(site):
    site.backend(plugin="raise RuntimeError('the plugin was imported')\n")
    site.write("ptycho_acme/__init__.py", "raise RuntimeError('the package was imported')\n")
    site.framework(body="raise RuntimeError('the framework was imported')\n")


def test_listing_and_showing_import_neither_plugin_nor_framework_nor_numpy(site):
    install(site)
    for arguments in (["list"], ["list", "--json"], ["show", "acme"]):
        done = site.python("-c", CHECK, "backends", *arguments)
        assert done.returncode == 0, done.stderr
        assert "acme" in done.stdout


def test_listing_costs_at_most_three_tenths_of_a_cpu_second(site):
    install(site)
    costs = []
    for _ in range(3):  # the least of three: other work on the machine adds, never subtracts
        done = site.python("-c", CHECK, "backends", "list")
        costs.append(float(done.stdout.split("CPU ")[1]))
    assert min(costs) <= 0.3


def test_show_prints_the_manifest_and_the_options(site):
    options = """
[environment]
FAKE = "1"

[[options]]
name = "compile"
type = "bool"
default = true
help = "translate the model first"

[[options]]
name = "level"
type = "int"
help = "how much"
minimum = 1
"""
    site.backend(manifest=site.manifest + options)
    done = site.ptycho("backends", "show", "acme")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "framework     fakeflow >=2.0,<3" in lines
    pip_line = "Install it: pip install 'fakeflow-gpu>=2.0,<3'"
    assert f"state         missing: Fakeflow (module 'fakeflow') is not installed. {pip_line}" in lines
    assert "environment   FAKE=1" in lines
    assert lines[-2:] == [
        "  --opt acme.compile=BOOL  translate the model first (default true)",
        "  --opt acme.level=INT  how much; from 1 (default none)",
    ]


def test_showing_what_has_no_manifest_is_refused_with_the_reason(site):
    site.backend(manifest=None)
    done = site.ptycho("backends", "show", "acme")
    assert done.returncode == 3
    assert "acme backend selected, but its package 'ptycho_acme' has no manifest ptycho-backend.toml." in done.stderr
