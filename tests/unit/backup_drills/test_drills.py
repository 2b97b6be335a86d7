"""Steps of a drill, which scenario is next, and what its report says."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from homeport.backup.drills import plan, report
from homeport.backup.drills.breaking import candidates
from homeport.backup.drills.model import (
    BREAK,
    DETECT,
    LANE,
    NAMES,
    PHASES,
    REPORT,
    RESTORE,
    SCENARIOS,
    SMOKE,
    TIDY,
    VERIFY,
    Report,
    scenario,
)
from homeport.backup.drills.pdf import pdf
from homeport.backup.model import FAILED, PASSED, RUNNING, SKIPPED, Run, next_step
from homeport.backup.physical.manifest import Manifest, Table
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.spec.model_backup import DRILLS

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)


def at(seconds):
    return text_time(NOW + timedelta(seconds=seconds))


def begun(**request):
    targets = request.pop("targets", {"rpo": 60.0, "rto": 900.0})
    asked = {"scenario": "table-dropped", "cluster": "main", "targets": targets, "passphrase": "", **request}
    steps = plan.steps("table-dropped", "main", [{"name": "q"}], "")
    return Run("b-0123456789", "drill", "table-dropped", LANE, asked, "anna", RUNNING, steps, "", NOW, None)


def ended(run, failing="", **results):
    """Every step takes ten seconds; from ``failing`` on nothing passes."""
    bad = False
    for n, step in enumerate(run.steps):
        bad = bad or step.name == failing
        if step.name == failing:
            error = {"code": "drill.smoke_failed", "sentence": "cannot do it", "hint": "", "details": []}
            step = replace(
                step, state=FAILED, error=error, started_at=at(10 * n), finished_at=at(10 * n + 10)
            )
        elif bad and not step.always:
            step = replace(step, state=SKIPPED)
        else:
            found = {
                "told": [f"{step.name} done"],
                "figures": results.get(step.name.split()[0], {}),
                "todo": [],
            }
            step = replace(
                step,
                state=PASSED,
                result=found,
                started_at=at(10 * n),
                finished_at=at(10 * n + 10),
                seconds=10.0,
            )
        run = run.with_step(step)
    return run


def test_every_phase_needs_the_one_before_and_cleaning_up_needs_none():
    steps = plan.steps("table-dropped", "main", [{"name": "q"}], "")
    assert [s.name for s in steps] == [*PHASES, TIDY, REPORT]
    for before, step in pairwise(steps):
        assert step.always or step.needs == (before.name,)
    assert [s.name for s in steps if s.always] == [TIDY, REPORT]
    assert [s.name for s in steps if "questions" in s.request] == [SMOKE]


@pytest.mark.parametrize("failing", PHASES)
def test_wherever_it_fails_or_is_cancelled_it_is_cleaned_up_and_told(failing):
    for stopped in ("", "anna"):
        run = begun()
        done = []
        while (found := next_step(run)) is not None:
            step, how = found
            state = FAILED if step.name == failing else PASSED if how == "do" else SKIPPED
            done += [step.name] if how == "do" else []
            run = run.with_step(replace(step, state=state))
            if step.name == failing:
                run = replace(run, cancel=stopped)
        assert done[-2:] == [TIDY, REPORT] and done[-3] == failing


def test_the_scenario_rehearsed_longest_ago_is_next():
    assert plan.next_scenario({}) == NAMES[0]
    last = {name: NOW - timedelta(days=n) for n, name in enumerate(NAMES)}
    assert plan.next_scenario(last) == NAMES[-1]
    del last["cluster-lost"]
    assert plan.next_scenario(last) == "cluster-lost"
    assert plan.next_scenario(last, ("machine-lost", "passphrase-wrong")) == "passphrase-wrong"


def timed(**values):
    return plan.Timed(**{"key": 1, "of": "shop", "line": "0 5 * * 0", "timezone": "UTC", "since": NOW,
                         "cluster": "main", **values})  # fmt: skip


def test_a_drill_is_due_once_for_each_time_of_the_schedule():
    sunday = NOW + timedelta(days=1)
    assert NOW.strftime("%a") == "Sat"
    assert timed().due(sunday - timedelta(hours=1)) is None
    assert timed().due(sunday + timedelta(hours=1)) == sunday == timed().next_at
    assert timed(since=sunday).due(sunday + timedelta(hours=1)) is None
    assert timed(timezone="Europe/Berlin").due(sunday) == sunday - timedelta(hours=1)


def test_a_drill_that_did_not_begin_is_missed_after_a_while():
    sunday = NOW + timedelta(days=1)
    assert timed().late(sunday + plan.LATE - timedelta(seconds=1)) is None
    assert timed().late(sunday + plan.LATE) == sunday


def test_the_clock_chooses_what_can_be_rehearsed():
    assert plan.possible(timed(), 2) == NAMES
    assert "repository-unreachable" not in plan.possible(timed(), 1)
    assert plan.possible(timed(scenarios=("repository-unreachable",)), 1) == ("repository-unreachable",)
    without = plan.possible(timed(cluster=""), 2)
    assert without == ("machine-lost", "repository-unreachable", "passphrase-wrong")
    assert plan.possible(timed(cluster="", scenarios=("table-dropped",)), 2) == ()


def rehearsed(scenario, *, passed, actor="homeport", cluster="main"):
    found = report.of(ended(begun(), "" if passed else RESTORE, verify={"rpo": 0.0}), at(0))
    return replace(found, scenario=scenario, actor=actor, cluster=cluster)


def test_a_failed_drill_is_told_until_one_of_its_kind_has_passed():
    bad, good = rehearsed("table-dropped", passed=False), rehearsed("table-dropped", passed=True)
    assert plan.not_passed([bad, good], "homeport") == (bad,)
    assert plan.not_passed([good, bad], "homeport") == ()
    by_hand = rehearsed("table-dropped", passed=True, actor="anna")
    assert plan.not_passed([by_hand, bad], "homeport") == ()
    other = rehearsed("cluster-lost", passed=True)
    assert plan.not_passed([other, bad, bad], "homeport") == (bad,)
    elsewhere = rehearsed("table-dropped", passed=True, cluster="second")
    assert plan.not_passed([elsewhere, bad], "homeport") == (bad,)


def test_what_a_person_tried_and_failed_is_no_alarm():
    by_hand = rehearsed("table-dropped", passed=False, actor="anna")
    assert plan.not_passed([by_hand], "homeport") == ()


def test_the_file_of_an_app_knows_every_scenario():
    assert DRILLS == NAMES


def test_a_report_measures_from_the_accident_to_the_smoke_test():
    found = report.of(ended(begun(), verify={"rpo": 0.0, "rows": 1200}), at(0))
    assert found.passed and found.rpo == 0.0
    between = PHASES.index(SMOKE) - PHASES.index(BREAK)
    assert found.rto == 10.0 * between
    assert found.figures == {"rows": 1200}
    assert [line.phase for line in found.timeline] == [*PHASES, TIDY]


@pytest.mark.parametrize(
    ("targets", "rpo", "says"),
    [
        ({"rpo": 60.0, "rto": 30.0}, 0.0, "back after 50.0 s, 30.0 s wanted"),
        ({"rpo": 1.0, "rto": 900.0}, 3.0, "3.0 s of writes were lost, at most 1.0 s wanted"),
    ],
)
def test_a_missed_target_is_no_pass(targets, rpo, says):
    found = report.of(ended(begun(targets=targets), verify={"rpo": rpo}), at(0))
    assert not found.passed and found.wrong == (says,)
    assert found.todo and "Nothing" not in report.markdown(found)
    assert report.of(ended(begun(), verify={"rpo": rpo}), at(0)).passed


def test_a_loss_that_was_not_measured_is_not_called_met():
    found = report.of(ended(begun()), at(0))
    assert found.rpo is None and report.outcome(found)[0][1:] == ("not measured", "1 m", "")


@pytest.mark.parametrize("failing", [*PHASES, TIDY])
def test_a_phase_that_failed_is_no_pass_and_is_told(failing):
    found = report.of(ended(begun(), failing, verify={"rpo": 0.0}), at(0))
    assert not found.passed and found.wrong[0] == f"{failing}: cannot do it"
    assert (found.rto is None) == (failing in PHASES)
    assert report.PERSON["drill.smoke_failed"] in found.todo


def test_people_have_nothing_to_do_only_where_it_passed():
    assert "Nothing: the machine did all of it." in report.markdown(report.of(ended(begun()), at(0)))
    failed = replace(report.of(ended(begun(), RESTORE), at(0)), todo=())
    assert "Mend what went wrong, then rehearse it again: homeport drill table-dropped." in report.markdown(
        failed
    )


def test_a_cancelled_drill_is_no_pass():
    found = report.of(replace(ended(begun()), cancel="anna"), at(0))
    assert not found.passed and "cancelled by anna" in found.wrong


def test_a_report_goes_to_json_and_back():
    found = report.of(ended(begun(), RESTORE), at(0))
    assert Report.of(found.document()) == found


def test_markdown_has_what_people_need_and_no_markup_of_the_apps():
    run = ended(begun(), verify={"rpo": 0.0})
    step = run.step(DETECT)
    run = run.with_step(replace(step, result={**step.result, "told": ["a|b\n# c"]}))
    text = report.markdown(report.of(run, at(0)))
    assert text.startswith("# Drill table-dropped: passed\n")
    assert "| RTO: until it answered again | 50.0 s | 15 m | met |" in text
    assert "a\\|b # c" in text and "\n# c" not in text
    for phase in PHASES:
        assert f"| {phase} |" in text


def test_paper_takes_whatever_a_name_holds_and_is_the_same_twice():
    run = ended(begun(), SMOKE, verify={"rpo": 0.0})
    step = run.step(DETECT)
    run = run.with_step(replace(step, result={**step.result, "told": ["<b>Ω & \x00 </para>", "x" * 3000]}))
    found = report.of(run, at(0))
    assert pdf(found).startswith(b"%PDF-") and pdf(found) == pdf(found)


def test_paper_names_the_machine_and_homeports_version():
    found = report.of(ended(begun()), at(0))
    author = re.search(rb"/Author \((.*?)\) /", pdf(found, "Homeport 9.8.7 on host-a"))
    assert author is not None and author[1] == b"Homeport 9.8.7 on host-a"


def test_scenarios_are_told_apart():
    assert len(set(NAMES)) == len(SCENARIOS) == 8
    assert scenario("table-dropped").name == "table-dropped" and scenario("x") is None


def table(name, rows, schema="public", database="shop"):
    return Table(database, schema, name, rows, "1")


def test_only_tables_of_apps_that_have_rows_are_broken_the_largest_first():
    tables = (
        table("small", 1),
        table("empty", 0),
        table("large", 9),
        table("homeport_migrations", 50),
        table("heartbeat", 50, schema="homeport"),
        table("other", 50, database="postgres"),
    )
    manifest = Manifest("p", "0/1", 1, NOW, (), tables)
    assert [t.name for t in candidates(manifest, ["shop"])] == ["large", "small"]
    with pytest.raises(HomeportError, match="no table of an app has rows") as e:
        candidates(manifest, ["elsewhere"])
    assert e.value.code == "drill.nothing_to_break"


def test_verified_comes_before_it_is_called_usable():
    assert PHASES.index(VERIFY) < PHASES.index(SMOKE)
