"""What is implausible about a scan is doubted: each kind, in more than one form."""

import numpy as np
import pytest
from spoiling import FRAMES, N, kinds, said, sound, written

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.scan.kept import kept
from ptycho_core.scan.plausibility import Doubt, find_doubts, gather

POISSON = np.random.default_rng(17)


@pytest.fixture(scope="module")
def good():
    return sound()


def clipped_at(level):
    return lambda a: a | {"intensity": np.minimum(a["intensity"], level)}


def clipped_for_a_percentile(part):
    """The level that this part of the brightest pixel's counts lie below."""

    def clip(a):
        peak = np.unravel_index(a["intensity"].mean(axis=0).argmax(), (N, N))
        return a | {"intensity": np.minimum(a["intensity"], np.floor(np.quantile(a["intensity"][:, *peak], part)))}

    return clip


def bits(kind):
    """Counts that end at the largest value of a type."""
    top = np.iinfo(kind).max
    return lambda a: a | {"intensity": np.minimum(a["intensity"] / a["intensity"].max() * 1.5 * top, top).astype(kind)}


def pixels(*places, value):
    def spoil(a):
        counts = a["intensity"].copy()
        for row, column in places:
            counts[:, row, column] = value(counts[:, row, column]) if callable(value) else value
        return a | {"intensity": counts}

    return spoil


def band(rows=slice(None), columns=slice(None), value=0.0):
    def spoil(a):
        counts = a["intensity"].copy()
        counts[:, rows, columns] = value
        return a | {"intensity": counts}

    return spoil


def frames(numbers, change):
    def spoil(a):
        counts = a["intensity"].copy()
        counts[numbers] = change(counts[numbers])
        return a | {"intensity": counts}

    return spoil


def counts(change):
    return lambda a: a | {"intensity": change(a["intensity"])}


def positions(change):
    return lambda a: a | {"positions_px": change(a["positions_px"].copy())}


def probe(change):
    return lambda a: a | {"probe_guess": change(a["probe_guess"])}


def moved(number, by):
    def move(places):
        places[number] += by
        return places

    return positions(move)


def held(*numbers):
    def hold(places):
        for number in numbers:
            places[number] = places[number - 1]
        return places

    return positions(hold)


def noisy_dose(part, seed):
    random = np.random.default_rng(seed)
    return counts(
        lambda c: random.poisson(c * np.clip(1 + part * random.standard_normal((len(c), 1, 1)), 0.1, None)).astype(float)
    )


def mask(good_rows):
    def hide(a):
        chosen = np.zeros((N, N), bool)
        chosen[good_rows] = True
        return a | {"mask": chosen}

    return hide


