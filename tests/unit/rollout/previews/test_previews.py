"""Previews are made, brought up to date, extended and taken away, and what stands against it is told."""

import threading

import pytest

from homeport.journal import schema
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import PRODUCTION, EnvironmentName
from homeport.rollout import state
from homeport.rollout.jobs import job_targets
from homeport.rollout.previews import service as previews
from homeport.rollout.previews import state as table

SPEC = """
[app]
name = "shop"
[processes.web]
command = "serve"
[processes.worker]
command = "work"
[routes]
"*" = "web"
[cron.mail]
schedule = "* * * * *"
command = "mail"
[previews]
domain = "preview.example.com"
ttl = "7d"
most = 3
[environments.production]
[environments.staging]
"""


def with_inherits(name):
    return SPEC + f'[environments.preview]\ninherits = "{name}"\n'


def hosts(home):
    return sorted({r.host for r in home.edge.state.routes})


def test_a_branch_gets_an_environment_a_host_and_a_time_to_live(home):
    preview = home.serving("feature/hats")
    assert preview.name == "feature-hats" and preview.environment == "preview-feature-hats"
    assert hosts(home) == ["feature-hats.shop.preview.example.com"]
    assert (preview.expires_at - home.clock.now()).days == 7
    assert home.previews.of_app("shop") == (preview,)


def test_a_second_time_the_branch_is_brought_up_to_date(home):
    first = home.serving()
    home.clock.pass_(days=3)
    second, change = home.create(spec="# two\n" + SPEC)
    assert second.environment == first.environment and change.environment == first.environment
    assert second.created_at == first.created_at
    assert (second.expires_at - home.clock.now()).days == 7
    assert home.kinds().count("preview.created") == 1 and home.kinds().count("preview.updated") == 1


def test_a_newer_commit_takes_over_and_the_same_one_goes_on(home):
    _, first = home.create()
    _, same = home.create()
    assert same.id == first.id and not home.state.change(first.id).cancelled

    def end(seconds, pass_=home.clock.sleep):
        pass_(seconds)
        if home.state.change(first.id).cancelled and not home.state.change(first.id).done:
            home.end(home.state.change(first.id), well=False)

    home.clock.sleep = end
    _, newer = home.create(spec="# two\n" + SPEC)
    assert newer.id != first.id and home.state.change(first.id).done


def test_a_name_and_a_time_to_live_of_ones_own(home):
    preview, _ = home.create("feature/hats", name="look", ttl=3600.0)
    assert preview.name == "look"
    assert (preview.expires_at - home.clock.now()).total_seconds() == 3600
    again, _ = home.create("feature/hats")
    assert again.name == "look", "the branch's preview is found by its branch"


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("previews.bad_name", {"name": "No Name"}),
        ("previews.bad_name", {"name": "preview-hats"}),
        ("previews.bad_ttl", {"ttl": 0.0}),
        ("previews.bad_ttl", {"ttl": 1e300}),
        ("previews.bad_branch", {"branch": ""}),
        ("previews.bad_branch", {"branch": "a\nb"}),
        ("previews.not_wanted", {"spec": SPEC.replace("[previews]", "[x]")[: SPEC.index("[previews]")]}),
        ("rollout.wrong_app", {"spec": SPEC.replace('"shop"', '"blog"')}),
        ("rollout.no_archive", {"archive_digest": "0" * 64}),
        ("spec.invalid", {"spec": SPEC + "nonsense = 1\n"}),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(home, code, given):
    with pytest.raises(HomeportError) as caught:
        home.create(**given)
    assert caught.value.code == code and caught.value.sentence.startswith("cannot ")
    assert table.read(home.store) == () and home.state.environments() == ()


def test_an_app_without_previews_is_told_what_to_write(home):
    with pytest.raises(HomeportError) as caught:
        home.create(spec=SPEC[: SPEC.index("[previews]")])
    assert "[previews]" in caught.value.hint and "domain" in caught.value.hint


