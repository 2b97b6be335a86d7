"""The verdict of a canary: what condemns it, what clears it, what says nothing; and the rules of evidence."""

import json
import math
import random
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.rollout.canary import BUCKETS, Settings, Side, Signal, Window, histogram
from homeport.rollout.power import latencies_needed, requests_needed
from homeport.rollout.verdict import Evidence, Forming, Outcome, Verdict, conclude, forming, look

ERRORS = Settings(max_latency_increase=None)
USUAL = Settings()


def play(*looks, under=ERRORS, evidence=None):
    evidence = evidence or Evidence()
    for windows in looks:
        evidence = look(evidence, windows if isinstance(windows, list) else [windows], under)
    return evidence


def window(canary, stable, **more):
    return Window(Side(*canary), Side(*stable) if stable else None, **more)


def lognormal(r, n, median, spread=1.0):
    return [r.lognormvariate(math.log(median), spread) for _ in range(n)]


def measured(latencies, errors=0):
    return Side(len(latencies) + errors, errors, histogram(latencies))


# errors


@pytest.mark.parametrize(("others", "errors"), [(99, 2), (19, 2), (3, 4), (1, 8)])
def test_a_canary_that_only_fails_is_found_after_a_handful(others, errors):
    looks = [window((1, 1), (others, 0))] * errors
    assert not play(*looks[:-1]).condemned
    assert play(*looks).condemned


def test_one_error_says_nothing_however_small_the_canary():
    assert not play(window((1, 1), (10_000, 0))).condemned


def test_an_outage_of_both_sides_condemns_nobody():
    assert not play(*[window((3, 3), (47, 47))] * 100).condemned
    assert not play(*[window((25, 20), (25, 20))] * 100).condemned
    assert play(*[window((25, 25), (25, 20))] * 100).condemned


def test_worse_within_the_allowed_rate_is_not_condemned():
    small = [window((1000, 5), (1000, 0))] * 30
    assert not play(*small).condemned
    assert play(*small, under=Settings(max_error_rate=0.004, max_latency_increase=None)).condemned


def test_going_bad_after_long_good_behaviour_is_found():
    good = play(*[window((3, 0), (47, 1))] * 600)
    bad = [window((3, 3), (47, 0))]
    assert play(*bad * 8, evidence=good).condemned
    assert not play(*bad, evidence=good).condemned


def test_what_it_did_well_before_does_not_excuse_what_it_does_now():
    good = play(*[window((50, 0), (50, 0))] * 200)
    bad = play(*[window((25, 15), (25, 0))] * 4, evidence=good)
    assert bad.canary.rate < ERRORS.max_error_rate
    assert bad.condemned


def test_a_canary_alone_is_held_to_the_allowed_rate():
    assert play(*[window((50, 2), None)] * 8).condemned
    assert not play(*[window((50, 0), None)] * 600).condemned
    assert not play(*([window((200, 1), None)] * 100)).condemned


def test_a_canary_alone_may_fail_as_often_as_the_release_before():
    before = [window((3, 0), (470, 24))] * 20
    after = [window((500, 25), None)] * 60
    assert play(*after).condemned
    assert not play(*before, *after).condemned


def test_errors_in_clumps_count_once():
    lumps = [window((25, 0), (25, 0)), window((25, 3), (25, 0))] * 3
    assert play(*lumps).condemned
    assert not play(*lumps, under=Settings(max_latency_increase=None, clump=3)).condemned


# latency


def test_three_times_as_slow_is_found_and_as_much_as_allowed_is_not():
    def run(times, seed):
        r = random.Random(seed)
        return play(
            *(
                Window(measured(lognormal(r, 5, 0.05 * times)), measured(lognormal(r, 45, 0.05)))
                for _ in range(60)
            ),
            under=USUAL,
        ).condemned

    assert run(3, 1)
    assert not run(1.4, 2)
    assert not run(1, 3)


def test_a_slow_tail_is_found():
    r = random.Random(1)
    looks = []
    for _ in range(60):
        slow = [2.0 if r.random() < 0.1 else 0.05 for _ in range(25)]
        looks.append(Window(measured(slow), measured(lognormal(r, 25, 0.05, 0.2))))
    assert play(*looks, under=USUAL).condemned


def test_a_spike_that_slows_both_down_condemns_nobody():
    r = random.Random(1)
    looks = [
        Window(measured(lognormal(r, 12, median)), measured(lognormal(r, 38, median)))
        for median in [0.05] * 30 + [1.0] * 30
    ]
    assert not play(*looks, under=USUAL).condemned


