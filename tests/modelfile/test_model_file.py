"""A model file gives back what was put in, the same bytes for the same content, and is written whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.errors import DataError, OutputError
from ptycho_core.model import Model, TrainingState, load_model, model_file, read_model_manifest, save_model
from ptycho_core.networks import tensor_shapes


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name
        assert (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape), name


def test_what_is_saved_is_read_back(tmp_path, make):
    model = make()
    back = load_model(save_model(tmp_path / "a.ptycho", model))
    assert_same(back.weights, model.weights)
    assert_same(back.physics, model.physics)
    for name in ("network", "facts", "scaling", "settings", "producer", "untrained"):
        assert getattr(back, name) == json.loads(json.dumps(getattr(model, name))), name
    assert list(back.history) == list(model.history)
    assert back.training is None
    assert (back.size, back.gridsize) == (32, 2)


def test_the_weights_are_those_of_the_description_and_may_be_written_to(file):
    back = load_model(file)
    assert {name: array.shape for name, array in back.weights.items()} == dict(tensor_shapes(back.network))
    for array in (*back.weights.values(), *back.physics.values()):
        array += 1


def test_a_training_state_is_read_back_only_when_asked_for(tmp_path, make, state):
    path = save_model(tmp_path / "last.ptycho", make(training=state))
    assert load_model(path).training is None
    back = load_model(path, training=True).training
    assert_same(back.arrays, state.arrays)
    assert back.state == state.state


def test_a_checkpoint_is_the_model_file_plus_the_training_folder(tmp_path, make, state, tamper):
    plain = tamper.members_of(save_model(tmp_path / "a.ptycho", make()))
    more = tamper.members_of(save_model(tmp_path / "b.ptycho", make(training=state)))
    assert set(more) - set(plain) == {"training/state.json", "training/optimizer.safetensors"}
    assert more["weights.safetensors"] == plain["weights.safetensors"]


def test_the_same_content_gives_the_same_bytes_in_whatever_order_and_memory_layout_it_comes(tmp_path, make, state):
    one = make(training=state)
    other = make(
        weights={name: np.asarray(array, order="F") for name, array in reversed(one.weights.items())},
        physics={name: array.astype(array.dtype.newbyteorder(">")) for name, array in reversed(one.physics.items())},
        facts=dict(reversed(one.facts.items())),
        training=TrainingState(dict(reversed(state.arrays.items())), dict(reversed(state.state.items()))),
    )
    first, second = save_model(tmp_path / "a.ptycho", one), save_model(tmp_path / "elsewhere.ptycho", other)
    assert first.read_bytes() == second.read_bytes()
    assert save_model(tmp_path / "c.ptycho", load_model(first, training=True)).read_bytes() == first.read_bytes()


def test_arrays_that_do_not_lie_rows_first_keep_their_values(tmp_path, make):
    model = make()
    probe = np.asfortranarray(model.physics["probe"].transpose(0, 1, 3, 2))[..., ::-1]
    model = replace(model, physics={**model.physics, "probe": probe})
    assert np.array_equal(load_model(save_model(tmp_path / "a.ptycho", model)).physics["probe"], probe)


def test_other_content_gives_other_bytes(tmp_path, make, file):
    weights = dict(make().weights)
    name = next(iter(weights))
    weights[name] = weights[name] + np.float32(1e-3)
    assert save_model(tmp_path / "b.ptycho", make(weights=weights)).read_bytes() != file.read_bytes()


def test_several_scans_have_a_probe_and_a_scale_each(tmp_path, make):
    probe = np.ones((3, 2, 32, 32), np.complex64) * np.arange(1, 4, dtype=np.float32)[:, None, None, None]
    physics = {"probe": probe, "log_scale": np.arange(3, dtype=np.float32)}
    assert_same(load_model(save_model(tmp_path / "a.ptycho", make(physics=physics))).physics, physics)


def test_a_history_row_that_is_not_finite_is_stored_as_null(tmp_path, make):
    path = save_model(
        tmp_path / "a.ptycho", make(history=[{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": np.float32(0.5)}])
    )
    assert list(load_model(path).history) == [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.5}]


def test_the_manifest_is_read_without_the_weights(file, tamper):
    members = tamper.members_of(file)
    broken = bytearray(members["weights.safetensors"])
    broken[-1] ^= 1
    tamper.rewrite(file, members | {"weights.safetensors": bytes(broken)}, hashed=False)
    assert read_model_manifest(file)["facts"]["gridsize"] == 2
    with pytest.raises(DataError, match=r"weights\.safetensors.*was changed"):
        load_model(file)


def test_a_run_folder_stands_for_its_best_model(tmp_path, make, file):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(DataError, match=r"run has no best\.ptycho.*Give a model file or the folder"):
        load_model(run)
    state = TrainingState({"step": np.zeros(1)}, {})
    save_model(run / "last.ptycho", make(scaling={"mean_counts": 2.0}, training=state))
    with pytest.raises(DataError, match=r"There is .*last\.ptycho; give that file itself"):
        load_model(run)
    save_model(run / "last.ptycho", make(scaling={"mean_counts": 2.0}))  # what a run without checkpoints leaves
    assert load_model(run).scaling == {"mean_counts": 2.0}
    save_model(run / "best.ptycho", make(scaling={"mean_counts": 3.0}))
    assert model_file(run) == run / "best.ptycho"
    assert load_model(run).scaling == read_model_manifest(run)["scaling"] == {"mean_counts": 3.0}
    assert model_file(file) == file


def test_nothing_is_written_beside_the_file(tmp_path, file):
    load_model(file)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ptycho"]


def changed(model, part, name, array):
    return replace(model, **{part: {**getattr(model, part), name: array}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: replace(m, weights=dict(list(m.weights.items())[1:])), r"tensor 'network\.{first}' is missing"),
        (lambda m: changed(m, "weights", "more", np.zeros(3, np.float32)), r"tensor 'network\.more', float32 \(3,\), is extra"),
        (
            lambda m: changed(m, "weights", next(iter(m.weights)), np.zeros((9, 9), np.float32)),
            r"is float32 \(9, 9\); the network's",
        ),
        (
            lambda m: changed(m, "physics", "probe", np.ones((1, 2, 32, 16), np.complex64)),
            r"complex64 \(1, 2, 32, 16\); the physics",
        ),
        (lambda m: changed(m, "physics", "probe", np.ones((1, 1, 32, 32), np.complex64)), r"asks for complex64 \(1, 2, 32, 32\)"),
        (lambda m: changed(m, "physics", "probe", np.ones((1, 2, 32, 32))), "is float64"),
        (lambda m: changed(m, "physics", "log_scale", np.zeros(2, np.float32)), r"'physics\.log_scale' is float32 \(2,\)"),
        (lambda m: changed(m, "physics", "log_scale", np.array([np.inf], np.float32)), "1 value.s. that are not finite"),
        (lambda m: changed(m, "physics", "other", np.array(["text"])), "tensor 'physics.other' is of type"),
        (lambda m: replace(m, facts={"size": 32, "gridsize": 2}), "the fact 'modes' must be a whole number"),
        (
            lambda m: replace(m, facts={**m.facts, "merge": ["batch"]}),
            "'merge' in 'facts' must be a number, a truth, text or null",
        ),
        (lambda m: replace(m, scaling={"mean_counts": float("inf")}), r"scaling\['mean_counts'\] is inf"),
        (lambda m: replace(m, scaling={"mean_counts": True}), "'mean_counts' in 'scaling' must be a number"),
        (lambda m: replace(m, producer={"ptycho-core": 1}), "'ptycho-core' in 'producer' must be text"),
        (lambda m: replace(m, settings={"a": object()}), r"settings\['a'\] is of type object"),
        (lambda m: replace(m, settings={1: "one"}), "has the name 1; only text"),
        (lambda m: replace(m, settings={"a\nb": "one"}), r"has the name 'a\\nb'; only text"),
        (lambda m: replace(m, training=TrainingState({"m": np.array([np.nan])}, {})), "training: tensor 'm'"),
        (lambda m: replace(m, training=TrainingState({}, {"best": float("nan")})), r"training state\['best'\] is nan"),
    ],
)
def test_a_model_that_is_not_in_order_is_not_written_and_the_file_before_it_stays(make, file, change, words):
    before = file.read_bytes()
    model = make()
    with pytest.raises(DataError, match=words.replace("{first}", next(iter(model.weights)).replace(".", r"\."))) as caught:
        save_model(file, change(model))
    assert str(file) in str(caught.value)
    assert file.read_bytes() == before
    assert len(list(file.parent.iterdir())) == 1


def test_a_weight_that_is_not_a_number_is_named_and_keeps_the_last_good_file(make, file):
    before = file.read_bytes()
    weights = {name: array.copy() for name, array in make().weights.items()}
    last = list(weights)[-1]
    weights[last].reshape(-1)[0] = np.nan
    with pytest.raises(DataError, match=f"'network.{last}' of shape .* holds 1 value"):
        save_model(file, make(weights=weights))
    assert file.read_bytes() == before


def test_what_no_reader_would_accept_for_its_size_is_not_written(make, file):
    before = file.read_bytes()
    with pytest.raises(DataError, match=r"'manifest\.json' of a model file would have .* bytes; at most 67108864 are read"):
        save_model(file, make(producer={"note": "x" * (64 << 20)}))
    assert file.read_bytes() == before


FULL = """
import resource, signal, sys
from dataclasses import replace
from ptycho_core.errors import OutputError
from ptycho_core.model import load_model, save_model
path, limit = sys.argv[1], int(sys.argv[2])
model = load_model(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    save_model(path, replace(model, scaling={"mean_counts": 7.0}))
except OutputError as error:
    print("OutputError", error)
"""


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_disk_that_is_full_half_way_leaves_the_file_before_it_whole(file, share):
    before = file.read_bytes()
    limit = str(int(len(before) * share))
    done = subprocess.run([sys.executable, "-c", FULL, str(file), limit], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"OutputError Cannot write {file}"), done.stderr
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_said(make, tmp_path):
    with pytest.raises(OutputError, match="Cannot write"):
        save_model(tmp_path / "none" / "a.ptycho", make())


def test_the_archive_is_stored_without_times(file):
    with zipfile.ZipFile(file) as archive:
        assert len(archive.infolist()) >= 2
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)


def test_a_model_is_made_of_plain_parts(make):
    assert isinstance(make(), Model)
    with pytest.raises(AttributeError):
        make().facts = {}
