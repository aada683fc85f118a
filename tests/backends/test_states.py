"""Each state of a backend, with its exact reason, as `ptycho backends list` tells it; and the choice among them."""

from __future__ import annotations

import json

import pytest

from ptycho_core.contract import CONTRACT


def test_a_backend_with_its_framework_is_ok(site):
    site.backend()
    site.framework()
    assert site.row() == {
        "name": "acme",
        "title": "Acme",
        "state": "ok",
        "reason": "",
        "remedy": "",
        "distribution": "ptycho-acme",
        "version": "1.0",
        "framework_version": "2.5",
        "only_by_name": False,
        "only_alone": False,
    }


def test_a_framework_that_is_not_installed_is_missing(site):
    site.backend()
    row = site.row()
    assert row["state"] == "missing"
    assert row["reason"] == "Fakeflow (module 'fakeflow') is not installed"
    assert row["remedy"] == "Install it: pip install 'fakeflow-gpu>=2.0,<3'"


@pytest.mark.parametrize(
    ("version", "state", "what"),
    [(None, "missing", "it is not installed"), ("0.1", "out-of-range", "extra-pack 0.1 is installed"), ("0.3", "ok", "")],
)
def test_a_framework_of_several_packages_needs_all_of_them(site, version, state, what):
    site.framework()
    site.backend(manifest=site.manifest.format(name="acme", title="Acme") + 'requires = ["extra-pack>=0.2"]\n')
    if version is not None:
        site.distribution("extra-pack", version)
    row = site.row()
    assert row["state"] == state
    if what:
        assert row["reason"] == f"Fakeflow needs extra-pack>=0.2, and {what}"
        assert row["remedy"] == "Install it: pip install 'extra-pack>=0.2'"


def test_a_folder_of_the_frameworks_name_in_the_working_directory_is_no_framework(site):
    site.backend("torch", manifest=_torch_manifest())
    (site.cwd / "torch").mkdir()
    done = site.ptycho("backends", "list", "--json", bare=True)
    row = json.loads(done.stdout)[0]
    assert row["state"] == "missing"
    assert row["reason"] == f"PyTorch (module 'torch') is not installed (the folder {site.cwd / 'torch'} is not a package)"


@pytest.mark.parametrize("version", ["1.9", "3.0", "2.0rc1"])
def test_a_framework_version_outside_the_range_is_out_of_range(site, version):
    site.backend()
    site.framework(version)
    row = site.row()
    assert row["state"] == "out-of-range"
    assert row["reason"] == f"it accepts fakeflow-gpu>=2.0,<3, and fakeflow {version} is installed"
    assert row["framework_version"] == version


def test_the_first_candidate_distribution_that_is_installed_gives_the_version(site):
    site.backend()
    site.framework("2.1")
    site.distribution("fakeflow-gpu", "2.2")
    assert site.row()["framework_version"] == "2.2"


@pytest.mark.parametrize(
    ("version", "remedy"), [("3.0", "Upgrade ptycho"), ("2.999", "Upgrade ptycho"), ("1.3", "Install a newer backend")]
)
def test_another_contract_is_incompatible_whatever_else_its_manifest_holds(site, version, remedy):
    site.backend(manifest=f'name = "acme"\ncontract = "{version}"\nnovelty = 1\n')
    row = site.row()
    assert row["state"] == "incompatible"
    served = "2.0" if CONTRACT == (2, 0) else "2.0 to {}.{}".format(*CONTRACT)
    assert row["reason"] == f"it implements contract {version}, and this core supports {served}"
    assert row["remedy"].startswith(remedy)


def test_two_distributions_with_one_name_are_a_conflict_that_the_user_resolves(site):
    site.backend(distribution="ptycho-acme")
    site.backend(distribution="zzz", version="2")
    site.framework()
    rows = site.rows()
    assert [(row["state"], row["distribution"]) for row in rows] == [("conflict", "ptycho-acme"), ("conflict", "zzz")]
    assert {row["reason"] for row in rows} == {"2 distributions provide it: ptycho-acme 1.0, zzz 2"}
    refused = site.choose("acme")
    assert refused.returncode == 3
    assert "--backend acme@ptycho-acme or --backend acme@zzz" in refused.stderr
    chosen = site.choose("acme@Zzz", "print(row.distribution, row.state)")
    assert chosen.stdout.split() == ["zzz", "ok"]
    wrong = site.choose("acme@other")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "backend 'acme' is not provided by 'other', but by ptycho-acme 1.0, zzz 2.\n",
    )