def test_a_deploy_that_is_refused_leaves_no_new_preview(home):
    needs = SPEC + "[variables.TOKEN]\nrequired = true\n"
    with pytest.raises(HomeportError) as caught:
        home.create(spec=needs)
    assert caught.value.code == "rollout.bad_config"
    assert table.read(home.store) == () and home.state.environments() == ()


def test_a_deploy_that_is_refused_leaves_the_preview_that_there_is(home):
    home.serving()
    with pytest.raises(HomeportError):
        home.create(spec=SPEC + "[variables.TOKEN]\nrequired = true\n")
    assert len(table.read(home.store)) == 1 and home.state.environment(*home.key).serving == "r1"


def test_another_branch_does_not_get_a_name_that_is_taken(home):
    home.serving("hats", name="look")
    with pytest.raises(HomeportError) as caught:
        home.create("caps", name="look")
    assert caught.value.code == "previews.name_taken" and "'hats'" in caught.value.sentence
    other, _ = home.create("look")
    assert other.name.startswith("look-")


def test_an_environment_that_is_no_preview_keeps_its_name(home):
    home.deployed(EnvironmentName("preview-hats"))
    preview, _ = home.create("hats")
    assert preview.name.startswith("hats-")
    with pytest.raises(HomeportError) as caught:
        home.create("hats2", name="hats")
    assert caught.value.code == "previews.name_taken"


def test_the_oldest_is_named_when_there_are_too_many(home):
    for branch in ("one", "two", "three"):
        home.serving(branch)
        home.clock.pass_(hours=1)
    with pytest.raises(HomeportError) as caught:
        home.create("four")
    assert caught.value.code == "previews.too_many"
    assert "homeport preview remove one" in caught.value.hint
    home.create("two", spec="# two\n" + SPEC)


# Configuration


def values(home):
    vault = home.vault
    return vault.values("shop", home.key[1], vault.versions("shop", home.key[1]))


def test_it_gets_what_is_set_for_the_environment_that_it_inherits_from(home):
    home.deployed(EnvironmentName("staging"), variables={"LEVEL": "debug"}, secrets={"TOKEN": "s3cret"})
    home.create(spec=with_inherits("staging"))
    assert dict(home.state.environment(*home.key).variables) == {"LEVEL": "debug"}
    assert values(home) == {"TOKEN": "s3cret"}
    with home.store.read() as c:
        tokens = set(c.execute(schema.secrets.select().with_only_columns(schema.secrets.c.token)).scalars())
    assert len(tokens) == 2, "sealed anew"
    assert not any("s3cret" in str(r.data) for r in home.store.records())
    created = next(r for r in home.store.records() if r.kind == "preview.created")
    assert created.data["secrets"] == ["TOKEN"] and created.data["copied_from"] == "staging"


def test_it_never_gets_productions_unless_it_says_so(home):
    home.deployed(PRODUCTION, variables={"LEVEL": "info"}, secrets={"TOKEN": "live"})
    home.create(spec=SPEC)
    assert dict(home.state.environment(*home.key).variables) == {} and values(home) == {}
    home.create("caps", spec=with_inherits("production"))
    assert dict(home.state.environment("shop", "preview-caps").variables) == {"LEVEL": "info"}


def test_what_is_set_for_previews_goes_before_what_is_inherited(home):
    home.deployed(EnvironmentName("staging"), variables={"LEVEL": "debug", "A": "1"}, secrets={"T": "one"})
    with home.store.transaction("ann") as tx:
        state.ensure_environment(tx, "shop", EnvironmentName("preview"))
        state.update_environment(tx, "shop", EnvironmentName("preview"), variables={"LEVEL": "trace"})
        home.vault.set(tx, "shop", "preview", "T", "two")
    home.create(spec=with_inherits("staging"))
    assert dict(home.state.environment(*home.key).variables) == {"LEVEL": "trace", "A": "1"}
    assert values(home) == {"T": "two"}


