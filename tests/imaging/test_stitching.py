"""Patches cut out of a known object, with phases, noise and errors put in: what comes out is the object."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.imaging.area import centre_area
from ptycho_core.imaging.stitching import StitchedObject, Stitcher
from ptycho_core.imaging.synchronisation import Pairs, align_phases, centred, islands
from ptycho_core.inference.order import inference_order
from ptycho_core.physics.windows import cut_windows
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.simulate import simulate_scan
from ptycho_core.simulation.objects import make_object

N = 32
APART = np.array([0.0, 200.0])


@dataclass
class Case:
    """True windows of an object, times a phase each."""

    positions: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    patches: np.ndarray
    turns: np.ndarray

    def spoil(self, noise: float, seed: int = 1) -> Case:
        """Noise that grows where the light is faint, up to 20 times."""
        rng = np.random.default_rng(seed)
        strength = noise * np.minimum(1 / np.sqrt(self.weight / self.weight.max() + 1e-9), 20)
        self.patches += (strength * (rng.normal(size=self.patches.shape) + 1j * rng.normal(size=self.patches.shape))).astype("c8")
        return self

    def stitch(self, batch: int = 7) -> StitchedObject:
        stitcher = self.stitcher()
        order = np.concatenate(self.tiles())
        for start in range(0, len(order), batch):
            frames = order[start : start + batch]
            stitcher.add(frames, self.patches[frames])
        return stitcher.finish()

    def tiles(self) -> list[np.ndarray]:
        return inference_order(self.positions, N)

    def stitcher(self) -> Stitcher:
        return Stitcher(self.positions, self.truth.shape, self.weight, self.tiles())

    def error(self, image: np.ndarray) -> float:
        """Relative error after one phase, where the windows' centres are."""
        area = centre_area(self.positions, N).slices
        return relative(image[area], self.truth[area])

    def phase_errors(self, result: StitchedObject, frames: np.ndarray | slice = slice(None)) -> np.ndarray:
        rest = (result.phases * self.turns)[frames].astype(complex)
        return np.angle(rest * np.conj(rest.mean()))


def relative(image: np.ndarray, truth: np.ndarray) -> float:
    factor = np.vdot(image, truth)
    return float(np.linalg.norm(image * (factor / abs(factor)) - truth) / np.linalg.norm(truth))


def raster(rows: int, columns: int, step: float = 3.0, jitter: float = 0.8, seed: int = 0) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    return step * grid + np.random.default_rng(seed).uniform(-jitter, jitter, grid.shape)


def case(positions: np.ndarray, turns: np.ndarray | None = None, probe: str = "aperture") -> Case:
    simulation = simulate_scan(size=N, frames=1, probe=probe, photons=1e4)
    weight = (np.abs(simulation.probe_true) ** 2).sum(axis=0).astype(np.float32)
    origin, shape = object_canvas(positions, N)
    truth = make_object("dead-leaves", shape, (0.6, 1.0), (0.0, 1.5), np.random.default_rng(5)).astype(np.complex64)
    rng = np.random.default_rng(6)
    turns = np.exp(2j * np.pi * rng.random(len(positions))).astype(np.complex64) if turns is None else turns
    cut = cut_windows(truth, np.floor(positions - origin).astype(np.int64), N)
    return Case(positions - origin, truth, weight, cut * turns[:, None, None], turns)


def test_true_windows_with_random_phases_give_the_object_up_to_one_phase() -> None:
    one = case(raster(25, 28))
    assert len(one.tiles()) == 3
    result = one.stitch()
    lit = result.weight > 0
    assert relative(result.object[lit], one.truth[lit]) < 1e-5
    assert np.abs(one.phase_errors(result)).max() < 1e-4
    assert result.trust.min() > 0.9
    assert result.notes == ()
    assert (result.object.dtype, result.weight.dtype) == (np.complex64, np.float32)


@pytest.mark.parametrize("probe", ["aperture", "disk"])
def test_noise_that_grows_where_the_light_is_faint_is_averaged_by_the_light(probe: str) -> None:
    one = case(raster(20, 20), probe=probe).spoil(0.05)
    result = one.stitch()
    assert np.abs(one.phase_errors(result)).max() < 0.06
    known = Case(one.positions, one.truth, one.weight, one.patches / one.turns[:, None, None], np.ones(400, "c8"))
    assert one.error(result.object) < 1.05 * one.error(merged(known)) < 0.06
    # the same patches laid down one over the other without weights and phases
    assert one.error(result.object) < 0.1 * one.error(merged(one, np.ones_like(one.weight)))