def test_a_distribution_that_declares_a_name_twice_is_broken(site):
    site.backend()
    site.write(
        "ptycho_acme-1.0.dist-info/entry_points.txt", "[ptycho.backends]\nacme = ptycho_acme.plugin\nacme = other.plugin\n"
    )
    rows = site.rows()
    assert {(row["state"], row["reason"]) for row in rows} == {("broken", "ptycho-acme 1.0 declares it 2 times")}
    assert site.choose("acme").returncode == 3


def test_a_name_that_cannot_be_chosen_cannot_be_chosen_with_its_distribution_either(site):
    site.distribution("odd", entry_points="[ptycho.backends]\nlist = ptycho_acme.plugin\n")
    site.backend(manifest=site.manifest.format(name="list", title="List"))
    done = site.choose("list@odd")
    assert done.returncode == 3
    assert "'list' is a reserved word and no name for a backend" in done.stderr


def test_one_distribution_found_twice_is_listed_once(site):
    site.backend()
    site.write("copy/ptycho_acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ptycho-acme\nVersion: 1.0\n")
    site.write("copy/ptycho_acme-1.0.dist-info/entry_points.txt", "[ptycho.backends]\nacme = ptycho_acme.plugin\n")
    code = "import sys; sys.path.append(sys.argv[1]); from ptycho_core.backends import find_backends; print(len(find_backends()))"
    assert site.python("-c", code, str(site.folder / "copy"), bare=True).stdout == "1\n"


def test_blocked_backends_say_which_variable_blocks_them(site):
    site.backend()
    site.framework()
    row = site.row(PTYCHO_BACKENDS_BLOCK="other, acme")
    assert (row["state"], row["reason"]) == ("blocked", "it is blocked by PTYCHO_BACKENDS_BLOCK=other, acme")
    row = site.row(PTYCHO_BACKENDS_ALLOW="pytorch")
    assert (row["state"], row["reason"]) == ("blocked", "it is not among those allowed by PTYCHO_BACKENDS_ALLOW=pytorch")
    assert site.row(PTYCHO_BACKENDS_ALLOW="acme")["state"] == "ok"
    assert site.choose("acme", PTYCHO_BACKENDS_BLOCK="acme").returncode == 3


def test_aliases_count_in_block_lists(site):
    site.backend("torch")
    assert site.row("torch", PTYCHO_BACKENDS_BLOCK="pytorch")["state"] == "blocked"


def test_a_plugin_without_manifest_is_undeclared(site):
    site.backend(manifest=None)
    row = site.row()
    assert (row["state"], row["reason"]) == ("undeclared", "its package 'ptycho_acme' has no manifest ptycho-backend.toml")


def test_the_manifest_beside_the_module_goes_before_that_of_the_top_package_and_nothing_is_imported(site):
    site.distribution("nested", entry_points="[ptycho.backends]\nacme = house.room.corner.plugin\n")
    for place in ("house", "house/room", "house/room/corner"):
        site.write(f"{place}/__init__.py", "raise RuntimeError('imported')\n")
    neither = "neither its package 'house.room.corner' nor 'house' has a manifest ptycho-backend.toml"
    assert (site.row()["state"], site.row()["reason"]) == ("undeclared", neither)
    site.write("house/ptycho-backend.toml", site.manifest.format(name="acme", title="Of the house"))
    assert site.row()["title"] == "Of the house"
    site.write("house/room/corner/ptycho-backend.toml", site.manifest.format(name="acme", title="Of the corner"))
    assert site.row()["title"] == "Of the corner"


