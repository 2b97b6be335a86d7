"""Watching an environment and trying again, in virtual time."""

from homeport.kernel.errors import ErrorType, Kind
from homeport.rollout.pipeline.stages import smoke, verify
from homeport.spec.model import SmokeRequest, Stage

GONE = ErrorType("test.gone", Kind.UNAVAILABLE, "A part does not answer.")


def looks(*answers):
    """``observe`` that gives these, and then the last one for ever."""
    left = list(answers)

    def observe():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return observe


WELL, ILL = (True, ""), (False, "web.2 is crash-looping")
WATCH = Stage("verify", "verify", watch_for=10.0)


def test_an_environment_that_stays_well_is_looked_at_each_second(make_work):
    work = make_work(WATCH, figures=lambda: {"new": {"errors": 0}})
    found = verify.run(work)
    assert found.ok and found.details == {"looks": 11, "rounds": 0, "figures": {"new": {"errors": 0}}}
    assert abs(work.clock.passed - 10) < 0.01


def test_one_that_is_not_well_twice_in_a_row_fails_at_once(make_work):
    work = make_work(WATCH, observe=looks(WELL, WELL, ILL))
    found = verify.run(work)
    assert (found.ok, found.reason) == (False, "staging is not well after 3.0 s: web.2 is crash-looping")
    assert found.details["figures"] is None


def test_a_moment_without_an_answer_is_none_of_its_illnesses(make_work):
    silence = GONE.error("cannot ask the edge")
    assert verify.run(make_work(WATCH, observe=looks(WELL, silence, WELL, ILL, WELL))).ok
    found = verify.run(make_work(WATCH, observe=looks(WELL, silence, silence, WELL)))
    assert found.reason.endswith("cannot ask the edge")


def test_it_does_not_end_with_a_look_that_found_it_unwell(make_work):
    at_once = Stage("verify", "verify", watch_for=0.0)
    assert verify.run(make_work(at_once, observe=looks(ILL, WELL))).ok
    assert not verify.run(make_work(at_once, observe=looks(ILL, ILL, WELL))).ok


def test_why_it_is_unwell_is_told_without_secrets(make_work):
    found = verify.run(make_work(WATCH, observe=looks((False, "it said geheim-4711"))))
    assert "[secret]" in found.reason and "4711" not in found.reason


def test_a_watch_ends_when_it_has_to(make_work):
    work = make_work(WATCH)
    stopping = make_work(WATCH, clock=work.clock, stop=lambda: "closing" if work.clock.passed > 3 else None)
    found = verify.run(stopping)
    assert (found.ok, found.stopped) == (False, "closing") and work.clock.passed < 4


def test_a_failed_attempt_is_made_again_after_longer_and_longer(make_work):
    stage = Stage("smoke", "smoke", requests=(SmokeRequest("relative"),), retries=3)
    work = make_work(stage)
    found = smoke.run(work)
    assert not found.ok and found.details["attempts"] == 4
    assert abs(work.clock.passed - 7) < 0.01
    assert work.log.text.count("tried again") == 3


def test_no_attempt_is_made_again_once_it_has_to_stop(make_work):
    stage = Stage("smoke", "smoke", requests=(SmokeRequest("relative"),), retries=3)
    work = make_work(stage)
    stopping = make_work(
        stage, clock=work.clock, stop=lambda: "cancelled" if work.clock.passed > 0.5 else None
    )
    found = smoke.run(stopping)
    assert (found.ok, found.stopped, found.reason) == (False, "cancelled", "it was cancelled")
    assert found.details["attempts"] == 1


def test_a_request_that_leads_out_of_the_environment_is_never_sent(make_work):
    for request, said in (
        (SmokeRequest("http://elsewhere/"), 'its path does not begin with "/"'),
        (SmokeRequest("/", host="elsewhere"), "elsewhere is not a host of staging, which has shop.localhost"),
        (SmokeRequest("/", headers=(("hOST", "elsewhere"),)), "the header hOST cannot be set"),
    ):
        found = smoke.run(make_work(Stage("smoke", "smoke", requests=(request,))))
        assert not found.ok and said in found.reason
    found = smoke.run(make_work(Stage("smoke", "smoke", requests=(SmokeRequest("/"),)), hosts=()))
    assert found.reason == "GET /: staging has no route"


def test_the_first_problem_is_the_reason_and_all_are_told(make_work):
    stage = Stage("smoke", "smoke", requests=(SmokeRequest("a"), SmokeRequest("b"), SmokeRequest("c")))
    found = smoke.run(make_work(stage))
    assert found.reason == 'GET a: its path does not begin with "/"; 2 more failed'
    assert len(found.lines) == 3 and len(found.details["requests"]) == 3