def merged(one: Case, weight: np.ndarray | None = None) -> np.ndarray:
    weight = one.weight if weight is None else weight
    total, light = np.zeros(one.truth.shape, complex), np.zeros(one.truth.shape)
    for (row, column), patch in zip(np.floor(one.positions).astype(int), one.patches, strict=True):
        total[row : row + N, column : column + N] += weight * patch
        light[row : row + N, column : column + N] += weight
    return total / np.maximum(light, 1e-20)


def test_the_weight_is_the_light_of_all_windows() -> None:
    one = case(raster(4, 5))
    result = one.stitch()
    light = np.zeros(one.truth.shape)
    for row, column in np.floor(one.positions).astype(int):
        light[row : row + N, column : column + N] += one.weight
    assert np.allclose(result.weight, light, rtol=1e-5, atol=1e-9 * light.max())


def test_the_object_is_the_mean_of_the_patches_with_the_phases_and_the_trust_that_are_told() -> None:
    one = case(raster(18, 18)).spoil(0.2)
    assert len(one.tiles()) == 2
    result = one.stitch()
    assert result.trust.min() < 0.85 * result.trust.max()
    above, below = np.zeros(one.truth.shape, complex), np.zeros(one.truth.shape)
    for frame, (row, column) in enumerate(np.floor(one.positions).astype(int)):
        place = slice(row, row + N), slice(column, column + N)
        share = result.trust[frame] * one.weight
        above[place] += share * result.phases[frame] * one.patches[frame]
        below[place] += share
    lit = result.weight > 0
    assert np.linalg.norm((result.object - above / np.where(lit, below, 1))[lit]) < 1e-5 * np.linalg.norm(result.object[lit])
    # The common phase is that at which the sum of all is real.
    assert abs(np.angle(result.phases.astype(complex).sum())) < 1e-6


