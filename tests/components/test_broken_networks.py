"""What is wrong with a network is reported where it is asked for, and nothing else suffers from it."""

import json

import pytest

HEAD = """
from dataclasses import dataclass
from ptycho_core.networks import Architecture, Layers
from ptycho_core.settings.declare import setting

@dataclass(frozen=True)
class Plain(Architecture):
    name = "plain"
    width: int = setting(4, minimum=1, maximum=64, help="its width")

    def layers(self, pictures):
        layer = Layers()
        value = layer.convolution("enter", "input", self.width)
        layer.convolution("exit", layer("silu", "bright", value), pictures.outputs, gain=0.0)
        return layer
"""
WIDTH = '    width: int = setting(4, minimum=1, maximum=64, help="its width")\n'
NO_NETWORK = "for patterns of 64 x 64 pixels it gives no network: "
CASES = {
    "sound": (HEAD, ""),
    "raises": ("raise RuntimeError('not today')", "it cannot be loaded: RuntimeError: not today (site/bad.py:1)"),
    "function": ("def Plain(): pass", "bad:Plain is no class derived from ptycho_core.networks.architecture.Architecture"),
    "abstract": (HEAD.partition("    def layers")[0], "its class lacks layers"),
    "called otherwise": (HEAD.replace('"plain"', '"other"'), "is called 'plain', and its class 'other'"),
    "no dataclass": (HEAD.replace("@dataclass(frozen=True)\n", ""), "its class is no frozen dataclass"),
    "loose field": (HEAD.replace(WIDTH, WIDTH + "    more: int = 3\n"), "its field 'more' is not made with setting(...)"),
    "bad default": (HEAD.replace("setting(4", "setting(99"), "plain_width = 99 must be at least 1 and at most 64"),
    "no job": (HEAD.replace("setting(4,", "setting(4, verbs=('infer',),"), "'plain_width' serves no job that makes a network"),
    "setting of ptycho": (HEAD.replace('"plain"', '"batch"').replace("width", "size"), "'batch_size' would be written as"),
    "name of ptycho": (HEAD.replace('"plain"', '"deep"'), "ptycho itself has a network of that name"),
    "code fails": (HEAD.replace("layer = Layers()", "1 / 0"), "its layers for patterns of 64 x 64 pixels cannot be made: Zero"),
    "no layers": (HEAD.replace("return layer", "return []"), NO_NETWORK),
    "unknown layer": (HEAD.replace('"silu"', '"magic"'), NO_NETWORK + "Layer 'bright' has the operation 'magic'"),
    "wrong channels": (HEAD.replace("pictures.outputs", "3"), NO_NETWORK + "The network's last layer 'exit' gives 3 channels"),
    "no list": (HEAD.replace("return layer", "return 5"), "cannot be made: TypeError"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_network_that_breaks_a_rule_is_left_out_with_the_reason(site, case):
    code, told = CASES[case]
    name = {"setting of ptycho": "batch", "name of ptycho": "deep"}.get(case, "plain")
    site.distribution("bad", code, networks=f"{name} = bad:Plain")
    found = site.reasons()[name]
    assert told in found, found
    assert bool(told) == bool(found)


def test_asking_for_a_network_that_is_left_out_says_why_and_others_serve(site, tmp_path):
    site.distribution("bad", "raise RuntimeError('not today')", networks="broken = bad:Plain")
    site.distribution("good", HEAD, networks="plain = good:Plain")
    listed = site.done("backends", "list").splitlines()
    assert listed[-2:] == ["broken     network  bad 1.0", "plain      network  good 1.0"]
    explain = ("config", "explain", "train", tmp_path, "--backend", "torch", "--json")
    why = "Network 'broken' (bad 1.0) is left out: it cannot be loaded: RuntimeError: not today (site/bad.py:1)."
    assert why in site.refused("train", tmp_path, "-o", tmp_path / "run", "--backend", "torch", "--network", "broken")
    assert why in site.refused("train", tmp_path, "-o", tmp_path / "run", "--backend", "torch", "--broken-width", "3")
    found = json.loads(site.done(*explain, "--network", "plain", "--plain-width", "6"))["settings"]
    assert (found["network"]["value"], found["plain_width"]["value"]) == ("plain", 6)
    assert "plain_width acts only with network plain" in site.refused(*explain, "--plain-width", "6")
    assert "network_width acts only with network compact" in site.refused(*explain, "--network", "plain", "--network-width", "8")


def test_a_network_that_imports_a_framework_is_left_out(site, tmp_path):
    site.distribution("bad", "import torch\n" + HEAD, networks="plain = bad:Plain")
    told = site.refused("train", tmp_path, "-o", tmp_path / "run", "--backend", "torch", "--network", "plain")
    assert "it imports 'torch' when it is loaded; a network is layers as data, and serves each backend" in told
