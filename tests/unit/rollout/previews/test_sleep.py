"""Previews that nobody asks for are stopped, and their next request starts them."""

from datetime import timedelta

import pytest

from homeport.kernel.ids import service_name
from homeport.rollout import readiness, state, upkeep
from homeport.rollout.keeper import Keeper
from homeport.rollout.model import ChangeKind
from homeport.rollout.previews import state as table
from homeport.rollout.previews.sleep import AGAIN_AFTER, Sleep
from homeport.rollout.settings import Settings
from homeport.runtime.fake import Behaviour
from homeport.system import net

WEB = service_name("shop", "preview-hats", "web")
SERVER = "shop.preview-hats.r1.web.1"


def service(home):
    return next(s for s in home.edge.state.services if s.name == WEB)


def ask(home):
    """A request comes while it is asleep."""
    home.edge.asked.add(WEB)
    home.sleep.look()
    home.wait()


@pytest.fixture
def sleeping(home):
    home.serving()
    home.tick()
    home.clock.pass_(minutes=31)
    home.tick()
    assert home.asleep()
    return home


def test_it_sleeps_after_its_time_without_a_request(home):
    home.serving()
    home.tick()
    home.clock.pass_(minutes=29)
    home.tick()
    assert not home.asleep() and home.running() == ["r1.web.1", "r1.worker.1"]
    home.clock.pass_(minutes=2)
    home.tick()
    assert home.asleep() and home.running() == []
    assert service(home).asleep and service(home).servers == ()
    assert [i.weight for i in home.state.instances(*home.key)] == [100, 0]
    assert "preview.asleep" in home.kinds()


def test_a_request_keeps_it_awake(home):
    home.serving()
    for minutes in range(1, 61):
        home.edge.counted[SERVER] = (minutes, 0)
        home.clock.pass_(minutes=1)
        home.tick()
    assert not home.asleep()
    assert table.find(home.store, *home.key).used_at > home.clock.now() - timedelta(minutes=2)


def test_requests_that_came_before_a_reload_of_the_edge_do_not_count_twice(home):
    home.serving()
    home.edge.counted[SERVER] = (50, 0)
    home.tick()
    home.clock.pass_(minutes=20)
    home.edge.worker, home.edge.counted = 2, {}
    home.tick()
    home.clock.pass_(minutes=11)
    home.tick()
    assert home.asleep()


def test_a_request_after_a_reload_of_the_edge_counts(home):
    home.serving()
    home.edge.counted[SERVER] = (50, 0)
    home.tick()
    home.clock.pass_(minutes=20)
    home.edge.worker, home.edge.counted = 2, {SERVER: (1, 0)}
    home.tick()
    home.clock.pass_(minutes=11)
    home.tick()
    assert not home.asleep()


def test_an_open_connection_keeps_it_awake(home):
    home.serving()
    home.edge.in_hand[SERVER] = 1
    for _ in range(4):
        home.tick()
        home.clock.pass_(minutes=20)
    assert not home.asleep()
    assert not any(s.asleep for state in home.edge.history for s in state.services), "requests were held"


def test_a_request_that_comes_as_it_falls_asleep_is_not_cut_off(home, monkeypatch):
    home.serving()
    home.tick()
    home.clock.pass_(minutes=31)
    monkeypatch.setattr(home.sleep, "_requests", dict)
    home.edge.in_hand[SERVER] = 1
    home.tick()
    assert not home.asleep() and home.running() == ["r1.web.1", "r1.worker.1"]
    assert not service(home).asleep and service(home).servers


def test_while_requests_are_in_hand_new_ones_are_held_and_those_are_served(home, monkeypatch):
    home.serving()
    home.tick()
    home.clock.pass_(minutes=31)
    seen = []

    def sessions(*_):
        seen.append((service(home).asleep, len(service(home).servers), len(home.running())))
        return 0 if len(seen) > 3 else 1

    monkeypatch.setattr(home.edge, "sessions", sessions)
    home.tick()
    assert set(seen) == {(True, 1, 2)}
    assert home.asleep() and home.running() == []


def test_one_without_sleep_after_never_sleeps(home):
    home.serving(
        spec='[app]\nname = "shop"\n[processes.web]\ncommand = "x"\n[processes.worker]\ncommand = "y"\n'
        '[routes]\n"*" = "web"\n[previews]\n'
    )
    home.tick()
    home.clock.pass_(days=3)
    home.tick()
    assert not home.asleep()


def test_the_next_request_starts_what_ran_before(sleeping):
    ports = {i.name: i.port for i in sleeping.state.instances(*sleeping.key)}
    ask(sleeping)
    assert not sleeping.asleep()
    assert sleeping.running() == ["r1.web.1", "r1.worker.1"]
    assert {i.name: i.port for i in sleeping.state.instances(*sleeping.key)} == ports
    assert not service(sleeping).asleep and service(sleeping).servers[0].weight == 100
    assert sleeping.kinds()[-1] == "preview.awake"
    sleeping.tick()
    assert not sleeping.asleep()


def test_no_request_reaches_it_before_it_is_ready(sleeping, monkeypatch):
    answers = [None, 500, 200]
    seen = []

    def probe(*_):
        seen.append((service(sleeping).asleep, service(sleeping).servers))
        return net.ProbeResult(answers[min(len(seen), 3) - 1], 0.01)

    monkeypatch.setattr(readiness, "ask", probe)
    ask(sleeping)
    assert set(seen) == {(True, ())}
    assert not service(sleeping).asleep and service(sleeping).servers


