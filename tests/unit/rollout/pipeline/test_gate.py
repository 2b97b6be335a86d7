"""A commit cannot take away the gate that it has to pass."""

from pipeline_values import APPROVE, BUILD, PRODUCTION, STAGING, TO_PRODUCTION, TO_STAGING, spec

from homeport.rollout.pipeline import gate

WITH_PEOPLE = """
[[pipeline.stage]]
kind = "approve"
environment = "production"
people = ["anna", "bob"]
own = false
items = ["told support"]
timeout = "2h"
[[pipeline.stage]]
kind = "deploy"
environment = "production"
"""


def approvals(stages, new=None, serving=None):
    return [p for p in gate.placed(stages, new or spec(), serving or {}) if p.stage.kind == "approve"]


def test_a_gate_is_required_by_either_side():
    assert not gate.required(None, spec(), PRODUCTION)
    assert not gate.required(spec(), spec(), PRODUCTION)
    assert gate.required(spec(gate=True), spec(), PRODUCTION)
    assert gate.required(None, spec(gate=True), PRODUCTION)
    assert not gate.required(spec(gate=True), spec(), STAGING)


def test_what_serves_asks_for_a_gate_that_the_commit_has_dropped():
    (found,) = approvals((BUILD, TO_PRODUCTION), serving={PRODUCTION: spec(gate=True)})
    assert (found.position, found.guards) == (2, 3)
    assert (found.stage.environment, found.stage.timeout) == (PRODUCTION, 7 * 86400.0)


def test_it_keeps_the_people_items_and_time_of_what_serves():
    (found,) = approvals((TO_PRODUCTION,), serving={PRODUCTION: spec(WITH_PEOPLE, gate=True)})
    assert found.stage.people == ("anna", "bob")
    assert found.stage.own is False
    assert found.stage.items == ("told support",)
    assert found.stage.timeout == 7200


def test_the_stricter_of_both_holds():
    from dataclasses import replace

    serving = {PRODUCTION: spec(WITH_PEOPLE, gate=True)}
    wide = replace(APPROVE, people=(), own=True, items=())
    (found,) = approvals((wide, TO_PRODUCTION), serving=serving)
    assert (found.stage.people, found.stage.own, found.stage.items) == (
        ("anna", "bob"),
        False,
        ("told support",),
    )
    narrow = replace(APPROVE, people=("anna", "eve"), items=("new one",))
    (found,) = approvals((narrow, TO_PRODUCTION), serving=serving)
    assert found.stage.people == ("anna",)
    assert found.stage.items == ("new one", "told support")


def test_a_list_of_others_does_not_hold_against_what_serves():
    from dataclasses import replace

    taken_over = replace(APPROVE, people=("eve",))
    (found,) = approvals((taken_over, TO_PRODUCTION), serving={PRODUCTION: spec(WITH_PEOPLE, gate=True)})
    assert found.stage.people == ("anna", "bob")


def test_an_approval_elsewhere_does_not_open_the_gate():
    """One for staging, or one that another deploy has used up."""
    from dataclasses import replace

    serving = {PRODUCTION: spec(gate=True)}
    for stages in (
        (replace(APPROVE, environment=STAGING), TO_STAGING, TO_PRODUCTION),
        (APPROVE, TO_STAGING, TO_PRODUCTION),
        (APPROVE, TO_PRODUCTION, TO_PRODUCTION),
    ):
        guarded = {p.guards for p in approvals(stages, serving=serving)}
        deploys = {
            p.position
            for p in gate.placed(stages, spec(), serving)
            if p.stage.kind == "deploy" and p.stage.environment == PRODUCTION
        }
        assert deploys <= guarded


def test_one_approval_does_where_the_commit_has_it_already():
    assert [
        p.position for p in approvals((APPROVE, TO_PRODUCTION), serving={PRODUCTION: spec(gate=True)})
    ] == [1]


def test_positions_do_not_move_when_a_gate_comes_up():
    stages = (BUILD, TO_STAGING, TO_PRODUCTION)
    without = {p.stage.name: p.position for p in gate.placed(stages, spec(), {})}
    with_gate = {p.stage.name: p.position for p in gate.placed(stages, spec(), {PRODUCTION: spec(gate=True)})}
    assert without.items() < with_gate.items()


def test_a_gate_that_waits_stays_when_another_release_serves():
    assert [p.position for p in gate.placed((TO_PRODUCTION,), spec(), {}, waiting=(0,))] == [0, 1]
