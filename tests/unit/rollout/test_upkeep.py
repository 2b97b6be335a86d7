"""What the keeper decides: when to stop, when to heal, what to prune."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, InstanceName, ProcessName, ReleaseId
from homeport.rollout import upkeep
from homeport.rollout.model import Commit, Config, Deployment, Environment, Instance, Release, ReleaseState
from homeport.runtime.model import InstanceState, InstanceStatus
from homeport.spec.parse import parse

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
SHOP, PRODUCTION = AppName("shop"), EnvironmentName("production")
SPEC = parse('[app]\nname="shop"\n[processes.web]\ncommand="x"\nreplicas=2\n[processes.job]\ncommand="y"\n')


def instance(release="r1", process="web", n=1, *, weight=100, retire=None, drain=None, port=20000):
    return Instance(
        SHOP,
        PRODUCTION,
        ReleaseId(release),
        ProcessName(process),
        n,
        port if process == "web" else None,
        "x",
        ChangeId("c-1"),
        weight,
        True,
        NOW,
        NOW + timedelta(seconds=retire) if retire is not None else None,
        NOW + timedelta(seconds=drain) if drain is not None else None,
    )


def environment(serving="r1", scale=()):
    release = ReleaseId(serving) if serving else None
    return Environment(SHOP, PRODUCTION, release, release, (), scale)


def release(n, state=ReleaseState.READY):
    return Release(SHOP, ReleaseId(f"r{n}"), Commit("c0ffee", "subject"), "d", state, "", 1, 1.0, NOW, None)


def test_an_instance_is_stopped_when_idle_after_its_time_and_at_the_latest_when_drained():
    def due(sessions=0, **values):
        return upkeep.is_due(instance(weight=0, **values), NOW, lambda i: sessions)

    assert not due()
    assert not due(retire=10, drain=10)
    assert not due(retire=0, drain=30)
    assert due(retire=-1, drain=30)
    assert not due(sessions=1, retire=-1, drain=30)
    assert due(sessions=1, retire=-1, drain=0)
    assert not upkeep.is_due(instance(weight=1, retire=-1, drain=-1), NOW, lambda i: 0)


def test_heal_when_something_wanted_is_orphaned_or_missing():
    names = [instance(n=1), instance(n=2), instance(process="job")]
    running = {i.name: InstanceStatus(i.name, InstanceState.RUNNING, 1) for i in names}
    assert upkeep.heal_reason(environment(), SPEC, names, running) is None
    orphan = InstanceName("shop.production.r1.web.2")
    lost = running | {orphan: InstanceStatus(orphan, InstanceState.ORPHANED, 1)}
    assert "lost its supervisor" in (upkeep.heal_reason(environment(), SPEC, names, lost) or "")
    assert "1 of 2 instances of web" in (
        upkeep.heal_reason(environment(), SPEC, [instance(n=1), instance(process="job")], running) or ""
    )
    scaled = environment(scale=(("web", 1),))
    assert upkeep.heal_reason(scaled, SPEC, [instance(n=1), instance(process="job")], running) is None


def test_instances_of_another_release_do_not_count_as_there():
    others = [instance("r2", n=1), instance("r2", n=2), instance(process="job")]
    assert "0 of 2" in (upkeep.heal_reason(environment(), SPEC, others, {}) or "")


def test_prune_keeps_the_newest_five_what_serves_what_runs_and_the_way_back():
    releases = [release(n) for n in range(1, 11)]
    history = {
        PRODUCTION: [
            Deployment(ReleaseId("r9"), Config(), True),
            Deployment(ReleaseId("r3"), Config(), False),
            Deployment(ReleaseId("r2"), Config(), True),
        ]
    }
    pruned = upkeep.prunable(releases, [environment("r9")], [instance("r4")], history)
    assert [r.id for r in pruned] == ["r1", "r3", "r5"]


def test_a_release_is_kept_while_another_uses_its_files():
    releases = [release(1), replace(release(2), base=ReleaseId("r1")), *(release(n) for n in range(3, 9))]
    pruned = upkeep.prunable(releases, [environment("r2")], [], {})
    assert "r1" not in [r.id for r in pruned]
    assert "r1" in [r.id for r in upkeep.prunable(releases, [environment("r8")], [], {})]


def test_failed_builds_do_not_take_the_place_of_good_ones():
    releases = [release(n) for n in range(1, 6)] + [release(n, ReleaseState.FAILED) for n in range(6, 12)]
    assert upkeep.prunable(releases, [environment("r5")], [], {}) == ()


def test_logs_of_old_releases_are_forgotten_but_not_of_what_is_there():
    logs = [InstanceName(f"shop.production.r{n}.web.1") for n in range(1, 15)]
    logs.append(InstanceName("blog.production.r1.web.1"))
    found = upkeep.forgettable(logs, [instance("r2")])
    assert found == tuple(InstanceName(f"shop.production.r{n}.web.1") for n in (1, 3, 4))
