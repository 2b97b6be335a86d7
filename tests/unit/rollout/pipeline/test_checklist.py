"""The list that teams keep by hand."""

from dataclasses import replace

import pytest
from pipeline_values import APPROVE, BUILD, CHECK, TO_PRODUCTION, VERIFY, said, spec, stage

from homeport.rollout.pipeline import gate
from homeport.rollout.pipeline.checklist import Facts, checklist
from homeport.rollout.pipeline.model import StageState
from homeport.spec.model import Budget, Check

CHECKS = replace(CHECK, checks=(Check("unit", "pytest"), Check("deps", "pip-audit -r requirements.txt")))
BUDGETED = replace(BUILD, budgets=(Budget("*.js", 1000),))
GATE = replace(APPROVE, items=("told support",))
STAGES = gate.placed((CHECKS, BUDGETED, GATE, TO_PRODUCTION, VERIFY), spec(), {})


def items(runs=(), approvals=(), facts=None, stages=STAGES):
    return {i.name: i for i in checklist(stages, runs, approvals, facts or Facts())}


def states(*arguments, **more):
    return {name: i.state for name, i in items(*arguments, **more).items()}


def test_before_anything_has_run():
    assert states() == {
        "tests green": "waiting",
        "audit clean": "waiting",
        "budgets met": "waiting",
        "variables present": "ok",
        "migrations tried": "waiting",
        "backup fresh": "not there",
        "rollback target present": "not there",
        "told support": "waiting",
        "approve production": "waiting",
        "health": "waiting",
        "smoke": "not there",
        "error rate": "waiting",
        "figures against before": "waiting",
    }


def test_an_audit_is_told_apart_from_the_tests():
    ended = stage(
        STAGES[0],
        StageState.FAILED,
        details={"checks": [{"name": "unit", "ok": True}, {"name": "deps", "ok": False}]},
    )
    found = items((ended,))
    assert (found["tests green"].state, found["audit clean"].state) == ("ok", "failed")
    assert found["audit clean"].detail == "deps"


def test_when_all_went_well():
    runs = tuple(
        stage(
            p,
            StageState.PASSED,
            details={"checks": [{"name": "unit", "ok": True}, {"name": "deps", "ok": True}]},
        )
        for p in STAGES
    )
    approvals = (said(STAGES[2], ticked=("told support",)),)
    figures = {
        "outcome": "promoted",
        "reasons": ["as good as before"],
        "figures": {"stable_requests": 900},
    }
    facts = Facts(serving="r4", figures=figures)
    found = states(runs, approvals, facts)
    assert {name for name, state in found.items() if state != "ok"} == {
        "migrations tried",
        "backup fresh",
        "smoke",
    }


FAILED = {"failure": {"sentence": "cannot apply 2_b.sql: no such table"}}
REFUSED = {"findings": [{"filename": "2_b.sql", "stops": True}]}


@pytest.mark.parametrize(
    ("reports", "state", "detail"),
    [
        ([], "not there", "no database with migrations"),
        ([{}], "ok", "main: nothing is pending"),
        ([{"pending": [{}, {}], "how": "trial"}], "ok", "main: 2 of them"),
        ([{"how": "tool"}], "ok", "main: its own tool"),
        ([{"note": "there is no such database yet"}], "not there", "main: there is no such database yet"),
        (
            [FAILED, {"note": "a copy could not be made"}],
            "failed",
            "main: cannot apply 2_b.sql: no such table",
        ),
        ([{"note": "a copy could not be made"}, REFUSED], "failed", "main: 2_b.sql would be refused"),
    ],
)
def test_migrations_are_tried_at_the_gate(reports, state, detail):
    what = {"migrations": [{"database": "main", "failure": None, "findings": []} | r for r in reports]}
    found = items((stage(STAGES[2], StageState.WAITING, what=what),))["migrations tried"]
    assert (found.state, found.detail) == (state, detail)


def test_without_a_gate_no_migrations_are_tried():
    found = items(stages=gate.placed((TO_PRODUCTION,), spec(), {}))["migrations tried"]
    assert found.state == "not there"


def test_a_missing_variable():
    found = items(facts=Facts(variable_problems=("TOKEN: is required and has no value",)))
    assert found["variables present"].state == "missing"
    assert "TOKEN" in found["variables present"].detail


def test_a_deploy_that_was_taken_back():
    runs = (stage(STAGES[3], StageState.FAILED, reason="cannot go on: it answers 500"),)
    facts = Facts(figures={"outcome": "rolled back", "reasons": ["too many errors"]})
    found = items(runs, facts=facts)
    assert (found["health"].state, found["error rate"].state) == ("failed", "failed")
    assert found["error rate"].detail == "too many errors"


@pytest.mark.parametrize(
    ("figures", "error_rate", "against_before"),
    [
        (None, "not there", "not there"),
        ({"outcome": "forming", "reasons": ["294 more requests"]}, "waiting", "not there"),
        ({"outcome": "inconclusive", "reasons": ["too little traffic"]}, "not there", "not there"),
        ({"outcome": "promoted", "reasons": [], "figures": {"stable_requests": 0}}, "ok", "not there"),
        ({"outcome": "promoted", "reasons": [], "figures": {"stable_requests": 7}}, "ok", "ok"),
    ],
)
def test_figures_that_say_nothing_are_not_called_well(figures, error_rate, against_before):
    runs = tuple(stage(p, StageState.PASSED) for p in STAGES)
    found = states(runs, facts=Facts(figures=figures))
    assert (found["error rate"], found["figures against before"]) == (error_rate, against_before)


def test_an_item_is_ticked_by_whom():
    runs = (stage(STAGES[2], StageState.PASSED),)
    found = items(runs, (said(STAGES[2], ticked=("told support",)),))
    assert found["told support"].detail == "ticked by anna"
    assert found["approve production"].detail == "approved by anna: looked at it"
