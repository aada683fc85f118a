"""Each way in which a model file can be wrong is refused with a sentence that names the file, the part, and both sides."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load, save

from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.model import load_model, read_model_manifest, save_model
from ptycho_core.modelfile.manifest import VERSION

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
STATE, OPTIMIZER = "training/state.json", "training/optimizer.safetensors"

UNTRAINED = {
    "scans": ["a.npz"], "frames": 9, "compared_with": "labels", "network": 0.1, "same_steps": None, "untrained": 0.2, "steps": 7,
    "better": True,
}  # fmt: skip
"""What a network is worth next to the untrained pass, as a model file keeps it."""


def refused(path, words, *, training=False, by=load_model):
    with pytest.raises(DataError, match=words) as caught:
        by(path) if by is not load_model else load_model(path, training=training)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def checkpoint(tmp_path, make, state):
    return save_model(tmp_path / "last.ptycho", make(training=state))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "a.ptycho"
    for content in (b"", b"PK", b"\x89HDF\r\n", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        refused(path, "no ptycho model file: it is not a zip archive")


def test_a_missing_file_and_one_that_is_no_plain_file_are_refused(tmp_path):
    refused(tmp_path / "none.ptycho", "There is no file")
    with pytest.raises(DataError, match="/dev/null is no plain file"):
        load_model("/dev/null")


def test_a_truncated_file_is_refused_wherever_it_ends(file):
    whole = file.read_bytes()
    for length in range(4, len(whole), max(1, len(whole) // 97)):
        file.write_bytes(whole[:length])
        refused(file, "cut off or damaged")
    file.write_bytes(whole)
    load_model(file)


def same(one, other):
    arrays = [{**model.weights, **model.physics} for model in (one, other)]
    if one.training is not None:
        arrays = [{**held, **model.training.arrays} for held, model in zip(arrays, (one, other), strict=True)]
        assert one.training.state == other.training.state
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    names = ("network", "facts", "scaling", "settings", "producer", "history")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def test_a_byte_changed_anywhere_is_refused_or_changes_nothing_of_the_content(checkpoint):
    whole = checkpoint.read_bytes()
    good = load_model(checkpoint, training=True)
    directory = whole.rindex(b"PK\x01\x02", 0, len(whole))
    rng = np.random.default_rng(0)
    places = {*rng.integers(0, len(whole), 250).tolist(), *range(50), *range(directory, len(whole), 2)}
    refusals = 0
    for place in sorted(places):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        checkpoint.write_bytes(changed)
        try:
            found = load_model(checkpoint, training=True)
        except DataError:
            refusals += 1
        else:
            assert same(found, good), f"byte {place} changed the content unseen"
    assert 250 < refusals <= len(places)


@pytest.mark.parametrize("content", [b"one", b"x" * 100])
def test_a_member_that_was_changed_does_not_match_its_hash(checkpoint, tamper, content):
    for name in (WEIGHTS, STATE, OPTIMIZER):
        members = tamper.members_of(checkpoint)
        damaged = checkpoint.with_name(f"b-{name.replace('/', '-')}")
        tamper.rewrite(damaged, members | {name: members[name] + content}, hashed=False)
        told = refused(
            damaged, f"member '{name}' was changed: its sha256 is [0-9a-f]+, the manifest says [0-9a-f]+", training=True
        )
        assert hashlib.sha256(members[name]).hexdigest() in told


def test_a_manifest_that_was_changed_does_not_match_the_seal(file, tamper):
    def change(manifest):
        manifest["scaling"]["mean_counts"] = 1.0

    members = tamper.members_of(file)
    with zipfile.ZipFile(file) as archive:
        comment = archive.comment
    tamper.edit_manifest(file, change)
    assert load_model(file).scaling == {"mean_counts": 1.0}
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = comment
    told = refused(file, "manifest.json was changed", by=read_model_manifest)
    assert hashlib.sha256(members[MANIFEST]).hexdigest() in told


def test_a_manifest_without_seal_is_refused(file, tamper):
    tamper.edit_manifest(file, lambda manifest: None, sealed=False)
    refused(file, "is cut off or damaged: its comment ends after '', it should be 'ptycho model, manifest sha256 ")


def test_a_foreign_archive_is_named_with_what_it_holds(tmp_path):
    np.savez(tmp_path / "scan.npz", intensity=np.zeros((2, 4, 4)), positions_px=np.zeros((2, 2)))
    refused(tmp_path / "scan.npz", r"zip archive but no ptycho model: it has no manifest.json; it holds 'intensity.npy'")
    with zipfile.ZipFile(tmp_path / "torch.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": 1}))
    refused(tmp_path / "torch.pt", "'archive/data.pkl'")
    with zipfile.ZipFile(tmp_path / "empty.ptycho", "w"):
        pass
    refused(tmp_path / "empty.ptycho", "it holds nothing")


class Loud:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_is_unpickled_even_where_a_member_asks_for_it(file, tamper, capsys):
    members = tamper.members_of(file)
    tamper.rewrite(file, members | {WEIGHTS: pickle.dumps(Loud())})
    refused(file, "weights.safetensors")
    tamper.rewrite(file, members, extra=[("data.pkl", pickle.dumps(Loud()))])
    refused(file, "member 'data.pkl' does not belong in a model file; known are manifest.json, weights.safetensors")
    assert capsys.readouterr().out == ""


def test_reading_imports_no_unpickler_of_arrays_or_frameworks(file):
    code = (
        "import sys, numpy, numpy.lib.format\n"
        "def never(*a, **k): raise AssertionError('an unpickler or an extraction was called')\n"
        "import pickle, zipfile\n"
        "pickle.load = pickle.loads = pickle.Unpickler = numpy.load = never\n"
        "zipfile.ZipFile.extract = zipfile.ZipFile.extractall = zipfile.ZipFile._extract_member = never\n"
        "from ptycho_core.model import load_model\n"
        "load_model(sys.argv[1])\n"
        "assert not {'torch', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n", done.stderr


def test_a_foreign_manifest_is_refused(file, tamper):
    tamper.edit_manifest(file, lambda manifest: manifest.update(format="other"))
    refused(file, "manifest.json: the field 'format' is 'other', not 'ptycho model'")


@pytest.mark.parametrize("version", [VERSION + 1, 10**6])
def test_a_newer_version_is_told_before_anything_else_that_may_differ(file, tamper, version):
    def change(manifest):
        manifest.update(version=version, more={}, network={"kind": "from the future"})
        del manifest["facts"]

    tamper.edit_manifest(file, change, sealed=False, extra=[("more.bin", b"")])
    for by in (load_model, read_model_manifest):
        refused(file, f"is of version {version}; this ptycho reads up to version {VERSION}. Update ptycho-core", by=by)


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", None, True])
def test_a_version_that_is_none_is_refused(file, tamper, version):
    tamper.edit_manifest(file, lambda manifest: manifest.update(version=version))
    refused(file, "the field 'version' is .* a whole number from 1 is expected")


@pytest.mark.parametrize(
    "name", ["network", "tensors", "facts", "scaling", "settings", "producer", "history", "untrained", "hashes"]
)
def test_a_manifest_that_lacks_a_field_or_has_one_of_another_type_is_refused(file, tamper, name):
    members = tamper.members_of(file)
    tamper.edit_manifest(file, lambda manifest: manifest.pop(name), hashed=False)
    refused(file, f"manifest.json lacks the field '{name}'; it has ", by=read_model_manifest)
    tamper.rewrite(file, members)
    tamper.edit_manifest(file, lambda manifest: manifest.update({name: "text"}), hashed=False)
    refused(file, f"manifest.json: the field '{name}' must be an? .* it is 'text'", by=read_model_manifest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": 1}, f"has the field 'more', which version {VERSION} does not know"),
        ({"facts": {"size": 32, "gridsize": "two", "modes": 2}}, "fact 'gridsize' must be a whole number from 1; it is 'two'"),
        ({"facts": {"size": 32.0, "gridsize": 2, "modes": 2}}, "fact 'size' must be a whole number from 1; it is 32.0"),
        ({"facts": {"size": 32, "gridsize": 2}}, "fact 'modes' must be a whole number from 1; it is None"),
        ({"facts": {"size": 32, "gridsize": 2, "modes": 3}}, r"'physics.probe' is complex64 \(1, 2, 32, 32\);.*\(1, 3, 32, 32\)"),
        ({"facts": {"size": 64, "gridsize": 2, "modes": 2}}, "the network's 'size' is 32, the fact 'size' is 64"),
        ({"facts": {"size": 32, "gridsize": 2, "modes": 2, "merge": {}}}, "'merge' in 'facts' must be"),
        ({"scaling": {"mean_counts": "many"}}, "'mean_counts' in 'scaling' must be a number; it is 'many'"),
        ({"producer": {"a": None}}, "'a' in 'producer' must be text"),
        ({"untrained": {"network": 0.5}}, "'better' in 'untrained' is None; that is no figure of version 2"),
        ({"untrained": UNTRAINED | {"steps": 7.5}}, "'steps' in 'untrained' is 7.5"),
        ({"untrained": UNTRAINED | {"more": 1}}, "'more' in 'untrained' is 1"),
        ({"untrained": UNTRAINED | {"scans": ["a", 2]}}, r"'scans' in 'untrained' is \['a', 2\]; a list of text is expected"),
        ({"history": [{"epoch": 1}, 2]}, "row 1 of 'history' must be an object; it is 2"),
        ({"network": {}}, "manifest.json: the network cannot be built: "),
        ({"network": {"size": 48}}, "the network's 'size' is 48, the fact 'size' is 32"),
        ({"network": {"gridsize": 1}}, "the network's 'gridsize' is 1, the fact 'gridsize' is 2"),
        ({"network": {"layers": []}}, "manifest.json: the network cannot be built: "),
        (
            {"network": {"input_channels": 1, "layers": [{"name": "a", "op": "silu", "from": [[]]}]}},
            "the network cannot be built",
        ),
        ({"tensors": {}}, r"tensor 'network\..*' is missing; the network's description asks for float32"),
        ({"tensors": {"network.a": [3]}}, r"tensor 'network.a' is described as \[3\]; a type and a shape are expected"),
        ({"tensors": {"network.a": {"dtype": "object", "shape": [3]}}}, "tensor 'network.a' is described as"),
        ({"tensors": {"network.a": {"dtype": "float32", "shape": [-3]}}}, "tensor 'network.a' is described as"),
        ({"tensors": {"network.a": {"dtype": "float32", "shape": [3, 1.5]}}}, "tensor 'network.a' is described as"),
        ({"tensors": {"network.a": {"dtype": "float32", "shape": [10**30]}}}, "tensor 'network.a' is described as"),
        ({"hashes": {}}, "member 'weights.safetensors' is in the file, but 'hashes' does not list it"),
        ({"hashes": {WEIGHTS: "abc"}}, "'hashes' gives 'abc' for 'weights.safetensors', which is no sha256"),
        ({"hashes": {WEIGHTS: 5}}, "'hashes' gives 5"),
        ({"hashes": {WEIGHTS: "0" * 64, STATE: "0" * 64}}, "lists the member 'training/state.json', which is missing"),
    ],
)
def test_a_manifest_with_wrong_contents_is_refused_without_reading_the_weights(file, tamper, change, words):
    tamper.edit_manifest(file, lambda manifest: manifest.update(change), hashed=False)
    refused(file, words, by=read_model_manifest)
    refused(file, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[1]", "is not a JSON object but a list"),
        (b'{"format": NaN}', "NaN is not a number of JSON"),
        (b'{"a": 1e999}', "1e999 is beyond all numbers"),
        (b'{"a": 1, "a": 2}', "the name 'a' stands twice"),
        (b'{"a": {"\\u001b[2J": 2}}', r"the name '\\x1b\[2J' cannot be printed"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"{}", "the field 'format' is None"),
    ],
)
def test_a_manifest_that_is_not_json_is_refused(file, tamper, text, words):
    tamper.rewrite(file, tamper.members_of(file) | {MANIFEST: text}, hashed=False)
    refused(file, f"manifest.json.*{words}", by=read_model_manifest)


def edit_tensors(tamper, path, change, member=WEIGHTS):
    members = tamper.members_of(path)
    tensors = {name: array.copy() for name, array in load(members[member]).items()}
    change(tensors)
    tamper.rewrite(path, members | {member: save(tensors)})


def some_name(path):
    return next(name for name in load_model(path).weights)


def test_a_missing_tensor_is_named(file, tamper):
    name = some_name(file)
    edit_tensors(tamper, file, lambda tensors: tensors.pop(f"network.{name}"))
    refused(file, f"weights.safetensors.*(tensor 'network.{name}'.* missing|has .* bytes; the shapes of its tensors need)")
    members = tamper.members_of(file)
    tensors = load(members[WEIGHTS]) | {"long": np.zeros(10**5, np.float32)}
    tamper.rewrite(file, members | {WEIGHTS: save(tensors)})
    refused(file, f"tensor 'network.{name}', float32 .*, is in the manifest but missing here")


def test_an_extra_tensor_is_named(file, tamper):
    edit_tensors(tamper, file, lambda tensors: tensors.update(more=np.zeros(3, np.float32)))
    refused(file, "weights.safetensors: tensor 'more' is extra: the manifest has none of that name")


def test_a_misshapen_tensor_is_named_with_both_shapes(file, tamper):
    edit_tensors(tamper, file, lambda tensors: tensors.update({"physics.log_scale": np.zeros((1, 1), np.float32)}))
    refused(file, r"tensor 'physics.log_scale' has shape \[1, 1\] here, the manifest asks for \[1\]")
    name = f"network.{some_name_in(tamper, file)}"

    def reshape(manifest):
        manifest["tensors"][name]["shape"] = [7, 7]

    tamper.edit_manifest(file, reshape)
    refused(file, rf"tensor '{name}' is float32 \(7, 7\); the network's description asks for float32", by=read_model_manifest)


def some_name_in(tamper, path):
    names = json.loads(tamper.members_of(path)[MANIFEST])["tensors"]
    return next(name.removeprefix("network.") for name in names if name.startswith("network."))


def test_a_tensor_of_another_type_is_named_with_both_types(file, tamper):
    edit_tensors(tamper, file, lambda tensors: tensors.update({"physics.log_scale": np.zeros(1, np.float64)}))
    refused(file, "tensor 'physics.log_scale' has type F64 here, the manifest asks for F32")

    def retype(manifest):
        manifest["tensors"]["physics.log_scale"]["dtype"] = "float64"

    tamper.edit_manifest(file, retype)
    refused(file, r"tensor 'physics.log_scale' is float64 \(1,\); the physics of the model asks for float32 \(1,\)")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["network", "physics.probe", "physics.log_scale"])
def test_a_tensor_that_is_not_finite_is_named(file, tamper, name, value):
    full = f"network.{some_name(file)}" if name == "network" else name

    def spoil(tensors):
        tensors[full].reshape(-1)[0] = value

    edit_tensors(tamper, file, spoil)
    refused(file, rf"weights.safetensors: tensor '{full}' of shape .* holds 1 value\(s\) that are not finite")


def test_weights_that_are_no_safetensors_are_refused(file, tamper):
    members = tamper.members_of(file)
    whole = members[WEIGHTS]
    length = struct.unpack("<Q", whole[:8])[0]
    body = b"\0" * (len(whole) - 8)
    for content, words in [
        (b"short", "the shapes of its tensors need"),
        (struct.pack("<Q", 2**63) + body, "header declares 9223372036854775808 bytes"),
        (struct.pack("<Q", length) + body, "the header is not JSON"),
        (whole + b"more", r"has \d+ bytes; its header and the shapes of its tensors make \d+"),
        (whole.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1), "is damaged"),
    ]:
        tamper.rewrite(file, members | {WEIGHTS: content})
        refused(file, words)


def test_the_training_folder_is_ignored_without_a_wish_and_checked_with_one(checkpoint, tamper):
    def spoil(tensors):
        tensors["moment"][0] = np.nan

    edit_tensors(tamper, checkpoint, spoil, OPTIMIZER)
    assert load_model(checkpoint).training is None
    refused(checkpoint, r"training/optimizer.safetensors: tensor 'moment' of shape \(3, 4\) holds 4 value", training=True)
    edit_tensors(tamper, checkpoint, lambda tensors: tensors.update(moment=np.zeros((4, 3))), OPTIMIZER)
    refused(checkpoint, r"tensor 'moment' has shape \[4, 3\] here, the manifest asks for \[3, 4\]", training=True)
    for text, words in [(b"{}", "state.json lacks the object 'arrays'; it has nothing"), (b"nothing", "state.json is not JSON")]:
        tamper.rewrite(checkpoint, tamper.members_of(checkpoint) | {STATE: text})
        refused(checkpoint, words, training=True)
        load_model(checkpoint)


def test_a_model_without_training_state_is_no_checkpoint(file):
    refused(file, "holds a model but no training state.*Give a checkpoint, such as last.ptycho", training=True)


@pytest.mark.parametrize(("gone", "left"), [(STATE, OPTIMIZER), (OPTIMIZER, STATE)])
def test_half_a_training_folder_is_refused(checkpoint, tamper, gone, left):
    members = tamper.members_of(checkpoint)
    del members[gone]
    tamper.rewrite(checkpoint, members)
    refused(checkpoint, f"has '{left}' but no '{gone}'; a checkpoint has both")


def test_a_file_without_weights_is_refused(file, tamper):
    members = tamper.members_of(file)
    del members[WEIGHTS]
    tamper.rewrite(file, members)
    refused(file, "has no member 'weights.safetensors'; it holds manifest.json")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "training/../../evil", "..\\evil", "C:\\evil"])
def test_a_member_with_a_path_out_of_the_archive_is_refused_and_nothing_is_written(file, tamper, name):
    tamper.rewrite(file, tamper.members_of(file), extra=[(name, b"evil")])
    message = refused(file, "has a path that leaves the archive")
    assert f"member {name!r}" in message
    assert [path.name for path in file.parent.iterdir()] == ["a.ptycho"]
    assert not list(file.parent.parent.rglob("evil"))


@pytest.mark.parametrize("name", ["notes.txt", "training/", "manifest.json/x", "Weights.safetensors"])
def test_a_member_that_does_not_belong_is_refused(file, tamper, name):
    tamper.rewrite(file, tamper.members_of(file), extra=[(name, b"")])
    refused(file, f"member '{name}' does not belong in a model file; known are manifest.json, weights.safetensors")


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_a_member_that_is_there_twice_is_refused(file, tamper, name):
    members = tamper.members_of(file)
    with pytest.warns(UserWarning, match="Duplicate name"):
        tamper.rewrite(file, members, extra=[(name, members[name])])
    refused(file, f"member '{name}' is there 2 times", by=read_model_manifest)


def patch_directory(path, name, offset, value):
    """Overwrite a field of a member's entry in the archive's directory (APPNOTE.TXT 4.3.12)."""
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    assert data[entry + 46 : entry + 46 + len(name)] == name.encode()
    data[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_an_encrypted_member_is_refused(file, name):
    patch_directory(file, name, 8, b"\x01\x00")
    refused(file, f"member '{name}' is encrypted", by=read_model_manifest)


def test_a_compressed_member_is_refused_before_it_is_unpacked(file, tamper):
    members = tamper.members_of(file)
    tamper.rewrite(file, members | {WEIGHTS: b"\0" * 10**7}, method=zipfile.ZIP_DEFLATED)
    refused(file, r"is compressed \(\d+ for \d+ bytes\); a model file is stored")


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_a_declared_size_beyond_the_file_is_refused_before_it_is_read(file, name):
    patch_directory(file, name, 20, struct.pack("<LL", 3 << 30, 3 << 30))
    refused(file, rf"member '{name}' declares {3 << 30} bytes; at most \d+ are possible", by=read_model_manifest)


def test_a_manifest_beyond_its_bound_is_refused(file, tamper):
    tamper.rewrite(file, tamper.members_of(file) | {MANIFEST: b" " * ((64 << 20) + 1)}, hashed=False)
    refused(file, f"member 'manifest.json' declares {(64 << 20) + 1} bytes; at most {64 << 20}")


def test_another_archive_put_after_a_model_file_is_not_taken_for_it(file):
    whole = file.read_bytes()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("note.txt", b"text")
    file.write_bytes(whole + other.getvalue())
    refused(file, "it has no manifest.json; it holds 'note.txt'")


def test_every_refusal_is_exit_status_5_at_the_command_line(file, tamper, capsys):
    tamper.edit_manifest(file, lambda manifest: manifest.update(version=VERSION + 1))
    assert main(["model", "inspect", str(file)]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ptycho: {file}: manifest.json: the file is of version {VERSION + 1}")
    assert main(["model", "inspect", str(file.parent)]) == 5
    assert "has no best.ptycho" in capsys.readouterr().err


def test_a_file_of_the_first_version_is_read_and_what_it_lacks_is_empty(file, tamper):
    def change(manifest):
        manifest.update(version=1)
        del manifest["untrained"]

    tamper.edit_manifest(file, change)
    assert load_model(file).untrained == {}
    tamper.edit_manifest(file, lambda manifest: manifest.update(untrained={}))
    refused(file, "has the field 'untrained', which version 1 does not know")