def test_a_package_that_is_gone_or_a_mere_folder_is_broken(site):
    site.distribution("gone", entry_points="[ptycho.backends]\nacme = nowhere.plugin\nbeta = folder.plugin\ngamma\n")
    (site.folder / "folder").mkdir()
    rows = {row["name"]: row for row in site.rows()}
    assert {row["state"] for row in rows.values()} == {"broken"}
    assert rows["acme"]["reason"] == "its package 'nowhere' is not there although gone 1.0 is installed"
    assert rows["beta"]["reason"] == "its package 'folder' is a namespace package (a folder without __init__.py)"
    assert rows["gamma"]["reason"] == "its entry point 'gamma = ' names no module"


@pytest.mark.parametrize("name", ["Acme", "a-b", "auto", "list", "tf", "x" * 33])
def test_names_that_cannot_be_chosen_are_broken(site, name):
    site.distribution("odd", entry_points=f"[ptycho.backends]\n{name} = odd.plugin\n")
    row = site.row(name)
    assert row["state"] == "broken"
    assert "no name for a backend" in row["reason"]


def test_a_broken_backend_hides_no_other_and_strict_tells_by_exit_status(site):
    site.backend("acme", manifest=b"\xff")
    site.backend("good")
    site.framework()
    done = site.ptycho("backends", "list")
    assert done.returncode == 0
    assert "is not UTF-8 (byte 0)" in done.stdout
    assert "Acme" not in done.stdout
    assert "good  ok" in done.stdout
    assert site.ptycho("backends", "list", "--strict").returncode == 3
    assert site.choose(None, "print(row.name, row.chosen_by)").stdout == "good only installed\n"


def test_choosing_torch_without_pytorch_says_so_with_a_pip_line(site):
    site.backend("torch", manifest=_torch_manifest())
    done = site.python("-c", "from ptycho_core.backends import choose; choose('pytorch')", bare=True)
    assert done.stderr.splitlines()[-1] == (
        "ptycho_core.errors.BackendUnusableError: PyTorch backend selected, but PyTorch (module 'torch') is not installed. "
        "Install it: pip install 'torch>=2.2'"
    )


def test_choosing_torch_without_plugin_says_what_to_install_in_a_checkout(site):
    done = site.python("-c", "from ptycho_core.backends import choose; choose('torch')", bare=True)
    assert done.stderr.splitlines()[-1] == (
        "ptycho_core.errors.BackendUnusableError: PyTorch backend selected, but neither its plugin (ptycho-torch) "
        "nor PyTorch itself is installed. In a checkout of ptycho: pip install torch==2.13.0 && pip install ./backends/torch"
    )
    site.write("torch/__init__.py", "")
    done = site.python("-c", "from ptycho_core.backends import choose; choose('torch')", bare=True)
    assert done.stderr.endswith(
        "PyTorch backend selected, but its plugin (ptycho-torch) is not installed. "
        "In a checkout of ptycho: pip install ./backends/torch\n"
    )


def test_an_unknown_name_gets_the_list_and_the_nearest_match(site):
    site.backend()
    done = site.choose("acne")
    assert (done.returncode, done.stderr) == (2, "backend 'acne' is not known. Installed: acme. Did you mean 'acme'?\n")
    assert "Did you mean 'torch'?" in site.choose("troch").stderr


def test_without_a_name_several_usable_backends_are_a_question_and_none_is_an_error(site):
    nothing = site.python("-c", "from ptycho_core.backends import choose; choose()", bare=True)
    assert "no backend is installed. PyTorch: In a checkout of ptycho: pip install" in nothing.stderr
    site.backend("acme")
    none = site.choose(None)
    assert none.returncode == 3
    assert "no installed backend is usable. acme: Fakeflow (module 'fakeflow') is not installed." in none.stderr
    site.backend("beta")
    site.framework()
    several = site.choose(None)
    assert (several.returncode, several.stderr) == (
        2,
        "several backends are installed: acme, beta. Choose one with --backend NAME.\n",
    )