LIT = ((15, 14), (17, 18), (18, 13))
SPOILT = {
    "saturated: clipped low": (clipped_at(300.0), "saturated", "doubtful"),
    "saturated: clipped in some frames": (clipped_for_a_percentile(0.6), "saturated", "doubtful"),
    "saturated: all of 8 bits": (bits(np.uint8), "saturated", "doubtful"),
    "saturated: all of 16 bits, signed": (bits(np.int16), "saturated", "doubtful"),
    "dead: single": (pixels(*LIT, value=0.0), "dead", "doubtful"),
    "dead: a gap of rows": (band(rows=slice(13, 16)), "dead", "doubtful"),
    "dead: a column": (band(columns=slice(18, 19)), "dead", "doubtful"),
    "hot: in the dark": (pixels((2, 3), value=lambda c: POISSON.poisson(400, c.shape)), "hot", "doubtful"),
    "hot: in the light": (pixels((16, 13), value=lambda c: 30 * c + 500), "hot", "doubtful"),
    "constant: a flag": (band(columns=slice(20, 22), value=65535.0), "constant", "doubtful"),
    "constant: the largest of 32 bits": (band(rows=slice(4, 5), value=2.0**32 - 1), "constant", "doubtful"),
    "constant: one that is stuck": (pixels((12, 9), value=77.0), "constant", "doubtful"),
    "empty: some": (frames([3, 30], np.zeros_like), "empty", "doubtful"),
    "empty: all": (counts(np.zeros_like), "empty", "unusable"),
    "dose: too bright": (frames([7], lambda c: c * 40), "dose", "doubtful"),
    "dose: too faint": (frames([9, 40], lambda c: np.floor(c / 8)), "dose", "doubtful"),
    "alike": (counts(lambda c: np.repeat(c[:1], FRAMES, axis=0)), "alike", "doubtful"),
    "dark: a level": (counts(lambda c: c + 25), "dark", "doubtful"),
    "dark: a level with noise": (counts(lambda c: np.rint(c + POISSON.normal(40, 2, c.shape))), "dark", "doubtful"),
    "units: of sum 1": (counts(lambda c: c / c.sum()), "units", "doubtful"),
    "units: up to 1": (counts(lambda c: c / c.max()), "units", "doubtful"),
    "units: gain": (counts(lambda c: c * 12), "units", "doubtful"),
    "units: gain, and light everywhere": (counts(lambda c: (c + 3e3 + POISSON.poisson(3e3, c.shape)) * 3.7), "units", "doubtful"),
    "units: each frame normalised": (counts(lambda c: 1e4 * c / c.sum(axis=(1, 2), keepdims=True)), "units", "doubtful"),
    "units: less than a count": (counts(lambda c: POISSON.poisson(c * 3e-6).astype(float)), "units", "doubtful"),
    "centre: corner": (counts(lambda c: np.fft.ifftshift(c, axes=(1, 2))), "centre", "doubtful"),
    "centre: next to": (counts(lambda c: np.roll(c, (6, 0), axis=(1, 2))), "centre", "doubtful"),
    "mask: hardly anything left": (mask(slice(14, 24)), "mask", "doubtful"),
    "mask: the wrong way round": (mask(np.r_[0:10, 22:32]), "mask", "doubtful"),
    "positions: the same": (positions(lambda p: p * 0 + 3), "positions", "unusable"),
    "positions: in metres": (positions(lambda p: p * 2e-8 - 0.4), "positions", "unusable"),
    "positions: a span below a pixel": (positions(lambda p: p / 100), "positions", "unusable"),
    "positions: on a line": (positions(lambda p: p * [1, 0]), "positions", "doubtful"),
    "positions: on a slanting line": (positions(lambda p: p[:, :1] * [1, 2]), "positions", "doubtful"),
    "positions: float32, far off": (positions(lambda p: (p + 3e7).astype(np.float32)), "positions", "doubtful"),
    "repeated: stuck": (held(11, 12, 50), "repeated", "doubtful"),
    "repeated: once": (held(33), "repeated", "doubtful"),
    "overlap: none": (positions(lambda p: p * 40), "overlap", "unusable"),
    "overlap: hardly any": (positions(lambda p: p * 4), "overlap", "doubtful"),
    "stray: by the window": (moved(20, 90), "stray", "doubtful"),
    "stray: two": (moved([5, 6], [[60, 0], [0, -80]]), "stray", "doubtful"),
    "canvas": (moved(2, 2000), "canvas", "doubtful"),
    "probe: off the middle": (probe(lambda p: np.roll(p, (5, -7), axis=(1, 2))), "probe", "doubtful"),
    "probe: in the corner": (probe(lambda p: np.fft.ifftshift(p, axes=(1, 2))), "probe", "doubtful"),
    "probe: flat": (probe(np.ones_like), "probe", "doubtful"),
    "probe: fills the window": (probe(lambda p: np.random.default_rng(2).normal(size=p.shape) + 0j), "probe", "doubtful"),
    "probe: too strong": (probe(lambda p: 200 * p), "probe", "doubtful"),
    "probe: too weak": (probe(lambda p: p / 30), "probe", "doubtful"),
}


def test_the_scan_that_is_spoilt_raises_no_doubt(good, tmp_path):
    assert kinds(written(tmp_path / "scan.npz", good)) == set()


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_spoilt_is_doubted(name, good, tmp_path):
    spoil, kind, severity = SPOILT[name]
    path = written(tmp_path / "scan.npz", spoil(good))
    assert (kind, severity) in kinds(path)
    for doubt in find_doubts(open_scan(path)):
        assert isinstance(doubt, Doubt)
        assert doubt.sentence.endswith((".", "?"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("saturated: clipped low", ["end at 300", "--mask auto", "less light"]),
        ("dead: single", ["3 pixels dead", "row 15, column 14", "--mask auto"]),
        ("empty: some", ["2 patterns hold no counts (frames 3, 30)", "leaves them out"]),
        ("dose: too bright", ["frame 7", "times those of a median frame"]),
        ("dark: a level", ["25", "--dark 25"]),
        ("units: gain", ["One photon seems to count 12", "--photons"]),
        ("positions: in metres", ["metres", "divide them by the object pixel"]),
        ("stray: by the window", ["Frame 20 lies far from all others"]),
        ("repeated: stuck", ["3 frames have exactly the position of the frame before (frames 11, 12, 50)"]),
        ("probe: off the middle", ["5.0 rows and -7.0 columns"]),
    ],
)
def test_a_doubt_says_what_where_and_what_to_do(name, words, good, tmp_path):
    told = said(written(tmp_path / "scan.npz", SPOILT[name][0](good)))
    for word in words:
        assert word in told