def test_nobody_wakes_what_is_not_asked_for(sleeping):
    sleeping.sleep.look()
    sleeping.wait()
    assert sleeping.asleep() and sleeping.running() == []


def test_one_that_does_not_start_sleeps_on_and_says_why(sleeping):
    sleeping.runtime.behave = lambda spec: Behaviour(exit="status 3", output=("no database",))
    ask(sleeping)
    assert sleeping.asleep() and sleeping.running() == []
    assert sleeping.kinds()[-1] == "preview.did_not_wake"
    assert "cannot use" in sleeping.sleep.problem(sleeping.key)
    ask(sleeping)
    assert sleeping.kinds().count("preview.did_not_wake") == 1, "it is tried again at once"
    sleeping.clock.pass_(seconds=AGAIN_AFTER + 1)
    sleeping.runtime.behave = lambda spec: Behaviour()
    ask(sleeping)
    assert not sleeping.asleep() and sleeping.sleep.problem(sleeping.key) is None


def test_the_keeper_neither_starts_nor_heals_what_sleeps(sleeping):
    keeper = Keeper(sleeping.parts, sleeping.rollouts, Settings(sleeping.parts))
    for _ in range(3):
        keeper.tick()
        sleeping.clock.pass_(minutes=10)
    assert sleeping.asleep() and sleeping.running() == []
    assert sleeping.state.running() == ()
    environment = sleeping.state.environment(*sleeping.key)
    spec = sleeping.parts.spec(*sleeping.key, environment.serving)
    assert upkeep.heal_reason(environment, spec, (), {}) is None


def test_a_deploy_wakes_it_and_nothing_else_does_meanwhile(sleeping):
    _, change = sleeping.create(spec="# two\n" + SPEC_OF_HATS)
    ask(sleeping)
    assert sleeping.asleep(), "the deploy has the last word"
    sleeping.end(change)
    assert not sleeping.asleep() and not service(sleeping).asleep


SPEC_OF_HATS = """
[app]
name = "shop"
[processes.web]
command = "serve"
[processes.worker]
command = "work"
[routes]
"*" = "web"
[previews]
sleep_after = "30m"
"""


def test_one_that_a_change_moves_does_not_fall_asleep(home):
    home.serving()
    home.tick()
    home.create(spec="# two\n" + SPEC_OF_HATS)
    home.clock.pass_(minutes=31)
    home.tick()
    assert not home.asleep() and len(home.running()) == 2
    home.sleep._fall_asleep(table.find(home.store, *home.key))
    assert not home.asleep() and len(home.running()) == 2, "the change began just before"


def test_without_anything_to_start_again_it_is_healed(sleeping):
    with sleeping.store.transaction("ann") as tx:
        for i in sleeping.state.instances(*sleeping.key):
            state.delete_instance(tx, i.name)
    ask(sleeping)
    assert [c.kind for c in sleeping.state.running(*sleeping.key)] == [ChangeKind.HEAL]
    assert sleeping.asleep(), "requests are held until it serves"


def test_a_control_plane_that_was_killed_as_it_stopped_them_stops_the_rest(sleeping):
    for i in sleeping.state.instances(*sleeping.key):
        sleeping.parts.start(i, sleeping.state.change(i.change).config)
    with sleeping.store.transaction("ann") as tx:
        state.update_instance(tx, SERVER, ready=True)
    fresh = sleeping.sleep = Sleep(sleeping.parts, sleeping.rollouts)
    sleeping.tick()
    assert sleeping.running() == [] and service(sleeping).servers == ()
    fresh.close()


def test_a_control_plane_that_was_killed_as_it_woke_them_goes_on(sleeping, monkeypatch):
    sleeping.parts.start(
        *next((i, sleeping.state.change(i.change).config) for i in sleeping.state.instances())
    )
    fresh = sleeping.sleep = Sleep(sleeping.parts, sleeping.rollouts)
    with sleeping.store.transaction("ann") as tx:
        state.update_instance(tx, SERVER, ready=True)
    seen = []

    def probe(*_):
        sleeping.parts.publish()
        seen.append(service(sleeping).servers)
        return net.ProbeResult(200, 0.01)

    monkeypatch.setattr(readiness, "ask", probe)
    ask(sleeping)
    assert seen == [()], "none has a request before it is ready again"
    assert not sleeping.asleep() and len(sleeping.running()) == 2
    fresh.close()


def test_a_short_sleep_is_no_crash(sleeping):
    keeper = Keeper(sleeping.parts, sleeping.rollouts, Settings(sleeping.parts))
    ask(sleeping)
    keeper.tick()
    sleeping.clock.pass_(minutes=31)
    sleeping.tick()
    ask(sleeping)
    sleeping.clock.pass_(seconds=1)
    keeper.tick()
    assert not sleeping.asleep() and "instance.crashed" not in sleeping.kinds()


def test_a_change_that_comes_while_it_falls_asleep_does_not_leave_it_running_for_ever(home):
    home.serving()
    home.tick()
    home.clock.pass_(minutes=31)
    empties = home.sleep._empties

    def deployed_meanwhile(key):
        home.create()
        return empties(key)

    home.sleep._empties = deployed_meanwhile
    home.tick()
    assert "preview.asleep" not in home.kinds()
    home.end(home.state.running(*home.key)[0], well=False)
    home.tick()
    assert home.asleep() and home.running() == []
