"""Which upkeep is begun."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from homeport.rollout.data.rounds import Due, Rounds, Run, next_due
from homeport.spec.model_database import Upkeep

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
HOURLY = Upkeep("figures", "refresh", "figures", "0 * * * *")
NIGHTLY = Upkeep("small", "reindex", "orders", "0 3 * * *")
FIGURES = ("shop", "production", "main", "figures")
SMALL = ("shop", "production", "main", "small")
OTHER = ("shop", "staging", "main", "figures")


def begun(wanted, runs, busy=frozenset(), now=NOW):
    return [(d.key, d.at) for d in next_due(wanted, runs, busy, now)]


def at(hour, minute=0, *, day=21):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_what_was_never_seen_is_not_due_for_times_before():
    assert begun({FIGURES: HOURLY}, {}) == []


def test_due_times_are_run_once():
    assert begun({FIGURES: HOURLY}, {FIGURES: Run(at(11, 30))}) == [(FIGURES, at(12))]
    assert begun({FIGURES: HOURLY}, {FIGURES: Run(at(12))}) == []


def test_times_missed_while_nobody_looked_are_made_up_by_one_run():
    assert begun({FIGURES: HOURLY}, {FIGURES: Run(at(3, day=19))}) == [(FIGURES, at(12))]


def test_one_at_a_time_for_a_database_and_the_one_due_longer_first():
    wanted = {FIGURES: HOURLY, SMALL: NIGHTLY, OTHER: HOURLY}
    runs = {FIGURES: Run(at(11)), SMALL: Run(at(0)), OTHER: Run(at(11))}
    assert begun(wanted, runs) == [(SMALL, at(3)), (OTHER, at(12))]
    assert begun(wanted, runs, frozenset({SMALL[:3]})) == [(OTHER, at(12))]


def test_frequent_upkeep_takes_turns():
    often = {key: Upkeep(key[3], "refresh", "figures", "@every 2s") for key in (FIGURES, SMALL)}
    runs, turns = {FIGURES: Run(at(11)), SMALL: Run(at(11))}, []
    for seconds in range(0, 40, 10):
        (one,) = next_due(often, runs, frozenset(), NOW + timedelta(seconds=seconds))
        runs[one.key] = Run(one.at, one.at, one.at)
        turns.append(one.key)
    assert turns == [FIGURES, SMALL, FIGURES, SMALL]


def test_a_run_that_was_cut_off_is_due_again():
    cut = Run(at(12), started_at=at(12))
    assert begun({FIGURES: HOURLY}, {FIGURES: cut}) == [(FIGURES, at(12))]
    ended = Run(at(12), started_at=at(12), finished_at=at(12, 1))
    assert begun({FIGURES: HOURLY}, {FIGURES: ended}) == []


def test_a_clock_set_back_runs_nothing_twice():
    assert begun({FIGURES: HOURLY}, {FIGURES: Run(at(12))}, now=NOW - timedelta(hours=2)) == []


def test_a_run_that_ends_while_runs_are_read_is_not_done_again():
    parts = SimpleNamespace(state=SimpleNamespace(running=lambda: ()), clock=SimpleNamespace(now=lambda: NOW))
    rounds, begun = Rounds(parts, None, None, None, None), []
    rounds.wanted = lambda: {FIGURES: HOURLY}
    rounds.run = begun.append

    def read_before_it_ends():
        rounds._busy.discard(FIGURES[:3])
        return {FIGURES: Run(at(12), started_at=at(12))}

    rounds.runs = read_before_it_ends
    rounds._busy.add(FIGURES[:3])
    rounds._begin_upkeep()
    rounds._pool.shutdown()
    assert begun == []
    again = Rounds(parts, None, None, None, None)
    again.wanted, again.runs, again.run = rounds.wanted, lambda: rounds.runs(), begun.append
    again._begin_upkeep()
    again._pool.shutdown()
    assert begun == [Due(FIGURES, HOURLY, at(12))]