def test_the_photons_that_are_advised_bring_normalised_counts_back(good, tmp_path):
    unstated = {name: value for name, value in good.items() if name != "probe_in_counts"}
    path = written(tmp_path / "scan.npz", unstated | {"intensity": good["intensity"] / good["intensity"].sum()})
    advised = float(said(path).partition("--photons ")[2].split()[0].rstrip("."))
    assert advised == pytest.approx(good["intensity"].sum() / FRAMES, rel=0.01)
    assert kinds(path, photons=advised) == set()


@pytest.mark.parametrize("flat", [0.08, 0.02])
def test_counts_over_a_flat_field_that_are_read_as_amplitudes_are_doubted(flat, tmp_path):
    arrays = sound(photons=1e4)
    divided = arrays["intensity"] / np.random.default_rng(1).uniform(1 - flat, 1 + flat, (N, N))
    rows, columns = (arrays["positions_px"] + N // 2).T
    pinn = {
        "diffraction": divided.astype(np.float32),
        "xcoords": columns,
        "ycoords": rows,
        "probeGuess": arrays["probe_guess"][0],
    }
    np.savez(tmp_path / "pinn.npz", **pinn)
    assert ("signal", "doubtful") in kinds(tmp_path / "pinn.npz")
    assert "--signal counts" in said(tmp_path / "pinn.npz")
    assert kinds(tmp_path / "pinn.npz", signal="counts") == set()


@pytest.mark.parametrize(("part", "seed"), [(0.2, 1), (0.06, 2)])
def test_a_dose_that_varies_from_frame_to_frame_is_doubted(part, seed, tmp_path):
    arrays = sound(frames=196, object="natural")
    assert kinds(written(tmp_path / "sound.npz", arrays)) == set()
    path = written(tmp_path / "scan.npz", noisy_dose(part, seed)(arrays))
    assert kinds(path) == {("flux", "doubtful")}
    found = float(said(path).partition("vary by ")[2].partition("%")[0]) / 100
    assert 0.7 * part < found < 1.3 * part


def test_one_frame_is_unusable(good, tmp_path):
    one = {name: value[:1] if name in ("intensity", "positions_px") else value for name, value in good.items()}
    assert kinds(written(tmp_path / "scan.npz", one)) == {("positions", "unusable")}


def test_a_scan_that_is_not_kept_is_looked_at_in_part_which_is_said(tmp_path):
    few = clipped_at(120.0)(sound(size=128, frames=25))
    many = {
        "intensity": np.tile(few["intensity"].astype(np.uint8), (44, 1, 1)),
        "positions_px": POISSON.uniform(0, 99, (1100, 2)),
    }
    np.savez(tmp_path / "scan.npz", **many)
    scan = open_scan(tmp_path / "scan.npz")
    assert len(gather(scan).frames) == 256
    assert len(gather(kept(scan)).frames) == 1100
    found = [doubt.sentence for doubt in find_doubts(scan) if doubt.kind == "saturated"]
    assert found
    assert "256 of 1100 frames were looked at" in found[0]


def test_frames_that_need_more_memory_than_there_is_are_refused_by_number(good, tmp_path):
    path = written(tmp_path / "scan.npz", moved(13, 4e6)(good))
    with pytest.raises(DataError, match=r"object of 40\d+ x 40\d+ pixels, .* GiB .* frame 13 lies far off"):
        find_doubts(open_scan(path))
    path = written(tmp_path / "spread.npz", positions(lambda p: p * 1e6)(good))
    with pytest.raises(DataError, match="the positions spread over that much") as caught:
        find_doubts(open_scan(path))
    assert "object pixels" in caught.value.remedy
