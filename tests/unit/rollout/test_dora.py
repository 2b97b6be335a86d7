"""The four measures, on histories small enough to reckon by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from homeport.journal.model import Record
from homeport.kernel.errors import HomeportError
from homeport.rollout import dora
from homeport.rollout.dora import Commit, Passage, Spread, measure, spread
from homeport.rollout.dora_records import begin

DAY0 = datetime(2026, 11, 1, tzinfo=UTC)
NONE = Spread(0, None, None)
END = DAY0 + timedelta(days=30)


def day(n: float) -> datetime:
    return DAY0 + timedelta(days=n)


class Journal:
    """Records as changes of one environment leave them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._changes = 0

    def tell(self, at, kind, change=None, **data):
        self.records.append(
            Record(len(self.records) + 1, at, kind, "shop", "production", change, "ann", data, "")
        )

    def begin(self, at, release, what="deploy"):
        self._changes += 1
        change = f"c-{self._changes}"
        self.tell(at, "change.started", change, what=what, release=release, before=None)
        return change

    def weigh(self, at, change, **weights):
        self.tell(
            at, "traffic.shifted", change,
            weights={f"shop.production.{r}.web.1": w for r, w in weights.items()}, method="runtime",
        )  # fmt: skip

    def end(self, at, change, release, verdict, what="deploy"):
        self.tell(at, "change.finished", change, what=what, verdict=verdict, release=release)

    def promoted(self, at, release, what="deploy", commit_first=timedelta(seconds=60)):
        change = self.begin(at - commit_first, release, what)
        self.weigh(at, change, **{release: 100})
        self.tell(at, "release.promoted", change, release=release, before=None)
        self.end(at, change, release, "promoted", what)

    def failed(self, change, at, code="rollout.not_ready"):
        self.tell(at, "change.failed", change, code=code, reason="cannot go on", lines=[])


def measured(journal, commits=None, passages=(), *, since=DAY0, until=END):
    return measure(journal.records, commits or {}, passages, since=since, until=until)


def test_nothing_happened_gives_no_figures():
    found = measured(Journal())
    assert (found.deployments, found.per_day, found.failure_rate) == (0, None, None)
    assert found.lead_time == found.restore == NONE and found.stages == ()


def test_frequency_is_per_day_since_the_first_change():
    journal = Journal()
    for n in (20, 22, 24, 26, 28):
        journal.promoted(day(n), f"r{n}", commit_first=timedelta())
    found = measured(journal)
    assert found.since == day(20) and found.deployments == 5 and found.per_day == 0.5
    later = measured(journal, since=day(25))
    assert later.deployments == 2 and later.per_day == pytest.approx(0.4)
    assert measured(journal, since=day(29.5)).per_day is None


def test_a_quiet_period_of_a_known_environment_has_no_deployments_rather_than_no_figure():
    journal = Journal()
    journal.promoted(day(1), "r1")
    found = measured(journal, since=day(10))
    assert (found.deployments, found.per_day, found.failure_rate) == (0, 0.0, None)


def test_lead_time_runs_from_a_commit_to_its_first_promotion():
    journal = Journal()
    commits = {
        "r1": Commit("a", day(1) - timedelta(hours=1)),
        "r2": Commit("b", day(2) - timedelta(hours=3)),
        "r3": Commit("b", day(2) - timedelta(hours=3)),
        "r4": Commit("c", day(4) - timedelta(hours=9), dirty=True),
        "r5": Commit("d", None),
        "r6": Commit("e", day(6) + timedelta(hours=1)),
        "r7": Commit("f", day(7) - timedelta(hours=5)),
    }
    for n in range(1, 8):
        journal.promoted(day(n), f"r{n}", "configure" if n == 3 else "deploy")
    found = measured(journal, commits)
    assert found.deployments == 7
    assert found.lead_time == Spread(3, 3 * 3600.0, None)
    # Of the two within the period, r7 alone came with a commit that was new here.
    assert measured(journal, commits, since=day(6.5)).lead_time == Spread(1, 5 * 3600.0, None)
    assert measured(journal, commits, since=day(2.5), until=day(3.5)).lead_time == NONE


def test_a_release_that_people_went_back_from_is_a_failure_until_the_next_well_one():
    journal = Journal()
    journal.promoted(day(1), "r1")
    journal.promoted(day(2), "r2")
    journal.promoted(day(2) + timedelta(minutes=10), "r1", "rollback")
    journal.promoted(day(3), "r3")
    journal.promoted(day(4), "r4")
    found = measured(journal)
    assert (found.deployments, found.exposed, found.rolled_back, found.taken_back) == (4, 4, 1, 0)
    assert found.failure_rate == 0.25
    assert found.restore == Spread(1, 600.0, None) and found.unrestored == 0


def test_a_rollback_to_what_was_bad_too_restores_nothing():
    journal = Journal()
    journal.promoted(day(1), "r1")
    journal.promoted(day(2), "r2")
    journal.promoted(day(2) + timedelta(hours=1), "r3")
    journal.promoted(day(2) + timedelta(hours=2), "r2", "rollback")
    journal.promoted(day(2) + timedelta(hours=4), "r1", "rollback")
    found = measured(journal)
    # r3 was left for r2, which was left for r1: r3 took from 1 h to 4 h. r2 was left as a rollback's target.
    assert found.rolled_back == 1 and found.restore == Spread(1, 3 * 3600.0, None)
    assert found.failure_rate == pytest.approx(1 / 3)


