"""Which frames teach and which judge, true objects on the canvas, and what is refused."""

import numpy as np
import pytest

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import Reconstruction
from ptycho_core.settings.model import ModelSettings
from ptycho_core.settings.numbers import numbered
from ptycho_core.settings.training import TrainingSettings
from ptycho_core.training.data import training_data as decided
from ptycho_core.training.epoch import epoch_batches, validation_batches

FRAMES, SIZE = 60, 32


@pytest.fixture
def make(tmp_path):
    """Write a scan with a true object, and give its path."""

    def write(name="scan.npz", frames=FRAMES, size=SIZE, offset=(0.0, 0.0), **changes):
        random = np.random.default_rng(frames + size)
        positions = random.uniform(3, 60, (frames, 2))
        truth = random.standard_normal((100, 110)) + 1j * random.standard_normal((100, 110))
        values = {
            "intensity": np.ones((frames, size, size), np.uint16),
            "positions_px": positions + np.array(offset),
            "probe_guess": np.ones((size, size), np.complex64),
            "object_true": truth.astype(np.complex64),
        } | changes
        np.savez(tmp_path / name, **{key: value for key, value in values.items() if value is not None})
        return tmp_path / name

    return write


def job(*scans, validation=(), seed=0, model=None, **training):
    groups = {
        "data": {},
        "model": vars(ModelSettings()) | (model or {}),
        "training": vars(TrainingSettings()) | training,
        "execution": {"seed": seed},
    }
    return scans, numbered("train", groups), validation


def training_data(given):
    """Of files: (scans, settings, validation)."""
    scans, groups, validation = given
    opened, judging = ([open_scan(path, groups["data"]) for path in paths] for paths in (scans, validation))
    return decided(opened, groups, judging)


SUPERVISED = {"model_type": "supervised"}


def test_without_settings_every_frame_teaches_and_none_judges(make):
    data = training_data(job(make()))
    (one,) = data.scans
    assert data.size == SIZE
    assert one.train.tolist() == list(range(FRAMES))
    assert len(one.validation) == 0
    assert one.labels is None


def test_positions_and_shape_are_those_of_the_smallest_canvas(make):
    (one,) = training_data(job(make())).scans
    windows = np.floor(one.positions).astype(int)
    assert windows.min(axis=0).tolist() == [0, 0]
    assert (windows.max(axis=0) + SIZE).tolist() == list(one.shape)


def test_scans_that_judge_come_after_those_that_teach(make):
    first, second = make("a.npz"), make("b.npz", frames=20)
    data = training_data(job(first, validation=[second]))
    assert [len(one.train) for one in data.scans] == [FRAMES, 0]
    assert [len(one.validation) for one in data.scans] == [0, 20]
    asked = {"gridsize": 2, "batch_size": 8, "merge": "batch"}
    assert {batch.scan for batch in epoch_batches(data.training_parts(), **asked, seed=0, epoch=1)} == {0}
    assert {batch.scan for batch in validation_batches(data.validation_parts(), **asked)} == {1}


def test_a_subsample_has_its_size_and_follows_its_own_seed(make):
    path = make()
    (one,) = training_data(job(path, n_subsample=20)).scans
    assert len(set(one.train.tolist())) == 20
    assert one.train.tolist() == sorted(one.train.tolist())

    def drawn(**given):
        return training_data(job(path, n_subsample=20, **given)).scans[0].train.tolist()

    assert drawn() == one.train.tolist()
    assert drawn(seed=1) != drawn()
    assert drawn(seed=1, subsample_seed=0) == drawn()


def test_a_sequential_subsample_is_the_first_frames_of_each_scan(make):
    data = training_data(job(make("a.npz"), make("b.npz"), n_subsample=20, sequential_sampling=True))
    assert [one.train.tolist() for one in data.scans] == 2 * [list(range(20))]


def test_scans_of_a_job_have_subsamples_of_their_own(make):
    data = training_data(job(make("a.npz"), make("b.npz"), n_subsample=20))
    assert data.scans[0].train.tolist() != data.scans[1].train.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_the_part_that_judges_is_a_region_at_the_edge(make, seed):
    (one,) = training_data(job(make(), seed=seed, validation_split=0.2)).scans
    assert len(one.validation) == 12
    assert sorted([*one.train.tolist(), *one.validation.tolist()]) == list(range(FRAMES))
    centre = one.positions[one.validation].mean(axis=0) - one.positions[one.train].mean(axis=0)
    directions = np.stack([np.cos(np.linspace(0, 2 * np.pi, 721)), np.sin(np.linspace(0, 2 * np.pi, 721))])
    assert np.linalg.norm(centre) > 5
    # Some straight line has all that teach on one side and all that judge on the other.
    gaps = (one.positions[one.validation] @ directions).min(axis=0) - (one.positions[one.train] @ directions).max(axis=0)
    assert gaps.max() > -0.3


