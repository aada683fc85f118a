"""Reading ahead gives the same in the same order whatever the number of threads, and leaves no thread behind."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.reading import READER_NAME, Readers


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(READER_NAME)]


@pytest.mark.parametrize(("workers", "ahead"), [(0, 1), (1, 1), (2, 4), (3, 2), (8, 64)])
def test_everything_comes_in_order(workers, ahead):
    random = np.random.default_rng(workers)
    waits = random.uniform(0, 0.002, 40)

    def read(number):
        time.sleep(waits[number])
        return number, threading.current_thread().name

    readers = Readers(workers, ahead)
    found = list(readers.read(read, range(40)))
    assert [number for number, _ in found] == list(range(40))
    used = min(workers, ahead)
    assert [name for _, name in found] == [
        f"{READER_NAME}-{number % used}" if used else threading.main_thread().name for number in range(40)
    ]
    facts = readers.facts()
    assert facts["readers"] == used
    assert (facts["read_ahead"] <= ahead) if used else facts["read_ahead"] == 0
    assert alive() == []


def test_no_more_is_read_ahead_than_said():
    begun = []
    with closing(Readers(2, 3).read(begun.append, range(20))) as ahead:
        for taken in range(1, 6):
            next(ahead)
            time.sleep(0.02)
            assert len(begun) == taken + 3


def test_an_error_comes_out_in_its_place_and_ends_the_threads():
    def read(number):
        if number == 5:
            raise DataError("frame 5 is damaged")
        return number

    ahead = Readers(3, 6).read(read, range(50))
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(DataError, match="frame 5"):
        next(ahead)
    assert alive() == []


def test_what_is_abandoned_or_interrupted_ends_its_threads():
    def some(error=None):
        with closing(Readers(2, 4).read(lambda number: number, range(1000))) as ahead:
            assert next(ahead) == 0
            assert alive()
            if error is not None:
                raise error

    some()
    assert alive() == []
    with pytest.raises(KeyboardInterrupt):
        some(KeyboardInterrupt())
    assert alive() == []
    unused = Readers(2, 4).read(lambda number: number, range(1000))
    unused.close()
    assert alive() == []


def test_an_array_is_fetched_once_however_many_threads_read():
    fetched = []

    def fetch():
        fetched.append(threading.current_thread().name)
        time.sleep(0.02)
        return np.arange(40 * 4, dtype=np.float32).reshape(40, 2, 2)

    patterns = ArrayPatterns(fetch, (40, 2, 2), np.dtype("f4"), where="here")
    found = np.concatenate(list(Readers(4, 8).read(lambda number: patterns.read(slice(number, number + 1)), range(40))))
    assert np.array_equal(found, fetch())
    assert len(fetched) == 2
