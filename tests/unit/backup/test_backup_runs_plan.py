"""Which steps a run has, which comes next, how it ends, and when one is due."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from homeport.backup import plan
from homeport.backup.files.plan import sources
from homeport.backup.model import (
    CANCELLED,
    FAILED,
    MAKING,
    PASSED,
    RUNNING,
    SKIPPED,
    Run,
    Step,
    judged,
    next_step,
    outcome,
)
from homeport.backup.port import Wanted, WantedCluster, WantedDump, WantedFiles
from homeport.spec.model_backup import Backup

NOW = datetime(2026, 11, 21, 12, 10, tzinfo=UTC)
WANTED = Wanted(
    clusters=(WantedCluster("main"),),
    files=tuple(WantedFiles(s) for s in sources([("shop", "production")])),
    dumps=(WantedDump("shop", "production", "accounts", "ACCOUNTS_URL"),),
)


def run(*steps, cancel="", at=NOW, kind="backup", full=False, subject="all"):
    return Run("b-0123456789", kind, subject, MAKING, {"full": full}, "me", RUNNING, steps, cancel, at, None)


def played(made, outcomes):
    """The run as it is when each step that is done ends as told."""
    while (found := next_step(made)) is not None:
        step, how = found
        state = (
            outcomes.get(step.name, PASSED) if how == "do" else {"skip": SKIPPED, "cancel": CANCELLED}[how]
        )
        made = made.with_step(replace(step, state=state))
    return made


def test_clusters_first_then_dumps_and_files_and_homeport_s_own_last():
    names = [s.name for s in plan.backup_steps(WANTED, ("local", "far"), full=True, prove=True)]
    assert names == [
        "back up cluster main",
        "dump shop.production.accounts",
        "back up files of shop.production",
        "back up files of homeport",
        "prove cluster main in local",
        "prove cluster main in far",
        "prove files of homeport in local",
        "prove files of homeport in far",
        "prove files of shop.production in local",
        "prove files of shop.production in far",
        "prove dump shop.production.accounts in local",
        "prove dump shop.production.accounts in far",
        "keep what is known of them",
        "remove what need not be kept",
        "look at what could be lost",
    ]


def test_nothing_secret_is_in_a_step():
    steps = plan.backup_steps(WANTED, ("local",), full=False, prove=True)
    assert [s.request["secret"] for s in steps if s.work == "dump"] == ["ACCOUNTS_URL"]


def test_a_dump_is_proven_only_where_there_is_a_server_of_ours():
    alone = replace(WANTED, clusters=())
    assert not [s for s in plan.proof_steps(alone, ("local",)) if s.work == "prove-dump"]


def test_a_backup_that_failed_is_not_proven_and_the_others_are():
    made = played(
        run(*plan.backup_steps(WANTED, ("local",), full=False, prove=True)), {"back up cluster main": FAILED}
    )
    assert made.step("prove cluster main in local").state == SKIPPED
    assert made.step("prove files of homeport in local").state == PASSED
    assert outcome(made) == FAILED


ERROR = {"code": "backup.failed", "sentence": "cannot reach far", "hint": "", "details": []}


def broken(made, *names):
    """Each of the named steps has a backup in local and none in far."""
    for name in names:
        result = {"made": [{"repository": "local"}], "error": ERROR}
        made = made.with_step(judged(replace(made.step(name), state=PASSED, result=result)))
    return made


def test_a_backup_that_one_repository_lacks_failed_and_is_proven_in_the_others():
    begun = run(*plan.backup_steps(WANTED, ("local", "far"), full=False, prove=True))
    making = [s.name for s in begun.steps if s.work in ("cluster", "files", "dump")]
    made = played(broken(begun, *making), {})
    for name in making:
        step = made.step(name)
        assert (step.state, step.error) == (FAILED, ERROR)
        assert step.result == {"made": [{"repository": "local"}]}
    proofs = {s.name: s.state for s in made.steps if s.work.startswith("prove")}
    assert set(proofs.values()) == {PASSED, SKIPPED} and len(proofs) == 8
    assert all((state == PASSED) == name.endswith("in local") for name, state in proofs.items())
    assert outcome(made) == FAILED


def test_what_is_no_proof_needs_all_of_what_it_stands_on():
    half = judged(Step("a", "cluster", state=PASSED, result={"made": [{"repository": "r"}], "error": ERROR}))
    other = Step("b", "restore-copy", {"repository": "r"}, needs=("a",))
    assert next_step(run(half, other)) == (other, "skip")
    nowhere = replace(half, result=None)
    assert next_step(run(nowhere, Step("p", "prove", {"repository": "r"}, needs=("a",))))[1] == "skip"


def test_a_cancelled_run_puts_back_what_it_has_to():
    back = Step("put back", "here:back", always=True)
    made = played(run(Step("a", "a", state=PASSED), Step("b", "b"), back, cancel="me"), {})
    assert [s.state for s in made.steps] == [PASSED, CANCELLED, PASSED]
    assert outcome(made) == CANCELLED


def test_from_every_interrupted_prefix_it_comes_to_the_same_end():
    steps = plan.backup_steps(WANTED, ("local",), full=False, prove=True)
    wanted = [s.state for s in played(run(*steps), {}).steps]
    for cut in range(len(steps)):
        begun = tuple(
            replace(s, state=PASSED if n < cut else RUNNING if n == cut else s.state)
            for n, s in enumerate(steps)
        )
        found, how = next_step(run(*begun))
        assert (found.name, how) == (steps[cut].name, "do")
        assert [s.state for s in played(run(*begun), {}).steps] == wanted


def test_a_proof_that_found_something_or_could_not_decide_is_a_failed_step():
    proof = {"failures": [], "undecided": []}
    for work in ("prove", "prove-files", "prove-dump"):
        step = Step("p", work, state=PASSED, result=proof)
        assert judged(step).state == PASSED
        wrong = judged(replace(step, result={"failures": ["orders: 3 rows of 4", "more"]}))
        assert (wrong.state, wrong.error["sentence"], wrong.error["details"]) == (
            FAILED,
            "orders: 3 rows of 4",
            ["more"],
        )
        assert judged(replace(step, result={"failures": [], "undecided": ["no manifest"]})).state == FAILED
    assert judged(Step("b", "cluster", state=PASSED, result={"failures": ["x"]})).state == PASSED


def test_times_missed_are_made_up_by_one():
    last = NOW - timedelta(days=3)
    assert plan.due((Backup(),), last, NOW, full=False) == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert plan.due((), datetime(2026, 11, 21, 12, tzinfo=UTC), NOW, full=False) is None
    assert plan.due((), None, NOW, full=True) == NOW


def test_the_soonest_of_several_schedules_holds():
    often, nightly = Backup(schedule="*/5 * * * *"), Backup(schedule="0 3 * * *")
    last = NOW - timedelta(minutes=6)
    assert plan.due((nightly, often), last, NOW, full=False) == NOW


def test_a_run_of_a_clock_that_was_ahead_keeps_none_from_being_due():
    ahead, before = run(at=NOW + timedelta(days=400)), run(at=NOW - timedelta(hours=2))
    assert plan.last_of((ahead, before), NOW, full=False) == before.started_at
    assert plan.last_of((ahead,), NOW, full=False) is None


def test_a_full_one_counts_for_both_and_what_is_no_backup_of_all_for_none():
    full, prove = run(full=True), run(kind="prove")
    assert plan.last_of((prove, full), NOW, full=False) == plan.last_of((full,), NOW, full=True) == NOW
    assert plan.last_of((run(),), NOW, full=True) is None
    assert plan.last_of((prove,), NOW, full=False) is None


def test_the_first_backup_of_a_cluster_is_a_full_one_whoever_asked_for_it():
    def of(kind, state=PASSED):
        made = {"made": [{"repository": "local", "kind": kind}]}
        return run(Step("back up cluster main", "cluster", state=state, result=made))

    assert plan.last_of((of("full"),), NOW, full=True) == NOW
    assert plan.last_of((of("incr"),), NOW, full=True) is None
    assert plan.last_of((of("full", FAILED),), NOW, full=True) is None


def test_each_series_is_kept_as_its_owner_says():
    keep = plan.prune_step(WANTED).request["keep"]
    assert set(keep) == {"main", "homeport", "shop.production", "shop.production.accounts"}