def test_wholly_wrong_patches_neither_turn_the_others_nor_stay_in_the_picture() -> None:
    one = case(raster(20, 20)).spoil(0.01)
    wrong = np.random.default_rng(8).choice(400, 16, replace=False)
    plain = Case(one.positions, one.truth, one.weight, one.patches / one.turns[:, None, None], one.turns)
    rng = np.random.default_rng(9)
    for frame in wrong:
        field = rng.normal(size=(2, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
        one.patches[frame] = field[0] + 1j * field[1]
        plain.patches[frame] = one.patches[frame]
    right = np.setdiff1d(np.arange(400), wrong)
    result = one.stitch()
    assert np.abs(one.phase_errors(result, right)).max() < 0.05
    assert result.trust[wrong].max() < 0.02 < 0.2 < result.trust[right].min()
    # with all phases known, but every patch trusted, the wrong ones show
    assert one.error(result.object) < 0.02 < 0.1 < one.error(merged(plain))
    assert len(result.notes) == 1
    assert f"16 of 400 patches contradict their neighbours and count for little: frames {sorted(wrong)[0]}," in result.notes[0]


def test_the_phase_does_not_drift_along_a_long_narrow_scan() -> None:
    one = case(raster(2, 500)).spoil(0.02)
    assert len(one.tiles()) == 4
    errors = one.phase_errors(one.stitch())
    ends = [errors[(one.positions[:, 1] < 90)].mean(), errors[one.positions[:, 1] > one.positions[:, 1].max() - 90].mean()]
    assert abs(ends[1] - ends[0]) < 0.1
    assert errors.std() < 0.05


def test_a_single_line_and_dense_lines_that_lie_apart_hang_together() -> None:
    line = case(raster(1, 200, jitter=0))
    assert np.abs(line.phase_errors(line.stitch())).max() < 1e-3
    # the eight nearest frames of each are on its own line
    lines = np.column_stack([np.repeat(np.arange(6) * 8.0, 100), np.tile(np.arange(100) * 0.7, 6)])
    apart = case(lines)
    result = apart.stitch()
    assert result.notes == ()
    assert np.abs(apart.phase_errors(result)).max() < 1e-3


def test_two_islands_get_a_phase_each_and_a_note_also_within_one_tile() -> None:
    first = raster(9, 9)
    for second in (first + APART, first[:1] + APART, raster(20, 20) + APART):
        one = case(np.concatenate([first, second])).spoil(0.01)
        result = one.stitch()
        assert result.islands.tolist() == [0] * 81 + [1] * len(second)
        for island in (slice(81), slice(81, None)):
            assert np.abs(one.phase_errors(result, island)).max() < 0.03
        assert len(result.notes) == 1
        assert "2 parts that share no light" in result.notes[0]
        gap = result.object[:, 100:140]
        assert (gap == 1).all()
        assert (result.weight[:, 100:140] == 0).all()


def test_islands_of_patches_that_agree_keep_the_phase_between_them() -> None:
    first = raster(9, 9)
    one = case(np.concatenate([first, first + APART]), turns=np.ones(162, dtype=np.complex64))
    result = one.stitch()
    assert np.abs(result.phases - 1).max() < 1e-4
    lit = result.weight > 0
    assert np.abs(result.object - one.truth)[lit].max() < 1e-4


def test_one_frame_is_its_patch() -> None:
    one = case(np.array([[4.3, 7.8]]))
    result = one.stitch()
    lit = one.weight > 1e-9 * one.weight.max()
    assert np.allclose(result.object[lit], one.patches[0][lit], rtol=1e-5)
    assert abs(result.phases[0] - 1) < 1e-6
    assert (result.islands.tolist(), result.notes) == ([0], ())


def test_frames_at_one_place_and_patches_without_content_do_no_harm() -> None:
    same = case(np.repeat([[2.0, 3.0]], 6, axis=0))
    assert np.abs(same.phase_errors(same.stitch())).max() < 1e-4
    dark = case(raster(5, 5))
    dark.patches[:] = 0
    assert np.isfinite(dark.stitch().object).all()
    half = case(raster(8, 8))
    half.patches[::7] = 0
    result = half.stitch()
    assert half.error(result.object) < 0.01
    assert np.abs(half.phase_errors(result, np.flatnonzero(np.arange(64) % 7))).max() < 0.01


def test_tiles_of_one_frame_give_the_same_object() -> None:
    one = case(raster(8, 8)).spoil(0.02)
    stitcher = Stitcher(one.positions, one.truth.shape, one.weight, [np.array([frame]) for frame in range(64)])
    stitcher.add(np.arange(64), one.patches)
    result = stitcher.finish()
    assert np.abs(one.phase_errors(result)).max() < 0.03
    assert relative(result.object[result.weight > 0], one.stitch().object[result.weight > 0]) < 0.02


def test_batches_and_order_change_no_bit() -> None:
    one = case(raster(20, 28)).spoil(0.05)
    one.patches[5] = 1j
    expected = one.stitch(1)
    results = [one.stitch(batch) for batch in (2, 13, 64, 560)]
    for seed, whole in ((1, False), (2, False), (3, True)):
        rng = np.random.default_rng(seed)
        tiles = [rng.permutation(tile) for tile in one.tiles()]
        order = rng.permutation(560) if whole else np.concatenate(tiles)
        stitcher = one.stitcher()
        for frames in np.array_split(order, 37):
            stitcher.add(frames, one.patches[frames])
        results.append(stitcher.finish())
    for result in results:
        for name in ("object", "weight", "phases", "trust"):
            assert getattr(result, name).tobytes() == getattr(expected, name).tobytes(), name


def test_the_scale_of_the_probe_and_the_type_of_the_patches_do_not_matter() -> None:
    one = case(raster(6, 6))
    expected = one.stitch()
    bright = Case(one.positions, one.truth, one.weight.astype(np.float64) * 2**40, one.patches.astype(np.complex128), one.turns)
    result = bright.stitch()
    assert np.array_equal(result.object, expected.object)
    assert np.allclose(result.weight, expected.weight * 2**40, rtol=1e-6)


def test_a_missing_frame_is_named() -> None:
    one = case(raster(4, 4))
    stitcher = one.stitcher()
    stitcher.add(np.array([0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15]), np.delete(one.patches, [3, 7], axis=0))
    with pytest.raises(DataError, match=r"2 of 16 patches are missing: those of the frames 3, 7\."):
        stitcher.finish()
    # and it may still come
    stitcher.add(np.array([7, 3]), one.patches[[7, 3]])
    assert np.array_equal(stitcher.finish().object, one.stitch().object)


def test_a_frame_that_comes_twice_or_does_not_exist_or_is_not_finite_is_named_and_nothing_is_taken() -> None:
    one = case(raster(4, 4))
    stitcher = one.stitcher()
    stitcher.add(np.array([3]), one.patches[3:4])
    broken = one.patches.copy()
    broken[6, 2, 5] = np.nan
    broken[9, 0, 0] = 1e30
    stitcher.add(np.zeros(0, dtype=np.int64), np.zeros((0, N, N), dtype=np.complex64))
    cases = (
        ([2, 3], one.patches[2:4], "frame 3 came twice"),
        ([5, 4, 5], one.patches[:3], "frame 5 came twice"),
        ([16], one.patches[:1], "frame 16, but the scan has the frames 0 to 15"),
        ([-1], one.patches[:1], "frame -1"),
        ([4, 6], broken[[4, 6]], "frame 6 is not finite"),
        ([9], broken[[9]], "frame 9 is not finite, or beyond"),
        ([9], 1e300 * one.patches[[9]].astype(complex), "frame 9 is not finite"),
        ([4], one.patches[:2], "shape"),
        ([4], one.patches[:1, :16], "shape"),
    )
    for frames, patches, words in cases:
        with pytest.raises(DataError, match=words):
            stitcher.add(np.array(frames), patches)
    rest = np.delete(np.arange(16), 3)
    stitcher.add(rest, one.patches[rest])
    assert np.array_equal(stitcher.finish().object, one.stitch().object)
    with pytest.raises(RuntimeError, match="once"):
        stitcher.finish()


def test_what_cannot_be_stitched_is_refused_at_the_beginning() -> None:
    one = case(raster(3, 3))
    tiles = one.tiles()
    with pytest.raises(DataError, match="window of frame"):
        Stitcher(one.positions + 4, one.truth.shape, one.weight, tiles)
    for weight in (-one.weight, 0 * one.weight, one.weight + np.inf):
        with pytest.raises(DataError, match="probe's intensity"):
            Stitcher(one.positions, one.truth.shape, weight, tiles)
    with pytest.raises(DataError, match=r"\(N, N\)"):
        Stitcher(one.positions, one.truth.shape, one.weight[1:], tiles)
    with pytest.raises(DataError, match="no frame"):
        Stitcher(np.zeros((0, 2)), one.truth.shape, one.weight, [])
    for wrong in ([tiles[0][:-1]], [*tiles, np.array([0])]):
        with pytest.raises(ValueError, match="in one tile"):
            Stitcher(one.positions, one.truth.shape, one.weight, wrong)


def test_memory_is_the_object_and_the_merged_tiles_however_many_patches_come() -> None:
    positions = raster(50, 50, step=2.0)
    one = case(positions[:4])
    _, shape = object_canvas(positions, N)
    places = positions - np.floor(positions.min(axis=0))
    patch = np.ones((1, N, N), dtype=np.complex64)
    Case(one.positions, one.truth, one.weight, one.patches, one.turns).stitch()  # what is imported at first use
    tracemalloc.start()
    try:
        tiles = inference_order(places, N)
        stitcher = Stitcher(places, shape, one.weight, tiles)
        for frame in np.concatenate(tiles):
            stitcher.add(np.array([frame]), patch)
        stitcher.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    everything = len(places) * patch.nbytes
    canvases = sum(8 * int(np.prod(np.ptp(np.floor(places[tile]), axis=0) + N)) for tile in tiles)
    # the patches of one tile three times (as they came, the lit part of them, its moduli) and what goes with its pairs
    bound = 3 * len(tiles[0]) * patch.nbytes + canvases + 16 * shape[0] * shape[1] + 3 * 2**20
    assert peak < bound < 0.7 * everything


def test_a_thousand_patches_take_no_longer_than_they_may() -> None:
    # Generous, for machines that do other things as well; a patch in a few tenths of a millisecond is usual.
    one = case(raster(32, 32)).spoil(0.05)
    one.stitch(64)
    start = time.process_time()
    one.stitch(64)
    assert time.process_time() - start < 2.0


def test_phases_over_a_graph_are_found_and_one_lying_pair_is_outvoted() -> None:
    rng = np.random.default_rng(2)
    true = np.exp(2j * np.pi * rng.random(30))
    first, second = np.triu_indices(30, 1)
    near = second - first <= 4
    first, second = first[near], second[near]
    product = true[first] * np.conj(true[second])  # conj(x_i) x_j of x = conj(true)
    product[10] *= -1
    found = align_phases(30, Pairs(first, second, product, np.full(len(first), 1.02)))
    rest = found * np.conj(true)
    assert np.abs(np.angle(rest * np.conj(rest.mean()))).max() < 0.02
    assert np.allclose(np.abs(found), 1)


def test_pairs_without_a_common_phase_are_not_followed_if_others_lead_there() -> None:
    # 0 - 1 - 2 is coherent; 0 - 2 is larger, but its phase is chance
    pairs = Pairs(np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([1.0, 1.0, -4.0j]), np.array([1.0, 1.0, 20.0]))
    assert np.abs(np.angle(align_phases(3, pairs))).max() < 0.1


def test_islands_are_numbered_by_their_first_node_and_turned_to_a_real_mean() -> None:
    labels = islands(6, np.array([1, 4]), np.array([3, 5]))
    assert labels.tolist() == [0, 1, 2, 1, 3, 3]
    turned = centred(np.exp(1j * np.array([2.0, 0.5, -1.0, 0.9, 3.0, 3.2])), labels)
    assert np.allclose(np.angle(turned), [0, -0.2, 0, 0.2, -0.1, 0.1])
