"""Which repository has what, from runs as values."""

from datetime import UTC, datetime, timedelta

import pytest

from homeport.backup.coverage import is_new, kept, made_in, missing, of, still_wrong
from homeport.backup.files.plan import Sources
from homeport.backup.model import FAILED, MAKING, PASSED, Run, Step
from homeport.backup.plan import backup_steps
from homeport.backup.port import Wanted, WantedCluster, WantedDump, WantedFiles
from homeport.backup.repositories import Place, Recorded
from homeport.journal.store import text_time

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAIN, SHOP = ("cluster", "main"), ("files", "shop.production")
WANTED = Wanted(clusters=(WantedCluster("main"),), files=(WantedFiles(Sources("shop.production", ())),))


def repository(name, since=NOW - 9 * HOUR):
    return Recorded(name, Place(path=f"/{name}"), since=since)


def step(work, at, *made, state=PASSED, **request):
    return Step(
        work,
        work,
        request,
        state=state,
        started_at=text_time(at),
        result={"made": [{"repository": r} for r in made]},
    )


def run(at, *steps):
    return Run("b-0123456789", "backup", "all", MAKING, {}, "homeport", PASSED, steps, "", at, at)


def test_the_newest_of_each_thing_in_each_repository_counts():
    runs = [
        run(NOW - HOUR, step("cluster", NOW - HOUR, "near", cluster="main", state=FAILED)),
        run(NOW - 2 * HOUR, step("cluster", NOW - 2 * HOUR, "near", "far", "gone", cluster="main")),
        run(NOW + HOUR, step("files", NOW + HOUR, "near", series="shop.production")),
    ]
    there = kept(runs, [repository("near"), repository("far")], NOW)
    assert there == {MAIN: {"near": NOW - HOUR, "far": NOW - 2 * HOUR}}
    # Another one had its name before.
    assert kept(runs, [repository("far", NOW - HOUR)], NOW) == {}


def test_what_a_repository_should_have():
    two = [repository("near"), repository("far")]
    assert missing(WANTED, {}, two) == {"near": (MAIN,), "far": (MAIN,)}, "files wait for their schedule"
    there = {MAIN: {"near": NOW}, SHOP: {"near": NOW}}
    assert missing(WANTED, there, two) == {"far": (MAIN, SHOP)}
    assert missing(WANTED, {MAIN: {"near": NOW, "far": NOW}}, two) == {}


def test_every_copy_that_a_backup_makes_is_known():
    dump = WantedDump("shop", "production", "reports", "URL")
    steps = backup_steps(
        Wanted(WANTED.clusters, WANTED.files, dumps=(dump,)), ["near"], full=False, prove=True
    )
    assert {of(s) for s in steps} == {MAIN, SHOP, ("dump", "shop.production.reports"), None}
    assert made_in(steps[0]) == frozenset()


@pytest.mark.parametrize(
    ("repositories", "wanted", "new"),
    [
        ([repository("near")], WANTED, False),
        ([repository("near"), repository("far", NOW)], WANTED, True),
        ([repository("near")], Wanted(clusters=(*WANTED.clusters, WantedCluster("other"))), True),
        # Files wait for the schedule.
        (
            [repository("near")],
            Wanted(WANTED.clusters, (WantedFiles(Sources("blog.production", ())),)),
            False,
        ),
    ],
)
def test_what_cannot_wait_for_the_next_backup(repositories, wanted, new):
    last = run(NOW - HOUR, step("cluster", NOW - HOUR, cluster="main"))
    assert is_new(wanted, repositories, last) is new
    assert is_new(wanted, repositories, None)


def test_what_failed_in_a_repository_that_is_gone_is_over():
    copied = step("cluster", NOW, "near", cluster="main", state=FAILED)
    proof = step("prove", NOW, repository="far", state=FAILED)
    pruned = step("prune", NOW, state=FAILED)
    found = run(NOW, copied, proof, pruned)
    assert still_wrong(found, [repository("near")]) == (pruned,)
    assert still_wrong(found, [repository("near"), repository("far")]) == (copied, proof, pruned)
