"""The rules of evidence: bets that cannot be won by luck too often, and how much traffic it takes."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.rollout import power
from homeport.rollout.canary import BUCKETS, EDGES, Settings, Side, Window, histogram, still_waiting
from homeport.rollout.evidence import Process, gain, gain_alone, log_mean
from homeport.rollout.power import ERROR_BETS, latencies_needed, requests_needed
from homeport.rollout.verdict import Evidence, look

ERRORS = Settings(max_latency_increase=None)
USUAL = Settings()


def window(canary, stable):
    return Window(Side(*canary), Side(*stable))


def lognormal(r, n, median, spread):
    return [r.lognormvariate(math.log(median), spread) for _ in range(n)]


def hypergeometric_mean(odds, canary, hits, everyone):
    ways = [
        math.comb(hits, x) * math.comb(everyone - hits, canary - x)
        for x in range(max(0, canary + hits - everyone), min(canary, hits) + 1)
    ]
    low = max(0, canary + hits - everyone)
    return sum(w * odds ** (low + i) for i, w in enumerate(ways)) / sum(ways)


# evidence


@given(st.integers(1, 25), st.integers(0, 25), st.data(), st.sampled_from([1.1, 2, 30, 500]))
def test_the_mean_of_a_bet_is_never_underestimated(canary, others, data, odds):
    hits = data.draw(st.integers(0, canary + others))
    bound = log_mean(odds, canary, hits, canary + others)
    assert bound >= math.log(hypergeometric_mean(odds, canary, hits, canary + others)) - 1e-9


@given(st.integers(1, 40), st.integers(0, 400), st.sampled_from([1.1, 30, 500]))
def test_the_mean_of_a_bet_is_exact_for_one_hit(canary, others, odds):
    expected = math.log(hypergeometric_mean(odds, canary, 1, canary + others))
    assert log_mean(odds, canary, 1, canary + others) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 60), st.floats(0.001, 0.999), st.sampled_from([2, 30, 500]))
def test_a_bet_on_a_canary_alone_is_fair_at_the_bound(n, bound, odds):
    mean = math.fsum(
        math.comb(n, x) * bound**x * (1 - bound) ** (n - x) * math.exp(gain_alone(odds, x, n, bound))
        for x in range(n + 1)
    )
    assert mean == pytest.approx(1, rel=1e-6)


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.data(), st.sampled_from([2, 30, 500]))
def test_one_more_error_of_the_canary_is_never_less_evidence_and_one_of_the_other_never_more(
    canary, others, data, odds
):
    mine = data.draw(st.integers(0, canary - 1))
    theirs = data.draw(st.integers(0, others))
    now = gain(odds, mine, canary, mine + theirs, canary + others)
    slack = 1e-9 * max(1.0, canary + others)
    assert gain(odds, mine + 1, canary, mine + 1 + theirs, canary + others) >= now - slack
    if theirs < others:
        assert gain(odds, mine, canary, mine + theirs + 1, canary + others) <= now + slack


def test_all_that_is_ever_bet_is_at_most_one():
    process = Process.of(ERROR_BETS)
    for _ in range(2000):
        process = process.after(ERROR_BETS, [0.0] * len(ERROR_BETS))
    assert 0.99 < math.exp(process.log_evidence) <= 1


def test_buckets_hold_what_they_say():
    assert histogram([0, EDGES[0]])[0] == 2
    assert histogram([EDGES[0] * 1.0001, EDGES[1]])[1] == 2
    assert histogram([1e9])[-1] == 1
    with pytest.raises(ValueError, match="not a latency"):
        histogram([math.nan])


def test_long_requests_are_met_in_flight_more_often():
    """Nine of 1 s and one of 11 s: of twenty seconds of waiting, ten are the long one's."""
    latencies = histogram([1.0] * 9 + [11.0])
    assert still_waiting(latencies, 2.0) == pytest.approx(9 / 20, rel=0.1)
    assert still_waiting(latencies, 200.0) == pytest.approx(1 / 11)
    assert still_waiting((0,) * (BUCKETS - 1) + (5,), 1.0) == 1


# how much traffic it takes


@given(
    st.sampled_from([0.01, 0.05, 0.5, 1.0]),
    st.floats(0, 0.5),
    st.floats(0.01, 0.5),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_more_power_needs_more_requests(share, usual, rise, chance):
    few = requests_needed(Settings(error_rise=rise, power=chance), share, usual)
    many = requests_needed(Settings(error_rise=rise, power=(1 + chance) / 2), share, usual)
    assert 2 <= few <= many <= power.TOO_MANY


def test_a_small_canary_needs_two_errors_to_be_likely():
    def chance_of_two(n):
        return 1 - 0.95**n - n * 0.05 * 0.95 ** (n - 1)

    n = requests_needed(ERRORS, 0.001, 0.0)
    assert chance_of_two(n - 1) < ERRORS.power <= chance_of_two(n)


def test_the_power_is_what_it_says():
    """Simulated: of canaries with the rise that must show, about the stated share is found in time."""
    r = random.Random(7)
    n = requests_needed(ERRORS, 0.25, 0.01)
    found = 0
    for _ in range(200):
        evidence = Evidence()
        for _ in range(10):
            size = round(n / 10)
            mine = sum(r.random() < 0.06 for _ in range(size))
            theirs = sum(r.random() < 0.01 for _ in range(size * 3))
            evidence = look(evidence, [window((size, mine), (size * 3, theirs))], ERRORS)
        found += bool(evidence.condemned)
    assert 0.7 <= found / 200 <= 0.97


def test_looking_often_raises_no_false_alarms():
    """Simulated: 100 good canaries, 200 looks each; the bound is 1 in 100 for the errors."""
    r = random.Random(11)
    alarms = 0
    for _ in range(100):
        evidence = Evidence()
        for _ in range(200):
            mine = sum(r.random() < 0.1 for _ in range(3))
            evidence = look(
                evidence, [window((3, mine), (9, sum(r.random() < 0.1 for _ in range(9))))], ERRORS
            )
        alarms += bool(evidence.condemned)
    assert alarms <= 4


def test_latency_needs_less_the_larger_the_allowed_step_stands_out():
    r = random.Random(1)
    narrow = histogram(lognormal(r, 2000, 0.05, 0.3))
    wide = histogram(lognormal(r, 2000, 0.05, 1.5))
    assert latencies_needed(USUAL, 0.05, narrow) < latencies_needed(USUAL, 0.05, wide)
    assert latencies_needed(ERRORS, 0.05, wide) == 0