def held_up(looks, times, waited=20, **more):
    """A canary like its other side, but that of all it was asked in some looks so many waited."""
    r = random.Random(4)
    return [
        Window(
            measured(
                ([0.3] * waited if n in times else []) + lognormal(r, 20 - waited * (n in times), 0.01, 0.3)
            ),
            measured(lognormal(r, 20, 0.01, 0.3)),
            **more,
        )
        for n in range(looks)
    ]


def test_a_process_that_was_held_up_once_is_not_slow():
    assert not play(*held_up(40, (20,)), under=USUAL).condemned
    assert play(*held_up(40, range(20, 40)), under=USUAL).condemned


def test_on_a_busy_machine_it_takes_more_to_be_slow():
    some = range(20, 28)
    assert play(*held_up(40, some, 7), under=USUAL).condemned
    assert not play(*held_up(40, some, 7, crowded=True), under=USUAL).condemned
    assert play(*held_up(60, range(20, 60), 7, crowded=True), under=USUAL).condemned


def test_below_two_milliseconds_nothing_is_slow():
    looks = [Window(measured([0.0019] * 20), measured([0.0001] * 20))] * 60
    assert not play(*looks, under=USUAL).condemned


def test_a_canary_alone_is_compared_with_what_was_before():
    r = random.Random(1)
    before = [Window(Side(), measured(lognormal(r, 50, 0.05))) for _ in range(20)]
    for times, bad in ((3, True), (1, False)):
        after = [Window(measured(lognormal(r, 50, 0.05 * times))) for _ in range(30)]
        assert bool(play(*before, *after, under=USUAL).condemned) == bad


# silence


def silent(waiting, stable=(47, 0, (), 2), **more):
    return window((0, 0, (), waiting), stable, **more)


def test_a_canary_that_answers_nothing_is_condemned_in_seconds():
    looks = [silent(n) for n in (3, 5, 8, 10)]
    assert not play(*looks[:3]).condemned
    assert play(*looks).condemned[0] == "no answer for 3 s, 10 requests wait"


def test_silence_of_both_sides_or_of_nobody_asked_says_nothing():
    assert not play(*[silent(20, stable=(0, 0, (), 400))] * 60).condemned
    assert not play(*[silent(2)] * 60).condemned
    assert not play(*[silent(20), window((1, 0, (), 20), (47, 0))] * 60).condemned


def test_silence_is_no_fault_where_answers_take_that_long():
    slow = Side(5, 0, histogram([20.0] * 5), 100)
    assert not play(*[Window(Side(0, 0, (), 5), slow)] * 9, under=USUAL).condemned


def test_silence_is_no_fault_where_answers_took_that_long_before():
    before = window((0, 0), (100, 0, histogram([10.0] * 30 + [0.1] * 70)))
    assert not play(before, *[silent(3)] * 4, under=USUAL).condemned
    assert play(before, *[silent(40)] * 4, under=USUAL).condemned


@pytest.mark.parametrize(
    ("known", "waits", "bad"),
    [
        ([], 11, True),
        ([0.1] * 5, 11, True),
        ([0.1] * 500, 11, True),
        ([20.0] * 10, 40, False),
        ([20.0] * 10, 230, True),
        ([20.0] * 40 + [0.1] * 60, 25, False),
    ],
)
def test_alone_it_is_silent_where_no_answer_took_that_long(known, waits, bad):
    before = Window(Side(), measured(known)) if known else Window(Side(), Side())
    alone = Window(Side(0, 0, (), 6), None, seconds=1.0)
    assert bool(play(before, *[alone] * (waits + 1), under=USUAL).condemned) == bad


def test_a_silent_canary_is_not_promoted():
    good = play(*[window((50, 0), (50, 0))] * 20)
    assert conclude(good, ERRORS).outcome is Outcome.PROMOTED
    state = conclude(play(silent(9), evidence=good), ERRORS)
    assert state.outcome is Outcome.INCONCLUSIVE
    assert "given none for a while" in state.reasons[0]


def test_a_silent_canary_alone_is_given_longer():
    assert not play(*[silent(9, stable=None)] * 10).condemned
    assert play(*[silent(9, stable=None)] * 11).condemned


# signals