def test_a_canary_that_was_taken_back_counts_from_its_first_requests_to_its_last():
    journal = Journal()
    journal.promoted(day(1), "r1")
    change = journal.begin(day(2), "r2")
    journal.weigh(day(2) + timedelta(seconds=30), change, r1=95, r2=5)
    journal.weigh(day(2) + timedelta(seconds=60), change, r1=75, r2=25)
    journal.failed(change, day(2) + timedelta(seconds=69))
    journal.weigh(day(2) + timedelta(seconds=70), change, r1=100, r2=0)
    journal.end(day(2) + timedelta(seconds=90), change, "r2", "rolled back")
    found = measured(journal)
    assert (found.deployments, found.exposed, found.taken_back, found.failure_rate) == (1, 2, 1, 0.5)
    assert found.restore == Spread(1, 40.0, None)


def test_what_failed_before_a_request_or_was_cancelled_broke_nothing():
    journal = Journal()
    journal.promoted(day(1), "r1")
    built = journal.begin(day(2), "r2")
    journal.failed(built, day(2))
    journal.end(day(2), built, "r2", "rolled back")
    asked = journal.begin(day(3), "r3")
    journal.weigh(day(3), asked, r1=95, r3=5)
    journal.failed(asked, day(3), "rollout.cancelled")
    journal.weigh(day(3), asked, r1=100, r3=0)
    journal.end(day(3), asked, "r3", "rolled back")
    found = measured(journal)
    assert (found.exposed, found.failure_rate, found.restore) == (1, 0.0, NONE)
    assert (found.kept_back, found.cancelled) == (1, 1)


def test_restarts_builds_and_rollbacks_are_no_deployments():
    journal = Journal()
    journal.promoted(day(1), "r1")
    for what in ("restart", "scale", "heal", "build"):
        change = journal.begin(day(2), "r1", what)
        journal.weigh(day(2), change, r1=100)
        journal.end(day(2), change, "r1", "built" if what == "build" else "promoted", what)
    again = journal.begin(day(3), "r1")
    journal.end(day(3), again, "r1", "promoted")
    found = measured(journal)
    assert (found.deployments, found.exposed, found.kept_back) == (1, 1, 1 - 1 + found.kept_back)
    running = journal.begin(day(4), "r9")
    journal.weigh(day(4), running, r1=95, r9=5)
    assert measured(journal).exposed == 1


def test_an_app_that_was_destroyed_begins_anew():
    journal = Journal()
    journal.promoted(day(1), "r1")
    journal.promoted(day(2), "r2")
    journal.tell(day(3), "app.destroyed")
    journal.promoted(day(20), "r1", commit_first=timedelta())
    found = measured(journal)
    assert found.deployments == 1 and found.since == day(20)


def test_the_ninetieth_percentile_is_a_rank_and_wants_ten_values():
    assert spread([]) == NONE
    assert spread([3, 1, 2, 10]) == Spread(4, 2.5, None)
    assert spread(range(1, 10)).p90 is None
    assert spread(range(1, 11)) == Spread(10, 5.5, 9)
    assert spread(range(1, 21)) == Spread(20, 10.5, 18)
    assert spread(range(1, 12)).p90 == 10


def test_stages_are_told_in_their_order_without_what_was_cancelled():
    def passage(kind, position, state, seconds, environment=None):
        return Passage(kind, f"{kind} it", environment, position, state, seconds)

    found = dora.stage_times(
        [
            passage("deploy", 2, "passed", 30.0, "staging"),
            passage("check", 0, "passed", 10.0),
            passage("check", 0, "failed", 4.0),
            passage("check", 0, "cancelled", 1.0),
            passage("build", 1, "passed", 20.0),
            passage("approve", 3, "cancelled", 9.0),
        ]
    )
    assert [(s.kind, s.passed, s.failed, s.seconds.median) for s in found] == [
        ("check", 1, 1, 7.0), ("build", 1, 0, 20.0), ("deploy", 1, 0, 30.0),
    ]  # fmt: skip


def test_a_period_begins_so_long_ago_or_at_a_time():
    now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    assert begin("30d", now) == now - timedelta(days=30)
    assert begin("1h30m", now) == now - timedelta(minutes=90)
    assert begin("2026-11-01", now) == DAY0
    assert begin("2026-11-01T02:00:00+02:00", now) == DAY0
    assert begin("2026-11-01T00:00:00Z", now) == DAY0
    for text in (
        "",
        "x",
        "30",
        "0s",
        "30y",
        "-3d",
        "2026-13-01",
        "2027-01-01",
        "9" * 30 + "d",
        "1e5d",
        "0001-01-01T00:00:00+09:00",
    ):
        with pytest.raises(HomeportError) as e:
            begin(text, now)
        assert e.value.code == "rollout.bad_period"
