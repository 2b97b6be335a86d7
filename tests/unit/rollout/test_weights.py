"""A canary's weights."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.rollout import weights


@given(st.floats(0.004, 0.996), st.integers(1, 5), st.integers(1, 5))
def test_the_share_is_as_near_as_whole_weights_allow(share, new, old):
    mine, theirs = weights.pair(share, new, old)
    assert 1 <= mine <= 256 and 1 <= theirs <= 256
    got = mine * new / (mine * new + theirs * old)
    best = min(
        abs(a * new / (a * new + b * old) - share)
        for b in range(1, 257)
        for a in {1, 256, *(max(1, min(256, int(share * old * b / ((1 - share) * new)) + d)) for d in (0, 1))}
    )
    assert abs(got - share) <= best + 1e-9


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (0.05, 0.05), (0.25, 0.25), (0.01, 0.01)])
def test_the_usual_shares_are_met(share, expected):
    mine, theirs = weights.pair(share, 2, 2)
    assert mine / (mine + theirs) == pytest.approx(expected, rel=0.02)


def test_nothing_beside_it_is_no_step():
    assert weights.of_step(0.1, {"web": ["a"]}, {"web": []}) is None


def test_a_process_that_is_new_gets_all_of_its_requests():
    found = weights.of_step(0.5, {"web": ["a"], "api": ["b"]}, {"web": ["c"]})
    assert found is not None and found["a"] == found["c"] and found["b"] == 100