def test_a_signal_condemns_when_it_stays_out_of_bounds():
    def after(*values, **bounds):
        evidence = Evidence()
        for value in values:
            evidence = look(evidence, [], ERRORS, [Signal("queue", value, **bounds)])
        return evidence

    assert after(11, 11, 11, most=10).condemned == ("signal queue out of bounds 3 times in a row",)
    assert not after(11, 11, 9, 11, 11, most=10).condemned
    assert after(11, None, 11, 11, most=10).condemned
    assert after(1, 1, 1, least=2).condemned
    assert after(21, 21, 21, most=2, stable=10).condemned
    assert not after(19, 19, 19, most=2, stable=10).condemned
    assert not after(math.nan, None, math.inf, most=10).condemned
    for unclear in ((None,), (math.nan,), (11,)):
        state = conclude(after(*unclear, most=10), ERRORS)
        assert state.outcome is Outcome.INCONCLUSIVE
        assert any("signal queue" in reason for reason in state.reasons)


# the verdict


def test_too_little_traffic_is_neither_good_nor_bad():
    for evidence in (Evidence(), play(window((0, 0), (1000, 0))), play(window((10, 0), (90, 0)))):
        state = conclude(evidence, ERRORS)
        assert state.outcome is Outcome.INCONCLUSIVE
        assert "more requests to the new release" in state.reasons[0]


def test_enough_traffic_without_evidence_is_good():
    n = requests_needed(ERRORS, 0.05, 0.5 / 2000)
    almost = play(window((n - 20, 0), (19 * (n - 20), 0)))
    assert conclude(almost, ERRORS).outcome is Outcome.INCONCLUSIVE
    enough = play(window((20, 0), (19 * 20, 0)), window((20, 0), (19 * 20, 0)), evidence=almost)
    state = forming(enough, ERRORS)
    assert isinstance(state, Forming)
    assert not state.missing
    assert conclude(enough, ERRORS).outcome is Outcome.PROMOTED


def test_what_it_had_alone_counts_too():
    n = requests_needed(ERRORS, 1.0, 0.0)
    assert conclude(play(window((n, 0), None)), ERRORS).outcome is Outcome.PROMOTED
    assert conclude(play(window((n - 1, 0), None)), ERRORS).outcome is Outcome.INCONCLUSIVE


def test_latency_must_have_been_compared():
    few = play(*[Window(Side(100), Side(900))] * 20, under=USUAL)
    state = conclude(few, USUAL)
    assert state.outcome is Outcome.INCONCLUSIVE
    assert "compare latency" in state.reasons[0]
    r = random.Random(1)
    looks = (Window(measured(lognormal(r, 10, 0.05)), measured(lognormal(r, 90, 0.05))) for _ in range(40))
    assert conclude(play(*looks, under=USUAL), USUAL).outcome is Outcome.PROMOTED


def test_what_looks_worse_is_not_promoted():
    def concluded(max_error_rate):
        under = Settings(max_error_rate=max_error_rate, max_latency_increase=None, alpha=1e-4)
        looks = window((400, 0), (7600, 40)), window((100, 0), (1900, 10)), window((5, 5), (95, 1))
        return conclude(play(*looks, under=under), under)

    assert concluded(0.5).outcome is Outcome.PROMOTED
    assert concluded(0.009).outcome is Outcome.INCONCLUSIVE
    assert "looks worse, which is not proven" in concluded(0.009).reasons[0]


def test_what_looks_slower_is_not_promoted():
    r = random.Random(1)
    evidence = Evidence()
    while forming(evidence, USUAL).figures.latency_worse < 0.5:
        slow = Window(measured(lognormal(r, 5, 0.15)), measured(lognormal(r, 45, 0.05)))
        evidence = look(evidence, [slow], USUAL)
    state = conclude(evidence, USUAL)
    assert state.outcome is Outcome.INCONCLUSIVE
    assert any("looks slower" in reason for reason in state.reasons)


def test_a_whole_switch_is_judged_by_what_was_before():
    """Blue-green: the release before alone, then the canary alone."""
    r = random.Random(1)
    before = [Window(Side(), measured(lognormal(r, 50, 0.05))) for _ in range(20)]
    after = [Window(measured(lognormal(r, 50, 0.05))) for _ in range(100)]
    under = Settings(smallest_share=0.05)
    assert conclude(play(*before, under=under), under).outcome is Outcome.INCONCLUSIVE
    assert conclude(play(*before, *after, under=under), under).outcome is Outcome.PROMOTED


def test_a_starved_canary_is_not_promoted():
    starved = play(*[window((10, 0), (9990, 0))] * 100)
    assert conclude(starved, ERRORS).outcome is Outcome.PROMOTED
    wanted = Settings(max_latency_increase=None, smallest_share=0.05)
    assert conclude(starved, wanted).outcome is Outcome.INCONCLUSIVE