def test_what_was_changed_in_the_preview_stays_and_what_is_new_comes(home):
    staging = EnvironmentName("staging")
    home.deployed(staging, variables={"LEVEL": "debug"})
    home.serving(spec=with_inherits("staging"))
    with home.store.transaction("ann") as tx:
        state.update_environment(tx, *home.key, variables={"LEVEL": "mine"})
        state.update_environment(tx, "shop", staging, variables={"LEVEL": "info", "NEW": "1"})
    home.create(spec="# two\n" + with_inherits("staging"))
    assert dict(home.state.environment(*home.key).variables) == {"LEVEL": "mine", "NEW": "1"}


def test_what_runs_by_the_clock_does_not_in_a_preview(home):
    home.deployed(PRODUCTION, spec=SPEC)
    home.serving(spec=SPEC)
    assert [t.environment for t in job_targets(home.parts)] == [PRODUCTION]


# The end


def test_it_goes_with_all_that_it_has(home):
    home.deployed(PRODUCTION, spec=SPEC)
    home.deployed(EnvironmentName("staging"), secrets={"TOKEN": "s3cret"})
    home.serving(spec=with_inherits("staging"))
    storage = home.parts.storage_root(*home.key)
    (storage / "files").mkdir(parents=True, exist_ok=True)
    home.runtime.print("shop.preview-hats.r3.web.1", "hello")
    removed = home.previews.remove("shop", "hats", actor="ann")
    assert removed.instances == 2 and removed.storage == str(storage) and not storage.exists()
    assert home.running() == [] and not home.parts.logs.names("shop.preview-hats.")
    assert not any(r.host.startswith("hats.") for r in home.edge.state.routes)
    assert not any("preview-hats" in s.name for s in home.edge.state.services)
    for of in schema.metadata.sorted_tables:
        if "environment" in of.c and of.name not in ("events", "changes"):
            with home.store.read() as c:
                assert not c.execute(of.select().where(of.c.environment == home.key[1])).all(), of.name
    assert home.kinds()[-2:] == ["environment.removed", "preview.removed"]
    assert [e.name for e in home.state.environments()] == [PRODUCTION, "staging"]


def test_its_change_is_taken_back_before_it_goes(home):
    _, change = home.create()

    def end(seconds, pass_=home.clock.sleep):
        pass_(seconds)
        if home.state.change(change.id).cancelled and not home.state.change(change.id).done:
            home.end(home.state.change(change.id), well=False)

    home.clock.sleep = end
    home.previews.remove("shop", "hats", actor="ann")
    assert home.state.change(change.id).done and home.state.environments() == ()


def test_a_change_that_does_not_end_is_told(home):
    home.create()
    with pytest.raises(HomeportError) as caught:
        home.previews.remove("shop", "hats", actor="ann")
    assert caught.value.code == "rollout.busy"
    home.tick()
    assert len(table.read(home.store)) == 1, "its time is over, but a change is at it"


def test_the_keeper_removes_it_when_its_time_is_over(home):
    home.serving()
    home.clock.pass_(days=6)
    home.tick()
    assert len(table.read(home.store)) == 1
    home.clock.pass_(days=1)
    home.tick()
    assert table.read(home.store) == () and home.state.environments() == ()
    removed = next(r for r in home.store.records() if r.kind == "preview.removed")
    assert removed.data["reason"] == "its time was over" and removed.actor == "homeport"


def test_one_that_sleeps_is_removed_as_well(home):
    home.serving()
    home.tick()
    home.clock.pass_(minutes=31)
    home.tick()
    assert home.asleep()
    home.clock.pass_(days=7)
    home.tick()
    assert home.state.environments() == ()


def test_a_removal_that_was_cut_off_is_finished_by_the_keeper(home, monkeypatch):
    home.serving()

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(home.runtime.__class__, "stop", cut_off)
        with pytest.raises(KeyboardInterrupt):
            home.previews.remove("shop", "hats", actor="ann")
    assert home.state.environment(*home.key).serving is None
    home.tick()
    assert home.state.environments() == () and home.running() == []


def test_one_that_was_brought_up_to_date_is_not_removed(home):
    home.serving()
    home.clock.pass_(days=7)
    home.previews._ending.add(home.key)
    home.end(home.create(spec="# two\n" + SPEC)[1])
    preview = table.find(home.store, *home.key)
    home.previews._end(preview)
    assert len(table.read(home.store)) == 1


