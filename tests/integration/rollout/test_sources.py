"""Sources with a real git, state.db and key file; the pipeline and previews are stand-ins that note what comes."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine
from homeport.kernel.errors import ErrorType, HomeportError, Kind
from homeport.kernel.ids import AppName
from homeport.rollout.sources import state
from homeport.rollout.sources.model import FETCH_FAILED, Ignored, PullRequest, Push, Refused
from homeport.rollout.sources.repository import Repository
from homeport.rollout.sources.service import Sources

SHOP = AppName("shop")
BROKEN = ErrorType("test.broken_spec", Kind.INVALID, "…")


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Runs:
    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    def begin(self, app: AppName, **what: Any) -> None:
        if self.error is not None:
            raise self.error
        self.begun.append({"app": app, **what})


class Branches:
    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.gone: list[str] = []

    def create(self, app: AppName, **what: Any) -> None:
        self.shown.append((what["branch"], what["commit"].id))

    def remove_branch(self, app: AppName, branch: str, **_: Any) -> None:
        self.gone.append(branch)


class Home:
    def __init__(self, work: Path) -> None:
        self.data = work / "data"
        self.data.mkdir()
        self.clock = Clock()
        self.store = Store(open_engine(self.data / "state.db"), self.clock)
        self.runs, self.branches = Runs(), Branches()
        self.published = 0
        self.sources = self.restarted()
        self.origin = work / "origin"
        self.git("init", "-q", "-b", "main", str(self.origin), cwd=work)
        self.first = self.commit("1")

    def restarted(self) -> Sources:
        """The service of a control plane that has just begun."""
        parts: Any = SimpleNamespace(
            data_dir=self.data,
            state=SimpleNamespace(store=self.store),
            vault=Vault(self.store, self.data / "secrets.key"),
            clock=self.clock,
            build_environment={k: os.environ[k] for k in ("PATH", "HOME")},
            publish=self._publish,
        )
        return Sources(parts, self.runs, self.branches, hook=("/bin/true",))

    def _publish(self) -> None:
        self.published += 1

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        names = {f"GIT_{who}_{what}": "tests@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.origin, env=os.environ | names, check=True, capture_output=True, text=True
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, text: str) -> str:
        (self.origin / "file").write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"version {text}")
        return self.git("rev-parse", "HEAD")

    def set(self, **more: Any) -> None:
        wanted = {
            "url": str(self.origin),
            "branch": "main",
            "directory": "",
            "poll": None,
            "token_from": None,
        }
        self.sources.set(SHOP, **(wanted | more), actor="anna")

    def look(self, times: int = 5) -> None:
        for _ in range(times):
            self.sources.look(SHOP)

    def source(self) -> Any:
        return self.sources.get(SHOP)

    def kinds(self) -> list[str]:
        return [r.kind for r in self.store.records()]

    def post(self, secret: str, payload: dict[str, Any], event: str = "push", *, app: str = "shop") -> Any:
        body = json.dumps(payload).encode()
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "x-github-event": event,
            "x-github-delivery": hashlib.md5(body).hexdigest(),
            "x-hub-signature-256": f"sha256={digest}",
        }
        return self.sources.receive(app, headers, body)

    def pushed(self, commit: str, *, branch: str = "main", n: int = 0) -> dict[str, Any]:
        return {
            "ref": f"refs/heads/{branch}",
            "after": commit,
            "repository": {"pushed_at": int(self.clock.at.timestamp()) - n},
            "sender": {"login": "bob"},
        }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.sources.close()
    made.store.engine.dispose()


def test_a_watched_branch(home: Home) -> None:
    home.set(poll=60.0)
    home.look(2)
    (run,) = home.runs.begun
    assert (run["commit"], run["subject"], run["branch"], run["cause"]) == (
        home.first,
        "version 1",
        "main",
        "poll",
    )
    assert run["author"] == "tests@localhost <tests@localhost>" and run["committed_at"].tzinfo
    with tarfile.open(home.data / "archives" / f"{run['archive']}.tar") as tar:
        assert tar.getnames() == ["file"]
    home.look()
    assert len(home.runs.begun) == 1
    second = home.commit("2")
    home.look(2)
    assert [r["commit"] for r in home.runs.begun] == [home.first, second]
    assert home.source().seen == second and home.source().problem is None


def test_a_branch_set_back_runs_again(home: Home) -> None:
    home.set(poll=60.0)
    home.look()
    second = home.commit("2")
    home.look()
    home.git("reset", "-q", "--hard", home.first)
    home.look()
    home.git("reset", "-q", "--hard", second)
    home.look()
    assert [r["commit"] for r in home.runs.begun] == [home.first, second, home.first, second]
    assert len({r["id"] for r in home.runs.begun}) == 4


def test_only_the_apps_directory(home: Home) -> None:
    (home.origin / "apps" / "shop").mkdir(parents=True)
    (home.origin / "apps" / "shop" / "homeport.toml").write_text("")
    home.commit("2")
    home.set(poll=60.0, directory="apps/shop")
    home.look(2)
    with tarfile.open(home.data / "archives" / f"{home.runs.begun[0]['archive']}.tar") as tar:
        assert tar.getnames() == ["homeport.toml"]


def test_a_webhook_runs_the_commit_that_it_names(home: Home) -> None:
    home.set()
    path, secret = home.sources.new_webhook(SHOP, "anna")
    assert path == "/.homeport/hooks/shop" and home.published == 1
    second = home.commit("2")
    third = home.commit("3")
    assert isinstance(home.post(secret, home.pushed(second)), Push)
    assert isinstance(home.post(secret, home.pushed(third)), Push)
    home.look()
    assert [(r["commit"], r["cause"], r["actor"]) for r in home.runs.begun] == [
        (second, "webhook", "bob"),
        (third, "webhook", "bob"),
    ]


def test_a_delivery_counts_once(home: Home) -> None:
    home.set()
    _, secret = home.sources.new_webhook(SHOP, "anna")
    assert isinstance(home.post(secret, home.pushed(home.first)), Push)
    again = home.post(secret, home.pushed(home.first))
    assert isinstance(again, Refused) and again.status == 409
    # Two that came at the same moment, both found to be new.
    twin = Push("main", home.first, "bob", ("id:twin",))
    said = [home.sources._take(SHOP, twin) for _ in range(2)]
    assert said[0] == twin and isinstance(said[1], Refused)
    home.look()
    assert len(home.runs.begun) == 1
    # A second event for what ran already runs nothing.
    assert isinstance(home.post(secret, home.pushed(home.first, n=1)), Push)
    home.look()
    assert len(home.runs.begun) == 1 and not home.source().pending


def test_an_older_commit_does_not_run_after_a_newer_one(home: Home) -> None:
    home.set()
    _, secret = home.sources.new_webhook(SHOP, "anna")
    second = home.commit("2")
    home.post(secret, home.pushed(second))
    home.look()
    home.post(secret, home.pushed(home.first, n=1))
    home.look()
    assert [r["commit"] for r in home.runs.begun] == [second]
    assert "older" in home.source().problem and home.source().seen == second


def test_a_commit_that_is_not_on_the_branch(home: Home) -> None:
    home.set()
    _, secret = home.sources.new_webhook(SHOP, "anna")
    home.git("checkout", "-q", "-b", "other")
    elsewhere = home.commit("x")
    home.post(secret, home.pushed(elsewhere))
    home.post(secret, home.pushed("f" * 40))
    home.look()
    assert not home.runs.begun and not home.source().pending
    assert home.kinds().count("source.ignored") == 2
    # One that is here, because a pull request brought it.
    head = {"ref": "other", "sha": elsewhere, "repo": {"id": 1}}
    request = {"action": "opened", "pull_request": {"head": head, "base": {"repo": {"id": 1}}}}
    home.post(secret, request, "pull_request")
    home.look()
    assert home.branches.shown == [("other", elsewhere)]
    home.post(secret, home.pushed(elsewhere, n=1))
    home.look()
    assert not home.runs.begun and "not on main" in home.source().problem


def test_pushes_to_other_branches_and_unknown_apps(home: Home) -> None:
    home.set()
    dummy = "whsec_" + base64.b64encode(bytes(32)).decode()
    for secret in ("whatever", dummy):  # no webhook yet
        assert home.post(secret, home.pushed(home.first)).status == 401
    _, secret = home.sources.new_webhook(SHOP, "anna")
    assert isinstance(home.post(secret, home.pushed(home.first, branch="other")), Ignored)
    unknown = home.post(secret, home.pushed(home.first), app="shoe")
    wrong = home.post("wrong", home.pushed(home.first))
    assert unknown == wrong and unknown.status == 401
    assert home.post(dummy, home.pushed(home.first), app="shoe").status == 401
    assert not home.source().pending


def test_a_new_secret_ends_the_old_one(home: Home) -> None:
    home.set()
    _, old = home.sources.new_webhook(SHOP, "anna")
    _, new = home.sources.new_webhook(SHOP, "anna")
    assert home.post(old, home.pushed(home.first)).status == 401
    assert isinstance(home.post(new, home.pushed(home.first)), Push)


def test_pull_requests(home: Home) -> None:
    home.set()
    _, secret = home.sources.new_webhook(SHOP, "anna")
    home.git("checkout", "-q", "-b", "feature/x")
    commit = home.commit("x")

    def request(action: str) -> dict[str, Any]:
        head = {"ref": "feature/x", "sha": commit, "repo": {"id": 1}}
        return {"action": action, "pull_request": {"head": head, "base": {"repo": {"id": 1}}}}

    assert isinstance(home.post(secret, request("opened"), "pull_request"), PullRequest)
    home.look()
    assert home.branches.shown == [("feature/x", commit)] and not home.runs.begun
    assert isinstance(home.post(secret, request("closed"), "pull_request"), PullRequest)
    home.look()
    assert home.branches.gone == ["feature/x"]
    # The branch is gone before it was fetched: nothing waits for it for ever.
    home.post(secret, request("reopened"), "pull_request")
    home.git("checkout", "-q", "main")
    home.git("branch", "-q", "-D", "feature/x")
    home.look()
    assert not home.source().pending and len(home.branches.shown) == 1


def test_what_a_webhook_asked_for_survives_a_crash_and_is_done_once(home: Home) -> None:
    home.set()
    _, secret = home.sources.new_webhook(SHOP, "anna")
    home.post(secret, home.pushed(home.first))
    home.runs.error = RuntimeError("kill -9")
    with pytest.raises(RuntimeError):
        home.look(1)
    home.runs.error = None
    home.sources = home.restarted()
    home.look(1)
    ids = {r["id"] for r in home.runs.begun}
    # Cut off between the run and its record: the same id again.
    with home.store.transaction("test") as tx:
        found = state.in_transaction(tx, SHOP)
        assert found is not None and not found.pending
    assert len(ids) == 1


def test_a_repository_that_does_not_answer(home: Home) -> None:
    (home.data / "nowhere").mkdir()
    home.set(url=str(home.data / "nowhere"), poll=60.0)
    home.look()
    assert home.source().failures == 5 and "nowhere" in home.source().problem
    assert home.kinds().count("source.failed") == 1
    (home.data / "nowhere").rmdir()
    (home.data / "nowhere").symlink_to(home.origin)
    home.look()
    assert home.source().failures == 0 and home.source().problem is None
    assert home.kinds().count("source.recovered") == 1
    assert len(home.runs.begun) == 1


def test_a_path_where_nothing_is_is_refused(home: Home) -> None:
    home.set()
    with pytest.raises(HomeportError, match="cannot fetch from /no/such/place: no such file"):
        home.set(url="/no/such/place")
    assert home.source().url == str(home.origin)


def test_a_commit_that_cannot_run_is_not_tried_for_ever(home: Home) -> None:
    home.set(poll=60.0)
    home.runs.error = BROKEN.error("cannot read homeport.toml")
    home.look(6)
    assert home.kinds().count("source.ignored") == 1
    assert home.source().problem == "cannot read homeport.toml"
    home.runs.error = None
    second = home.commit("2")
    home.look()
    assert [r["commit"] for r in home.runs.begun] == [second] and home.source().problem is None


def test_a_branch_that_is_not_there(home: Home) -> None:
    home.set(branch="nope", poll=60.0)
    home.look(2)
    assert "nope" in home.source().problem and home.source().failures == 2


@pytest.mark.parametrize("source", ["nonsense", "file:/does/not/exist", "command:false"])
def test_a_token_that_cannot_be_read_is_bad_input(home: Home, source: str) -> None:
    with pytest.raises(HomeportError) as e:
        home.set(token_from=source)
    assert e.value.code == "sources.bad_token" and e.value.kind is Kind.INVALID


@pytest.mark.parametrize("fails", [False, True])
def test_a_look_at_the_branch_of_before_says_nothing_of_the_new_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    home.git("checkout", "-q", "-b", "next")
    next_ = home.commit("2")
    home.set(poll=60.0)
    look = Repository.look

    def other_meanwhile(repository: Repository, *more: Any) -> str:
        commit = look(repository, *more)
        home.set(branch="next", poll=60.0)
        if fails:
            raise FETCH_FAILED.error("cannot fetch")
        return commit

    monkeypatch.setattr(Repository, "look", other_meanwhile)
    home.look(1)
    monkeypatch.undo()
    source = home.source()
    assert (source.pending, source.looked_at, source.failures) == ((), None, 0)
    home.look()
    assert [r["commit"] for r in home.runs.begun] == [next_]


def test_what_was_begun_as_another_branch_was_set_is_done_and_is_none_of_its_commits(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.set()
    _, secret = home.sources.new_webhook(SHOP, "anna")
    home.post(secret, home.pushed(home.first))
    begin = home.runs.begin

    def other_meanwhile(app: AppName, **what: Any) -> None:
        begin(app, **what)
        home.set(branch="next")

    monkeypatch.setattr(home.runs, "begin", other_meanwhile)
    home.look(1)
    assert [r["commit"] for r in home.runs.begun] == [home.first]
    assert (home.source().pending, home.source().seen) == ((), None)


def test_a_token_is_sealed_and_goes_with_another_address(home: Home, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")
    home.set(token_from=f"file:{tmp_path}/token")
    assert home.source().credential
    home.set(branch="other")
    assert home.source().credential
    for path in home.data.rglob("*"):
        if path.is_file():
            assert b"s3cret-token" not in path.read_bytes(), path
    home.set(url="https://example.com/x.git")
    assert not home.source().credential
    home.set(url="https://example.com/x.git", token_from=f"file:{tmp_path}/token")
    home.set(url="https://example.com/x.git", token_from="")
    assert not home.source().credential


def test_removal_takes_all_of_it(home: Home) -> None:
    home.set(poll=60.0)
    _, secret = home.sources.new_webhook(SHOP, "anna")
    home.sources.remove(SHOP, "anna")
    assert home.post(secret, home.pushed(home.first)).status == 401
    with pytest.raises(HomeportError) as e:
        home.source()
    assert e.value.code == "sources.no_source"
    home.set()
    home.sources.new_webhook(SHOP, "anna")


def test_the_repository_is_made_once_and_takes_no_hooks_from_elsewhere(home: Home) -> None:
    path, is_new = home.sources.repository(SHOP, "apps/shop")
    assert is_new and sorted(p.name for p in (path / "hooks").iterdir()) == ["pre-receive"]
    again, is_new = home.sources.repository(SHOP)
    assert again == path and not is_new
    assert home.git("config", "--get", "homeport.directory", cwd=path) == "apps/shop"
    assert home.git("config", "--get", "core.hooksPath", cwd=path) == str(path / "hooks")
    assert [p.name for p in path.parent.iterdir()] == ["shop.git"]
    with pytest.raises(HomeportError):
        home.sources.repository(AppName("../x"))


def test_ticks_look_at_what_is_due(home: Home) -> None:
    home.set(poll=60.0)
    home.sources.start()
    deadline = 200
    while not home.runs.begun and deadline:
        deadline -= 1
        home.sources._thread.join(0.05)
    assert [r["commit"] for r in home.runs.begun] == [home.first]
