"""RPO, RTO and the age of proofs day by day, and when a missed target is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from homeport.backup.drills.model import Report, Targets
from homeport.backup.history import by_day, proven_at
from homeport.backup.judgement import over
from homeport.backup.model import CANCELLED, FAILED, MAKING, PASSED, Run, Step
from homeport.backup.plan import files_as_of
from homeport.backup.rounds import Look
from homeport.journal.store import text_time
from homeport.rollout.backups.recovered import ACTOR
from homeport.rollout.backups.services import last_ended

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def run(at, *states, subject="all"):
    steps = tuple(
        Step(f"p{n}", "prove", state=s, finished_at=text_time(at), result={"steps": {"restore": 4.0, "start": 0.5}})
        for n, s in enumerate(states)
    )  # fmt: skip
    return Run("b-0123456789", "backup", subject, MAKING, {}, "homeport", PASSED, steps, "", at, at)


def report(at, *, passed=True, rto=20.0):
    return Report(
        "b-1", "table-dropped", "main", text_time(at), "homeport", passed, 1.0, rto, Targets(), ()
    )  # fmt: skip


def test_each_day_has_its_worst() -> None:
    yesterday = NOW - timedelta(days=1)
    lost = [(yesterday, 30), (yesterday + timedelta(minutes=1), 90), (NOW, None), (NOW, 5)]
    runs = [run(NOW - timedelta(hours=1), PASSED, FAILED), run(yesterday, PASSED), run(yesterday, PASSED)]
    reports = [report(NOW, passed=False, rto=None), report(NOW, rto=40.0), report(NOW)]
    today, before, older = by_day(lost, runs, reports, NOW, 3)
    assert (today.rpo, before.rpo, older.rpo) == (5.0, 90.0, None)
    assert (today.proofs, today.proofs_failed, before.proofs, older.proofs) == (1, 1, 2, 0)
    assert (before.restore, older.restore) == (4.5, None)
    assert (today.drills, today.drills_failed, today.rto, today.drill_rpo) == (2, 1, 40.0, 1.0)
    assert older.proof_age is None and (older.drills, older.rto) == (0, None)


def test_a_proof_is_as_old_as_it_was_before_the_next_one() -> None:
    first = NOW.replace(hour=0) - timedelta(hours=6)
    second = NOW.replace(hour=10)
    today, before = by_day([], [run(second, PASSED), run(first, PASSED)], [], NOW, 2)
    assert before.proof_age == 6 * 3600.0
    assert today.proof_age == 16 * 3600.0


def test_a_run_proves_when_all_of_it_did() -> None:
    assert proven_at(run(NOW, PASSED, PASSED)) == NOW
    assert proven_at(run(NOW, PASSED, FAILED)) is None
    assert proven_at(run(NOW)) is None
    assert proven_at(run(NOW, PASSED, subject="local")) is None


def looks(*lost, every=60.0):
    return [Look("main", NOW + timedelta(seconds=n * every), value, ()) for n, value in enumerate(lost)]


def test_a_target_is_missed_when_it_is_for_minutes() -> None:
    assert over(looks(400, 400, 460), 300.0) == 460
    assert over(looks(3600, 60, 61), 300.0) is None
    assert over(looks(60, 3600), 300.0) is None
    assert over(looks(3600, 3600, 3600, every=1.0), 300.0) is None
    assert over(looks(400, None, 400), 300.0) is None
    assert over(looks(60, 60, 400, 400, 400, 400, 400), 300.0) == 400
    assert over([], 300.0) is None


def test_a_day_without_a_word_is_told_as_such() -> None:
    [day] = by_day([], [replace(run(NOW, PASSED), kind="prove", steps=())], [], NOW, 1)
    assert (day.rpo, day.proof_age, day.proofs, day.rto) == (None, None, 0, None)


def test_files_would_be_lost_since_their_backup_that_every_repository_has() -> None:
    def files(at, series, state):
        return Step(f"f {series}", "files", {"series": series}, state=state, started_at=text_time(at))

    def made(at, *steps):
        return Run("b-0123456789", "backup", "all", MAKING, {}, "homeport", PASSED, steps, "", at, at)

    before = NOW - timedelta(hours=1)
    runs = [
        made(NOW, files(NOW, "homeport", FAILED), files(NOW, "shop.production", PASSED)),
        made(before, files(before, "homeport", PASSED), files(before, "shop.production", PASSED)),
    ]
    found = files_as_of(runs, ["homeport", "shop.production", "shop.staging"], NOW)
    assert found == {"homeport": before, "shop.production": NOW, "shop.staging": None}


def test_what_a_recovery_ended_was_not_the_last_backup() -> None:
    ended = run(NOW - timedelta(hours=1), PASSED)
    cut_off = replace(run(NOW, PASSED), state=CANCELLED, cancel=ACTOR)
    assert last_ended([cut_off, ended]) == ended and last_ended([cut_off]) is None
    cancelled = replace(cut_off, cancel="ada")
    assert last_ended([cancelled, ended]) == cancelled