def test_extending_begins_now(home):
    home.serving()
    home.clock.pass_(days=6)
    preview = home.previews.extend("shop", "hats", 86400.0 * 3, actor="ann")
    assert (preview.expires_at - home.clock.now()).days == 3
    for ttl, name, code in ((0.0, "hats", "previews.bad_ttl"), (60.0, "hat", "previews.unknown")):
        with pytest.raises(HomeportError) as caught:
            home.previews.extend("shop", name, ttl, actor="ann")
        assert caught.value.code == code


def test_a_branch_that_is_gone_takes_its_previews_with_it(home):
    home.serving("hats")
    home.serving("hats", name="look")
    home.serving("caps")
    removed = home.previews.remove_branch("shop", "hats", actor="github", reason="the branch is gone")
    assert len(removed) == 2
    assert [p.branch for p in table.read(home.store)] == ["caps"]
    assert home.previews.remove_branch("shop", "nothing", actor="github", reason="x") == ()


def test_creating_one_that_is_being_removed_makes_it_anew(home, monkeypatch):
    home.serving()
    reached, go_on = threading.Event(), threading.Event()
    stop = home.runtime.__class__.stop

    def slow(runtime, names):
        reached.set()
        go_on.wait(5)
        stop(runtime, names)

    monkeypatch.setattr(home.runtime.__class__, "stop", slow)
    removing = threading.Thread(target=lambda: home.previews.remove("shop", "hats", actor="ann"))
    removing.start()
    reached.wait(5)
    made = []
    making = threading.Thread(target=lambda: made.append(home.create(spec="# two\n" + SPEC)))
    making.start()
    go_on.set()
    for thread in (removing, making):
        thread.join(10)
    assert made[0][0].created_at >= home.clock.now()
    assert home.kinds().count("preview.created") == 2
    assert len(home.state.running(*home.key)) == 1


def test_two_creates_at_once_make_one(home):
    archive, made = home.upload(SPEC), []
    threads = [
        threading.Thread(target=lambda: made.append(home.create(archive_digest=archive))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({change.id for _, change in made}) == 1 and len(made) == 4
    assert home.kinds().count("preview.created") == 1


# One environment


def test_production_and_the_last_environment_go_with_the_app_only(home):
    home.deployed(PRODUCTION)
    home.deployed(EnvironmentName("staging"), spec=SPEC)
    with pytest.raises(HomeportError) as caught:
        home.removal.destroy("shop", PRODUCTION, confirm=PRODUCTION, actor="ann")
    assert caught.value.code == "rollout.environment_kept"
    home.removal.remove("shop", PRODUCTION, with_storage=False, actor="ann")
    with pytest.raises(HomeportError) as caught:
        home.removal.destroy("shop", EnvironmentName("staging"), confirm="staging", actor="ann")
    assert caught.value.code == "rollout.environment_kept" and "homeport destroy shop" in caught.value.hint


def test_an_environment_goes_when_its_name_is_confirmed_and_its_files_stay(home):
    staging = EnvironmentName("staging")
    home.deployed(PRODUCTION)
    home.deployed(staging, spec=SPEC)
    storage = home.parts.storage_root("shop", staging)
    (storage / "files").mkdir(parents=True, exist_ok=True)
    with pytest.raises(HomeportError) as caught:
        home.removal.destroy("shop", staging, confirm="shop", actor="ann")
    assert caught.value.code == "rollout.not_confirmed"
    removed = home.removal.destroy("shop", staging, confirm="staging", actor="ann")
    assert removed.storage_kept and storage.is_dir()
    assert [e.name for e in home.state.environments()] == [PRODUCTION]
    assert [i.environment for i in home.state.instances()] == [PRODUCTION, PRODUCTION]


def test_what_an_environment_inherits_from_is_read_from_the_file():
    assert previews.inherited(SPEC) is None
    assert previews.inherited(with_inherits("staging")) == "staging"