def test_the_part_that_judges_changes_with_the_seed_and_holds_one_frame_at_least(make):
    path = make()
    parts = [training_data(job(path, seed=seed, validation_split=0.2)).scans[0].validation.tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    assert len(training_data(job(path, validation_split=0.001)).scans[0].validation) == 1


def test_subsample_and_split_go_together(make):
    (one,) = training_data(job(make(), n_subsample=20, validation_split=0.25)).scans
    assert (len(one.train), len(one.validation)) == (15, 5)
    assert set(one.train.tolist()).isdisjoint(one.validation.tolist())


def windows_of(one, frame):
    row, column = np.floor(one.positions[frame]).astype(int)
    return one.labels[row : row + SIZE, column : column + SIZE]


def test_the_true_object_of_the_scan_lies_where_its_windows_are(make):
    path = make()
    (one,) = training_data(job(path, model=SUPERVISED)).scans
    assert one.labels.dtype == np.complex64
    assert one.labels.shape == one.shape
    with np.load(path) as stored:
        for frame in (0, 17, 59):
            row, column = np.floor(stored["positions_px"][frame]).astype(int)
            np.testing.assert_array_equal(windows_of(one, frame), stored["object_true"][row : row + SIZE, column : column + SIZE])


def test_a_weight_for_the_object_asks_for_labels_too(make):
    assert training_data(job(make(), realspace_weight=0.5)).scans[0].labels is not None


def test_validation_scans_have_labels_of_their_own(make):
    first, second = make("a.npz"), make("b.npz", frames=20)
    data = training_data(job(first, validation=[second], model=SUPERVISED))
    assert all(one.labels.shape == one.shape for one in data.scans)


def test_the_object_in_the_layout_of_ptychopinn_is_indexed_by_its_coordinates(make, tmp_path):
    with np.load(make()) as plain:
        values = dict(plain)
    path = tmp_path / "pinn.npz"
    np.savez(
        path,
        diffraction=np.sqrt(values["intensity"]).astype(np.float32),
        xcoords=values["positions_px"][:, 1] + SIZE // 2,
        ycoords=values["positions_px"][:, 0] + SIZE // 2,
        probeGuess=values["probe_guess"],
        objectGuess=values["object_true"],
    )
    (one,) = training_data(job(path, model=SUPERVISED)).scans
    (same,) = training_data(job(tmp_path / "scan.npz", model=SUPERVISED)).scans
    np.testing.assert_array_equal(one.labels, same.labels)


def test_a_guess_in_the_plain_layout_serves_where_there_is_no_true_object(make):
    (same,) = training_data(job(make("a.npz"), model=SUPERVISED)).scans
    with np.load(make("b.npz")) as stored:
        truth = stored["object_true"]
    (one,) = training_data(job(make("b.npz", object_true=None, object_guess=truth), model=SUPERVISED)).scans
    np.testing.assert_array_equal(one.labels, same.labels)


def test_labels_from_a_result_lie_by_its_origin(make, tmp_path):
    path = make(offset=(-20.0, 7.0))
    with np.load(path) as stored:
        positions, truth = stored["positions_px"], stored["object_true"]
    result = Reconstruction(truth, np.ones((1, SIZE, SIZE), complex), positions - [-20, 7], origin=np.array([-20.0, 7.0]))
    (one,) = training_data(job(path, labels=str(result.save(tmp_path / "r.h5")), model=SUPERVISED)).scans
    row, column = np.floor(positions[5] - [-20, 7]).astype(int)
    np.testing.assert_array_equal(windows_of(one, 5), truth[row : row + SIZE, column : column + SIZE])


def test_labels_with_positions_lie_by_their_mean_difference(make, tmp_path):
    path = make(offset=(100.0, -50.0))
    with np.load(path) as stored:
        positions, truth = stored["positions_px"] - [100, -50], stored["object_true"]
    np.savez(tmp_path / "labels.npz", object=truth, positions_px=positions + np.random.default_rng(0).normal(0, 0.3, (FRAMES, 2)))
    (one,) = training_data(job(path, labels=str(tmp_path / "labels.npz"), model=SUPERVISED)).scans
    row, column = np.floor(positions[8]).astype(int)
    np.testing.assert_array_equal(windows_of(one, 8), truth[row : row + SIZE, column : column + SIZE])


def test_labels_are_the_truth_before_an_estimate_and_lie_by_the_true_positions(make, tmp_path):
    path = make(offset=(100.0, -50.0))
    with np.load(path) as stored:
        positions, truth = stored["positions_px"] - [100, -50], stored["object_true"]
    wrong = {"object": truth.T, "objectGuess": truth[::-1], "positions_px": positions + np.array([5, -3])}
    np.savez(tmp_path / "labels.npz", **wrong, object_true=truth, positions_true_px=positions)
    (one,) = training_data(job(path, labels=str(tmp_path / "labels.npz"), model=SUPERVISED)).scans
    row, column = np.floor(positions[8]).astype(int)
    np.testing.assert_array_equal(windows_of(one, 8), truth[row : row + SIZE, column : column + SIZE])


def test_labels_follow_a_scan_that_is_cropped_or_padded(make):
    def smooth(rows, columns, scale):
        return 1 + 0.2 * np.sin(rows / scale / 9) * np.cos(columns / scale / 7) + 0.3j * np.sin(columns / scale / 11)

    path = make(
        object_true=smooth(*np.indices((100, 110)), 1.0).astype(np.complex64), positions_px=np.arange(120.0).reshape(60, 2) / 2
    )
    scans, groups, validation = job(path, model=SUPERVISED)
    (one,) = training_data((scans, groups | {"data": {"size": 48}}, validation)).scans
    corner = np.rint(one.scan.positions.min(axis=0) - one.positions.min(axis=0))
    rows, columns = np.indices(one.shape)
    wanted = smooth(rows + corner[0], columns + corner[1], 48 / SIZE)
    np.testing.assert_allclose(one.labels[6:-6, 6:-6], wanted[6:-6, 6:-6], atol=5e-3)


def refused(given, *told, error=DataError):
    with pytest.raises(error) as caught:
        training_data(given)
    for words in told:
        assert words in str(caught.value)


def test_supervised_without_labels_names_the_file_and_a_remedy(make):
    refused(job(make(object_true=None), model=SUPERVISED), "scan.npz", "no true object", "--labels")


def test_a_flat_object_is_no_label(make):
    refused(job(make(object_true=np.full((100, 110), 1 + 0j)), model=SUPERVISED), "scan.npz", "flat")


def test_labels_that_do_not_cover_the_scan_are_refused(make, tmp_path):
    path = make()
    for shape in ((80, 110), (100, 80)):
        small = make("small.npz", object_true=np.random.default_rng(0).standard_normal(shape) + 0j)
        refused(job(small, model=SUPERVISED), "small.npz", f"{shape[0]} x {shape[1]}", "does not cover")
    np.savez(tmp_path / "far.npz", object=np.load(path)["object_true"], positions_px=np.load(path)["positions_px"] - 30)
    refused(job(path, labels=str(tmp_path / "far.npz"), model=SUPERVISED), "far.npz", "scan.npz", "rows -")


def test_labels_with_another_number_of_positions_are_refused(make, tmp_path):
    np.savez(tmp_path / "other.npz", object=np.load(make())["object_true"], positions_px=np.zeros((7, 2)))
    refused(job(make(), labels=str(tmp_path / "other.npz"), model=SUPERVISED), "other.npz", "7 positions", "60 frames")


def test_one_object_for_several_scans_is_refused(make):
    scans = make("a.npz"), make("b.npz")
    refused(job(*scans, labels=str(scans[0]), model=SUPERVISED), "labels", "2 scans", error=SettingsError)


@pytest.mark.parametrize("size", [16, 40, 33])
def test_a_size_no_network_takes_is_refused(make, size):
    refused(job(make(size=size)), "scan.npz", f"{size} x {size}", "multiple of 16 from 32")


@pytest.mark.parametrize("judges", [False, True])
def test_scans_of_different_size_are_both_named(make, judges):
    first, second = make("a.npz"), make("b.npz", size=48)
    given = job(first, validation=[second]) if judges else job(first, second)
    refused(given, "a.npz has 32 x 32", "b.npz 48 x 48")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": {"gridsize": 3}}, ("has 8 frames", "gridsize 3 takes 9")),
        ({"model": {"neighbor_count": 10}}, ("has 8 frames", "neighbor_count", "nearest 10")),
        ({"n_groups": 9}, ("has 8 frames", "n_groups asks for 9")),
        ({"n_subsample": 9}, ("has 8 frames", "n_subsample asks for 9")),
        ({"n_subsample": 3, "model": {"gridsize": 2}}, ("n_subsample 3", "has 3 frames", "gridsize 2 takes 4")),
        (
            {"validation_split": 0.5, "model": {"neighbor_count": 5}},
            ("to learn from", "validation_split 0.5", "has 4 frames", "nearest 5"),
        ),
        ({"validation_split": 0.2, "model": {"gridsize": 2}}, ("validation part", "split 0.2", "has 2 frames", "takes 4")),
    ],
)
def test_fewer_frames_than_asked_for_are_refused_with_file_setting_and_numbers(make, given, told):
    refused(job(make("few.npz", frames=8), **given), "few.npz", *told)


def test_a_scan_that_judges_needs_enough_frames_for_a_group(make):
    given = job(make("a.npz"), validation=[make("few.npz", frames=3)], model={"gridsize": 2})
    refused(given, "few.npz has 3 frames", "gridsize 2 takes 4")


def test_a_job_without_scans_is_refused(make):
    _, groups, validation = job(make())
    refused(((), groups, validation), "no scan")