def test_rolled_back_is_said_with_its_figures_and_stays_said():
    bad = play(*[window((5, 5), (45, 0))] * 3)
    for evidence in (bad, play(*[window((500, 0), (500, 0))] * 100, evidence=bad)):
        for state in (forming(evidence, ERRORS), conclude(evidence, ERRORS)):
            assert isinstance(state, Verdict)
            assert state.outcome is Outcome.ROLLED_BACK
            assert state.reasons[0].startswith("of the new release 5 of 5 requests failed (100.00%)")
    assert conclude(bad, ERRORS).figures.errors_worse == 1


def test_evidence_survives_being_stored():
    r = random.Random(1)
    looks = [
        Window(measured(lognormal(r, 5, 0.1), 1), measured(lognormal(r, 45, 0.05), 1), 1.5) for _ in range(9)
    ]
    half = look(play(*looks[:5], under=USUAL), [silent(5)], USUAL, [Signal("s", 3, most=2)])
    stored = Evidence.from_json(json.loads(json.dumps(half.to_json(), allow_nan=False)))
    assert stored == half
    assert play(*looks[5:], under=USUAL, evidence=stored) == play(*looks[5:], under=USUAL, evidence=half)


def sides(most=60):
    def side(n, k, latency, waiting):
        counts = [0] * BUCKETS
        counts[latency] = n - min(n, k)
        return Side(n, min(n, k), tuple(counts), waiting)

    return st.builds(
        side, st.integers(0, most), st.integers(0, most), st.integers(0, BUCKETS - 1), st.integers(0, 5)
    )


def histories(most=60):
    w = st.builds(Window, sides(most), st.none() | sides(most))
    return st.lists(st.lists(w, min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(histories(), histories())
def test_once_rolled_back_nothing_promotes(first, then):
    evidence = play(*first, *[[window((30, 30), (30, 0))]], under=USUAL)
    assert evidence.condemned
    assert conclude(play(*then, under=USUAL, evidence=evidence), USUAL).outcome is Outcome.ROLLED_BACK


@settings(max_examples=30, deadline=None)
@given(histories(), st.integers(0, 5))
def test_the_order_of_windows_in_a_look_does_not_matter(history, which):
    which %= len(history)
    before = play(*history[:which], under=USUAL)
    results = {look(before, order, USUAL) for order in permutations(history[which])}
    assert len(results) == 1


@settings(max_examples=30, deadline=None)
@given(histories(), st.data())
def test_one_more_error_never_helps(history, data):
    """An answer of the new release becomes an error, everything else the same."""
    n = data.draw(st.integers(0, len(history) - 1))
    m = data.draw(st.integers(0, len(history[n]) - 1))
    old = history[n][m]
    if old.canary.errors == old.canary.requests:
        return
    canary = Side(old.canary.requests, old.canary.errors + 1, old.canary.latencies, old.canary.unanswered)
    changed = [list(windows) for windows in history]
    changed[n][m] = Window(canary, old.stable, old.seconds)
    without, with_it = play(*history, under=USUAL), play(*changed, under=USUAL)
    assert with_it.worse.log_evidence >= without.worse.log_evidence - 1e-6
    order = [Outcome.PROMOTED, Outcome.INCONCLUSIVE, Outcome.ROLLED_BACK]
    assert order.index(conclude(with_it, USUAL).outcome) >= order.index(conclude(without, USUAL).outcome)


@settings(max_examples=30, deadline=None)
@given(histories(most=10**9), st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.sampled_from([None, 0.0, 0.5, 900]))
def test_no_figure_overflows(history, rate, slower):
    under = Settings(max_error_rate=rate, max_latency_increase=slower)
    evidence = play(*history, under=under)
    state = conclude(evidence, under)
    for process in (evidence.worse, evidence.above, evidence.slower):
        assert math.isfinite(process.log_evidence)
    json.dumps(state.figures.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Side(1, 2),
        lambda: Side(-1, -1),
        lambda: Side(1, 0, (1,)),
        lambda: Settings(alpha=0),
        lambda: Settings(max_error_rate=1.5),
        lambda: Settings(max_latency_increase=-1),
        lambda: Settings(clump=0),
    ],
)
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(ValueError):
        bad()


def test_where_answers_are_too_fast_for_a_difference_few_are_waited_for():
    """An app of 4 ms: three times that is less than what counts, so no number of answers would show it."""
    fast = histogram([0.004] * 900 + [0.007] * 90 + [0.015] * 10)
    assert latencies_needed(USUAL, 0.2, fast) <= 500
