"""Bad input to ``ptycho reconstruct``: one sentence with file and key, the documented exit status, and nothing left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COUNTS = np.random.default_rng(0).poisson(20.0, (9, 16, 16)).astype(np.uint16)
GOOD: dict[str, Any] = {
    "intensity": COUNTS,
    "positions_px": 3.0 * np.stack(np.meshgrid(range(3), range(3)), -1).reshape(-1, 2),
    "probe_guess": np.outer(np.hanning(16), np.hanning(16)).astype(complex),
}


def spoilt(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (GOOD | changes).items() if value is not None}


negative, broken = COUNTS.astype(float), COUNTS.astype(float)
negative[4, 3, 2] = -1
broken[5, 1, 1] = np.nan

FILES = {
    "missing key": (spoilt(positions_px=None), ["positions_px"]),
    "another number of positions": (spoilt(positions_px=GOOD["positions_px"][:7]), ["positions_px", "7", "9"]),
    "negative counts": (spoilt(intensity=negative), ["intensity", "frame 4"]),
    "counts that are no numbers": (spoilt(intensity=broken), ["intensity", "frame 5"]),
    "frames that are narrower than the probe": (spoilt(intensity=COUNTS[:, :, :12]), ["probe_guess", "16", "12"]),
    "a probe of another size": (spoilt(probe_guess=np.ones((8, 8), complex)), ["probe_guess", "8"]),
    "an empty scan": (spoilt(intensity=COUNTS[:0], positions_px=GOOD["positions_px"][:0]), ["intensity"]),
    "pickled objects": (spoilt(probe_guess=np.array([{}], dtype=object)), ["probe_guess"]),
}


@pytest.mark.parametrize("what", FILES)
def test_a_bad_scan_is_refused_in_one_sentence(what: str, tmp_path: Path, answered: Callable[..., Any]) -> None:
    arrays, words = FILES[what]
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    done = answered("reconstruct", path, "-o", tmp_path / "deep" / "out", "--quiet")
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    for word in ["bad.npz", *words]:
        assert word in done.stderr
    assert {item.name for item in tmp_path.iterdir()} == {"bad.npz"}
