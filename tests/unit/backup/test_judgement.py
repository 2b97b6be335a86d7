"""Whether everything could be brought back: each thing that can be wrong, alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeport.backup.files.plan import Sources
from homeport.backup.judgement import Facts, judge
from homeport.backup.model import FAILED, MAKING, PASSED, RUNNING, STATE, Run, Step
from homeport.backup.port import Wanted, WantedCluster, WantedFiles
from homeport.backup.repositories import Place, Recorded
from homeport.backup.rounds import Look

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


MAIN, OWN = ("cluster", "main"), ("files", "homeport")


def run(at, state=PASSED, kind="backup", failed=""):
    wrong = Step(failed, failed, state=FAILED, error={"sentence": "cannot do it"})
    proof = Step("proof", "prove", state=PASSED)
    steps = (wrong,) if failed else (proof,)
    return Run(f"b-{at:%d%H%M}", kind, "all", MAKING, {}, "homeport", state, steps, "", at, at)


def look(at, *codes, lost=5):
    findings = tuple({"code": c, "sentence": c.replace(".", " ")} for c in codes)
    return Look("main", at, lost, findings)


LAST = run(NOW - 10 * MINUTE)
WELL = Facts(
    now=NOW,
    repositories=(Recorded("disk", Place(path="/b")),),
    held=None,
    last=LAST,
    proving=(LAST,),
    states=(),
    proven_at=NOW - 10 * MINUTE,
    looks=(look(NOW),),
    recently={"main": (look(NOW),)},
    targets={"main": 300.0},
    wanted=Wanted(clusters=(WantedCluster("main"),), files=(WantedFiles(Sources("homeport", ())),)),
    as_of={"homeport": NOW - 10 * MINUTE},
    there={MAIN: {"disk": NOW - 10 * MINUTE}, OWN: {"disk": NOW - 10 * MINUTE}},
    drills=(),
    locks=(),
)
FAILED_STATE = run(NOW - MINUTE, FAILED, STATE, failed="back up files of homeport")
LATE = run(NOW - 3 * HOUR)


def after_failure(failed):
    wrong = run(NOW, FAILED, failed=failed)
    return {"last": wrong, "proving": (wrong, LAST)}


def partly(at, kind="backup"):
    """One that failed in repository far."""
    error = {"sentence": "cannot reach far"}
    step = Step("back up", "files", {}, state=FAILED, error=error, result={"made": [{"repository": "disk"}]})
    return replace(run(at, FAILED, kind), steps=(step,))


TWO = (*WELL.repositories, Recorded("far", Place(bucket="b")))
BOTH = {"disk": NOW, "far": NOW}
PARTLY = {"last": partly(NOW), "proving": (LAST,)}


@pytest.mark.parametrize(
    ("changed", "says", "recoverable"),
    [
        ({"repositories": ()}, "there is no repository", False),
        ({"held": NOW}, "nothing is backed up since this machine was recovered", False),
        ({"repositories": (Recorded("s3", Place(bucket="b"), False),)}, "repository s3 is not made", False),
        (after_failure("cluster"), "the last backup failed: cluster: cannot do it", False),
        (after_failure("prune"), "the last backup failed: prune: cannot do it", True),
        ({"there": {OWN: {"disk": NOW}}}, "repository disk has no backup of cluster main yet", False),
        (
            {"repositories": TWO, "there": {MAIN: BOTH, OWN: {"disk": NOW}}},
            "far has no backup of files of",
            True,
        ),
        (
            {"repositories": TWO, "there": {MAIN: {"disk": NOW}, OWN: BOTH}},
            "far has no backup of cluster",
            True,
        ),
        (
            PARTLY | {"repositories": TWO, "there": {MAIN: BOTH, OWN: BOTH}},
            "the last backup failed: back up",
            True,
        ),
        ({"states": (FAILED_STATE,)}, "Homeport's own state is not backed up: back up files", False),
        ({"proving": (run(NOW, FAILED, "prove", "prove"), LAST)}, "prove failed: cannot do it", False),
        ({"last": LATE, "proving": (LATE,)}, "did not begin", False),
        ({"looks": (look(NOW, "wal_gap"),)}, "wal_gap", False),
        ({"looks": (look(NOW, "database.not_answering"),)}, "not_answering", True),
        ({"looks": (look(NOW - 6 * MINUTE),)}, "nobody looked at cluster main for 6 m", False),
        ({"proven_at": None}, "no backup was proven yet", False),
        ({"proven_at": NOW - 27 * HOUR}, "no backup was proven for 27 h", False),
        ({"drills": ("drill lost failed",)}, "drill lost failed", False),
        ({"locks": ("repository s3 is not locked",)}, "not locked", True),
        (
            {"recently": {"main": tuple(look(NOW - n * MINUTE, lost=400) for n in (2, 1, 0))}},
            "6 m 40 s of what was written to cluster main would be lost with the machine; the target is 5 m",
            False,
        ),
    ],
)
def test_each_problem_is_told_and_whether_it_stands_in_the_way_of_a_return(
    changed, says, recoverable
) -> None:
    [problem], can = judge(replace(WELL, **changed))
    assert says in problem and can is recoverable


@pytest.mark.parametrize(
    "changed",
    [
        {},
        # Nothing to lose.
        {"repositories": (), "wanted": Wanted(files=(WantedFiles(Sources("homeport", ())),))},
        # Kept since, by whichever run.
        {"states": (FAILED_STATE,), "as_of": {"homeport": NOW}},
        # It failed where nothing goes any more.
        PARTLY,
        {"states": (partly(NOW, kind=STATE),), "proving": (LAST,)},
        {"states": (run(NOW, RUNNING, STATE), run(NOW - HOUR, PASSED, STATE))},
        {"last": LATE, "proving": (run(NOW, RUNNING), LATE)},
    ],
)
def test_nothing_is_wrong(changed) -> None:
    assert judge(replace(WELL, **changed)) == ((), True)
