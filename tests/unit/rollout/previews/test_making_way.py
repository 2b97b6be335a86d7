"""What is asked for while Homeport itself is at the environment, or while the app is being taken away."""

import pytest

from homeport.journal import schema
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import EnvironmentName
from homeport.rollout.advance import Advance
from homeport.rollout.model import ChangeKind, Commit
from homeport.rollout.rollouts import END_WITHIN

PRODUCTION = EnvironmentName("production")
AT = ("shop", PRODUCTION)


@pytest.fixture
def ask(home):
    """Each thing that people ask for of what serves, by name."""
    home.deployed(PRODUCTION)
    home.deployed(PRODUCTION)
    rollouts = home.rollouts
    return {
        "rollback": lambda **more: rollouts.rollback(
            *AT, **{"release": None, "replace_running": False, "actor": "ann"} | more
        ),
        "scale": lambda **more: rollouts.scale(*AT, processes={"web": 2}, **{"actor": "ann"} | more),
        "restart": lambda **more: rollouts.restart(*AT, **{"actor": "ann"} | more),
        "migrate": lambda **more: rollouts.migrate(*AT, databases=(), schema={}, **{"actor": "ann"} | more),
    }


def own(home, kind):
    if kind is ChangeKind.HEAL:
        return home.rollouts.restart(*AT, actor="homeport", kind=kind)
    return home.rollouts.migrate(*AT, databases=(), schema={}, actor="homeport")


def while_waiting(home, monkeypatch, act):
    """``act`` is called each time that somebody waits a moment."""
    pass_ = home.clock.sleep

    def sleep(seconds):
        pass_(seconds)
        act()

    monkeypatch.setattr(home.clock, "sleep", sleep)


@pytest.mark.parametrize("kind", [ChangeKind.HEAL, ChangeKind.MIGRATE])
@pytest.mark.parametrize("what", ["rollback", "scale", "restart", "migrate"])
def test_what_homeport_does_by_itself_is_waited_for(home, monkeypatch, ask, what, kind):
    mine = own(home, kind)
    while_waiting(home, monkeypatch, lambda: home.end(mine, well=False))
    change = ask[what]()
    assert home.state.change(mine.id).done and not home.state.change(mine.id).cancelled
    assert [c.id for c in home.state.running(*AT)] == [change.id]


def test_no_longer_than_a_while(home, ask):
    own(home, ChangeKind.HEAL)
    began = home.clock.monotonic()
    with pytest.raises(HomeportError) as e:
        ask["scale"]()
    assert e.value.code == "rollout.busy"
    assert END_WITHIN <= home.clock.monotonic() - began < END_WITHIN + 1


@pytest.mark.parametrize("what", ["rollback", "scale", "restart", "migrate"])
def test_homeport_itself_does_not_wait(home, ask, what):
    own(home, ChangeKind.HEAL)
    began = home.clock.monotonic()
    with pytest.raises(HomeportError) as e:
        ask[what](actor="homeport")
    assert e.value.code == "rollout.busy" and home.clock.monotonic() == began


def test_what_is_healed_is_taken_over_at_once(home, monkeypatch, ask):
    mine = own(home, ChangeKind.HEAL)
    began = home.clock.monotonic()

    def cancelled():
        if home.state.change(mine.id).cancelled:
            home.end(mine, well=False)

    while_waiting(home, monkeypatch, cancelled)
    ask["rollback"](replace_running=True)
    assert home.state.change(mine.id).cancelled and home.clock.monotonic() - began < 1


def test_a_deploy_asked_for_while_the_app_is_destroyed_goes_with_it(home, monkeypatch):
    home.deployed(PRODUCTION)
    deployed = []
    names = home.parts.logs.names

    def asked_for(prefix=""):
        if not deployed:
            deployed.append(
                home.rollouts.deploy(
                    "shop",
                    EnvironmentName("staging"),
                    archive_digest=home.upload(),
                    commit=Commit("1f2e3d4c5b", "Hats"),
                    replace_running=False,
                    actor="bob",
                )
            )
        return names(prefix)

    monkeypatch.setattr(type(home.parts.logs), "names", lambda _, prefix="": asked_for(prefix))
    while_waiting(home, monkeypatch, lambda: [home.end(c, well=False) for c in home.state.running()])
    home.removal.destroy_app("shop", confirm="shop", actor="ann")
    assert home.state.change(deployed[0].id).cancelled
    assert home.state.running() == () and home.state.apps() == ()
    assert home.kinds().count("app.destroyed") == 1


def test_a_change_ends_though_its_environment_is_gone(home):
    home.deployed(PRODUCTION)
    change = home.rollouts.restart(*AT, actor="ann")
    with home.store.transaction("ann") as tx:
        for table in (schema.instances, schema.environments):
            tx.execute(table.delete())
    Advance(home.parts, None, None)._finish(change)
    assert home.state.running() == ()
    assert home.state.change(change.id).result["serving"] is None
