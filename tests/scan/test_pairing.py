"""Positions of one scan out of two files, whatever each calls its frames."""

import numpy as np

from ptycho_core.scan.pairing import paired

RNG = np.random.default_rng(0)
PLACES = RNG.uniform(0, 60, (30, 2))
NEAR = PLACES + np.array([200, -7]) + RNG.normal(0, 0.8, PLACES.shape)


def pairs(*arguments):
    found = paired(*arguments)
    return None if found is None else [one.tolist() for one in found]


def test_as_many_go_together_in_order():
    order = list(range(30))
    assert pairs(PLACES, NEAR) == [order, order]
    assert pairs(PLACES, NEAR, np.arange(30), np.arange(7, 37)) == [order, order]  # numbered from 7 on
    assert pairs(PLACES, -PLACES) == [order, order]  # a twin runs the other way


def test_as_many_of_which_some_are_others_go_together_by_number():
    kept, other = np.arange(0, 25), np.arange(5, 30)
    assert pairs(PLACES[kept], NEAR[other], kept, other) == [list(range(5, 25)), list(range(20))]


def test_fewer_go_together_by_number_if_their_places_agree():
    some = np.array([1, 4, 5, 9, 20])
    assert pairs(PLACES, NEAR[some], None, some) == [some.tolist(), list(range(5))]
    assert pairs(NEAR[some], PLACES, some, None) == [list(range(5)), some.tolist()]
    assert paired(PLACES, RNG.uniform(0, 60, (20, 2))) is None
    assert paired(PLACES, NEAR[some], None, some + 100) is None