def test_a_backend_that_is_taken_only_by_name_does_not_count_without_one(site):
    site.framework()
    site.backend("shy", manifest=SHY)
    alone = site.choose(None)
    assert alone.returncode == 3
    assert "no backend is installed but 'shy', which is taken only by name." in alone.stderr
    site.backend("acme")
    assert site.choose(None, "print(row.name, row.chosen_by)").stdout == "acme only installed\n"
    site.backend("beta")
    assert "several backends are installed: acme, beta. Choose" in site.choose(None).stderr
    assert site.choose("shy", "print(row.name, row.chosen_by, load(row).spec.only_by_name)").stdout == "shy named True\n"
    listed = site.ptycho("backends", "list").stdout
    assert "ptycho-acme 1.0  Fakeflow 2.5" in listed
    assert "fakeflow 2.5, taken only by name" in listed
    assert {row["name"]: row["only_by_name"] for row in site.rows()} == {"acme": False, "beta": False, "shy": True}
    assert "taken         only by name" in site.ptycho("backends", "show", "shy").stdout.splitlines()


def test_a_backend_that_is_taken_only_by_name_and_cannot_run_is_no_reason_why_others_cannot(site):
    site.backend("shy", manifest=SHY)
    site.backend("acme", manifest=None)
    none = site.choose(None)
    assert none.returncode == 3
    assert none.stderr.startswith("no installed backend is usable. acme: ")
    assert "shy" not in none.stderr


@pytest.fixture
def last(site):
    """A backend that is taken unnamed only where it is alone, next to one that is taken only by name."""
    site.framework()
    site.backend("shy", manifest=SHY)
    site.backend(
        "last", manifest='name = "last"\ncontract = "2.0"\ntitle = "Last"\ncapabilities = ["evaluate"]\nonly_alone = true\n'
    )
    return site


def test_a_backend_that_is_taken_only_alone_is_taken_where_no_other_may_be(last):
    assert last.choose(None, "print(row.name, row.chosen_by)").stdout == "last no other installed\n"
    blocked = last.choose(None, "print(row.name)", PTYCHO_BACKENDS_BLOCK="shy")
    assert blocked.stdout == "last\n", "one that is taken only by name counts no more when it is blocked"
    assert "taken         by name, or where no other is installed" in last.ptycho("backends", "show", "last").stdout
    assert {row["name"]: row["only_alone"] for row in last.rows()} == {"last": True, "shy": False}
    last.backend("acme")
    assert last.choose(None, "print(row.name, row.chosen_by)").stdout == "acme only installed\n"
    assert last.choose("last", "print(row.name, row.chosen_by)").stdout == "last named\n"


@pytest.mark.parametrize(
    ("state", "variables"),
    [
        ("missing", {}),
        ("broken", {}),
        ("undeclared", {}),
        ("incompatible", {}),
        ("blocked", {"PTYCHO_BACKENDS_BLOCK": "acme"}),
        ("blocked", {"PTYCHO_BACKENDS_ALLOW": "last"}),
    ],
)
def test_a_backend_that_cannot_be_used_is_not_replaced_in_silence(last, state, variables):
    manifests = {
        "missing": last.manifest.format(name="acme", title="Acme").replace("fakeflow", "nowhere"),
        "broken": b"\xff",
        "undeclared": None,
        "incompatible": 'name = "acme"\ncontract = "9.0"\n',
    }
    last.backend("acme", manifest=manifests.get(state, last.manifest))
    assert last.row("acme", **variables)["state"] == state
    none = last.choose(None, **variables)
    assert none.returncode == 3
    assert none.stderr.startswith("no installed backend is usable. acme: ")
    assert none.stderr.endswith(". --backend last would do without it.\n")
    assert last.choose("last", "print(row.name)", **variables).stdout == "last\n"


SHY = """
name = "shy"
contract = "2.0"
title = "Shy"
capabilities = ["evaluate"]
only_by_name = true
[framework]
module = "fakeflow"
distributions = ["fakeflow"]
"""


def _torch_manifest():
    return """
name = "torch"
contract = "2.0"
title = "PyTorch"
capabilities = ["evaluate"]
[framework]
module = "torch"
title = "PyTorch"
distributions = ["torch"]
minimum = "2.2"
"""
