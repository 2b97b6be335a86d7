"""What becomes of a release on trial: its figures from counters and log, and what is decided."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeport.edge.access import Access
from homeport.edge.model import Counted, Counts
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, ReleaseId, ServiceName
from homeport.rollout import signals, trials, verdict
from homeport.rollout.canary import Side, Window, histogram
from homeport.rollout.trials import Decision, Position, Standing, Trial
from homeport.spec.model import Rollout

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SERVICE = ServiceName("shop.production.web")
ROLLOUT = Rollout(strategy="canary", bake=30.0)


def trial(**values):
    made = Trial(
        ChangeId("c-1"), AppName("shop"), EnvironmentName("production"), ReleaseId("r2"), ReleaseId("r1"),
        trials.CANARY, 0, NOW, None, None, None, verdict.Evidence(),
        Position(NOW, 7, (), None), Standing("forming", (), {}), trials.RUNNING,
    )  # fmt: skip
    return replace(made, **values)


def counts(worker=7, **servers):
    named = {
        "new": "shop.production.r2.web.1",
        "before": "shop.production.r1.web.1",
        "other": "blog.production.r2.web.1",
    }
    return Counts(worker, tuple(Counted(SERVICE, named[n], r, e, 0) for n, (r, e) in servers.items()))


def entry(server, ms, status=200):
    return Access(
        at=0.0,
        service=SERVICE,
        server=server,
        status=status,
        response_ms=ms,
        total_ms=ms or 0,
        retries=0,
        end="--",
    )


def seen(evidence, rollout=ROLLOUT):
    return verdict.look(
        evidence,
        [Window(Side(2000, 0, histogram([0.01] * 2000)), Side(2000, 0, histogram([0.01] * 2000)))],
        trials.settings(rollout),
    )


def test_a_window_holds_what_happened_since_the_last_look_and_only_of_the_two():
    position = Position(NOW, 7, (("shop.production.r1.web.1", 100, 5),), None)
    window, counted = trials.window(
        trial(position=position),
        counts(new=(10, 2), before=(140, 6), other=(999, 999)),
        [entry("shop.production.r2.web.1", 12), entry("blog.production.r2.web.1", 5), entry("<NOSRV>", None)],
        NOW + timedelta(seconds=2),
    )
    assert (window.canary.requests, window.canary.errors, sum(window.canary.latencies)) == (10, 2, 1)
    assert window.stable is not None and (window.stable.requests, window.stable.errors) == (40, 1)
    assert window.seconds == 2
    assert {n: (r, e) for n, r, e in counted} == {
        "shop.production.r2.web.1": (10, 2),
        "shop.production.r1.web.1": (140, 6),
    }


@pytest.mark.parametrize("case", ["another worker", "added again"])
def test_counters_that_begin_anew_are_whole(case):
    position = Position(
        NOW, 8 if case == "another worker" else 7, (("shop.production.r2.web.1", 50, 0),), None
    )
    window, _ = trials.window(trial(position=position), counts(new=(3, 1)), [], NOW)
    assert (window.canary.requests, window.canary.errors) == (3, 1)


def test_what_is_watched_has_nothing_beside_it():
    window, _ = trials.window(trial(phase=trials.WATCH), counts(new=(3, 1), before=(5, 0)), [], NOW)
    assert window.stable is None


def test_the_answers_of_a_failure_are_no_latencies():
    window, _ = trials.window(trial(), counts(new=(1, 1)), [entry("shop.production.r2.web.1", 9, 500)], NOW)
    assert not window.canary.latencies


def test_a_baseline_is_what_the_release_before_did():
    log = [
        entry("shop.production.r1.web.1", 10),
        entry("shop.production.r1.web.2", None, 503),
        entry("shop.staging.r1.web.1", 1),
    ]
    stable = trials.baseline(log, "shop", "production", ReleaseId("r1")).stable
    assert (stable.requests, stable.errors, sum(stable.latencies)) == (2, 1, 1)


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def test_a_step_takes_its_time_and_then_goes_on():
    good = trial(evidence=seen(verdict.Evidence()))
    assert trials.decide(good, ROLLOUT, later(29)) is Decision.STAY
    assert trials.decide(good, ROLLOUT, later(31)) is Decision.GO_ON


@pytest.mark.parametrize(
    ("on_inconclusive", "decision"),
    [("wait", Decision.STAY), ("ask", Decision.ASK), ("continue", Decision.GO_ON)],
)
def test_too_little_traffic_is_what_the_team_says(on_inconclusive, decision):
    rollout = replace(ROLLOUT, on_inconclusive=on_inconclusive)
    assert trials.decide(trial(), rollout, later(31)) is decision


def test_what_looks_worse_does_not_go_on_for_want_of_traffic():
    window = Window(Side(4, 2), Side(60, 1))
    rollout = replace(ROLLOUT, on_inconclusive="continue")
    looks = verdict.look(verdict.Evidence(), [window], trials.settings(rollout))
    standing = trials.standing(looks, rollout)
    assert standing.outcome == "forming" and standing.figures["errors_worse"] >= trials.LOOKS_WORSE
    assert trials.decide(trial(evidence=looks), rollout, later(31)) is Decision.STAY


def test_the_condemned_goes_back_at_once_even_while_paused():
    condemned = trial(evidence=replace(verdict.Evidence(), condemned=("it died",)), paused_by="anna")
    assert trials.decide(condemned, ROLLOUT, later(1)) is Decision.TAKE_BACK


def test_a_person_has_the_last_word():
    condemned = replace(verdict.Evidence(), condemned=("it died",))
    assert trials.decide(trial(evidence=condemned, promoted_by="anna"), ROLLOUT, NOW) is Decision.GO_ON
    assert (
        trials.decide(trial(paused_by="anna", evidence=seen(verdict.Evidence())), ROLLOUT, later(99))
        is Decision.STAY
    )


def test_resuming_one_that_asked_takes_this_step_and_no_other():
    asked = trial(standing=Standing("forming", (), {}, asked=0))
    assert trials.decide(asked, ROLLOUT, NOW) is Decision.GO_ON
    assert trials.decide(replace(asked, step=1), ROLLOUT, NOW) is Decision.STAY


def test_positions_and_standings_survive_storage():
    position = Position(NOW, 7, (("a", 1, 0),), {"inode": 1, "offset": 2}, (("a", 12),))
    assert Position.from_json(position.to_json()) == position
    standing = Standing("forming", ("x",), {"canary_requests": 1}, asked=2)
    assert Standing.from_json(standing.to_json()) == standing


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [(" 1.5\n", "", 1.5), ('{"data": [{"rate": 2}]}', "data.0.rate", 2.0), ('{"rate": "3.5"}', "rate", 3.5)],
)
def test_the_number_of_an_answer(text, path, value):
    assert signals.number(text, path) == value


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("well", ""),
        ("nan", ""),
        ("inf", ""),
        ("[1]", "1"),
        ('{"a": true}', "a"),
        ('{"a": {}}', "a"),
        ("{", "a"),
        ('{"a": 1}', "b"),
    ],
)
def test_what_is_no_number(text, path):
    with pytest.raises(ValueError):
        signals.number(text, path)
