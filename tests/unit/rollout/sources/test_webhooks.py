"""What a webhook may say, and what is refused."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from homeport.rollout.sources import webhooks
from homeport.rollout.sources.model import Ignored, PullRequest, Push, Refused

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SECRET = webhooks.PREFIX + base64.b64encode(bytes(range(32))).decode()
OLD, NEW = "1" * 40, "a" * 40


def github_push(**more: Any) -> dict[str, Any]:
    return {
        "ref": "refs/heads/main",
        "before": OLD,
        "after": NEW,
        "deleted": False,
        "repository": {"pushed_at": int(NOW.timestamp()) - 5},
        "sender": {"login": "anna"},
    } | more


def pull_request(action: str = "opened", head: Any = 7, **more: Any) -> dict[str, Any]:
    repo = {"id": head} if head is not None else None
    return {
        "action": action,
        "pull_request": {
            "updated_at": "2026-11-21T08:59:00Z",
            "head": {"ref": "feature/x", "sha": NEW, "repo": repo},
            "base": {"ref": "main", "repo": {"id": 7}},
        },
        "sender": {"login": "anna"},
    } | more


def mac(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(
    payload: Any, event: str = "push", *, secret: str = SECRET, seen: set[str] = frozenset(), **headers: str
) -> Any:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    given = {
        "x-github-event": event,
        "x-github-delivery": "d-1",
        "x-hub-signature-256": f"sha256={mac(body, secret)}",
    } | {k.replace("_", "-"): v for k, v in headers.items()}
    return webhooks.verify(given, body, SECRET, NOW, seen.__contains__)


def gitlab(payload: Any, *, seen: set[str] = frozenset(), **headers: str) -> Any:
    body = json.dumps(payload).encode()
    given = {"x-gitlab-event": "Push Hook", "x-gitlab-token": SECRET, "idempotency-key": "k-1"}
    given |= {k.replace("_", "-"): v for k, v in headers.items()}
    return webhooks.verify(given, body, SECRET, NOW, seen.__contains__)


def gitlab_push(**more: Any) -> dict[str, Any]:
    return {
        "object_kind": "push",
        "ref": "refs/heads/main",
        "before": OLD,
        "after": NEW,
        "user_username": "anna",
    } | more


def merge_request(action: str, source: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "object_kind": "merge_request",
        "user": {"username": "anna"},
        "object_attributes": {
            "action": action,
            "source_branch": "feature/x",
            "source_project_id": source,
            "target_project_id": 3,
            "last_commit": {"id": NEW},
            "updated_at": "2026-11-21 08:59:00 UTC",
        }
        | more,
    }


def signed(payload: Any, *, at: datetime = NOW, key: bytes = bytes(range(32)), id: str = "w-1") -> Any:
    """As GitLab signs with a signing token: Standard Webhooks."""
    body = json.dumps(payload).encode()
    stamp = str(int(at.timestamp()))
    digest = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "x-gitlab-event": "Push Hook",
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    return webhooks.verify(headers, body, SECRET, NOW, lambda _: False)


def test_a_push_to_github() -> None:
    said = github(github_push())
    assert isinstance(said, Push)
    assert (said.branch, said.commit, said.actor) == ("main", NEW, "anna")
    assert said.ids[0] == "id:d-1" and said.ids[1].startswith("body:")


def test_a_form_is_read_as_well() -> None:
    body = urlencode({"payload": json.dumps(github_push())}).encode()
    said = github(body, content_type="application/x-www-form-urlencoded")
    assert isinstance(said, Push)


def test_gitea_and_forgejo_without_githubs_headers() -> None:
    body = json.dumps(github_push()).encode()
    for vendor in ("gitea", "forgejo"):
        headers = {
            f"x-{vendor}-event": "push",
            f"x-{vendor}-delivery": "d",
            f"x-{vendor}-signature": mac(body),
        }
        assert isinstance(webhooks.verify(headers, body, SECRET, NOW, lambda _: False), Push)
        headers[f"x-{vendor}-signature"] = mac(body, "other")
        assert webhooks.verify(headers, body, SECRET, NOW, lambda _: False).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-github-event": "push"},
        {"x-github-event": "push", "x-hub-signature-256": ""},
        {"x-github-event": "push", "x-hub-signature-256": "sha256="},
        {"x-github-event": "push", "x-hub-signature-256": "sha256=ünicode"},
        {"x-github-event": "push", "x-hub-signature": "sha1=" + "0" * 40},
        {"x-gitlab-event": "Push Hook"},
        {"x-gitlab-event": "Push Hook", "x-gitlab-token": ""},
        {"x-gitlab-event": "Push Hook", "x-gitlab-token": SECRET[:-1]},
        {"x-gitlab-event": "Push Hook", "webhook-signature": ""},
        {"x-gitlab-event": "Push Hook", "x-gitlab-token": SECRET, "webhook-signature": "v1,AAAA"},
    ],
)
def test_a_missing_or_wrong_signature(headers: dict[str, str]) -> None:
    body = json.dumps(github_push()).encode()
    said = webhooks.verify(headers, body, SECRET, NOW, lambda _: False)
    assert isinstance(said, Refused) and said.status == 401


def test_a_signature_of_another_body() -> None:
    said = github(github_push(), x_hub_signature_256=f"sha256={mac(b'other')}")
    assert isinstance(said, Refused) and said.status == 401


def test_a_wrong_signature_is_not_saved_by_a_good_one_beside_it() -> None:
    body = json.dumps(github_push()).encode()
    said = github(body, x_hub_signature_256="sha256=00", x_gitea_signature=mac(body))
    assert isinstance(said, Refused) and said.status == 401


def test_nothing_is_told_before_the_signature_holds() -> None:
    said = github(b"no json", secret="other")
    assert isinstance(said, Refused) and said.status == 401
    assert github(b"no json").status == 400
    assert github(b"[]").status == 400
    assert github(b"[" * 100_000).status == 400
    assert github(b"\xff").status == 400


def test_a_delivery_comes_once() -> None:
    first = github(github_push())
    for id in first.ids:
        again = github(github_push(), seen={id})
        assert isinstance(again, Refused) and again.status == 409
    # An eavesdropper's own id on a body that was seen.
    again = github(github_push(), seen={first.ids[1]}, x_github_delivery="d-2")
    assert isinstance(again, Refused) and again.status == 409


def test_what_happened_long_ago() -> None:
    long_ago = int((NOW - webhooks.MAX_AGE).timestamp()) - 1
    assert github(github_push(repository={"pushed_at": long_ago})).status == 409
    assert isinstance(github(github_push(repository={"pushed_at": long_ago + 2})), Push)
    assert github(pull_request(pull_request={**pull_request()["pull_request"], "updated_at": "2026-11-01T00:00:00Z"}), "pull_request").status == 409  # fmt: skip
    assert gitlab(merge_request("open", updated_at="2026-11-01 00:00:00 UTC")).status == 409
    # Not told, or in a shape of its own: then the commit decides.
    for odd in (
        {},
        {"pushed_at": "soon"},
        {"pushed_at": True},
        {"pushed_at": -1},
        {"pushed_at": 1 << 60},
        None,
    ):
        assert isinstance(github(github_push(repository=odd)), Push)


@pytest.mark.parametrize("event", ["ping", "issues", "workflow_run", ""])
def test_other_events_are_ignored(event: str) -> None:
    assert isinstance(github({"zen": "…"}, event), Ignored)


def test_other_refs_and_deletions_are_ignored() -> None:
    assert isinstance(github(github_push(ref="refs/tags/v1")), Ignored)
    assert isinstance(github(github_push(ref="refs/heads/-x")), Ignored)
    assert isinstance(github(github_push(deleted=True, after="0" * 40)), Ignored)
    assert isinstance(github(github_push(after="0" * 40)), Ignored)
    assert isinstance(gitlab(gitlab_push(after="0" * 40)), Ignored)
    assert isinstance(gitlab({"object_kind": "tag_push"}), Ignored)


@pytest.mark.parametrize("odd", [{"ref": 3}, {"after": "main"}, {"after": None}, {"after": "A" * 40}])
def test_a_push_that_names_no_commit(odd: dict[str, Any]) -> None:
    assert github(github_push(**odd)).status == 400


@pytest.mark.parametrize("action", ["opened", "reopened", "synchronize", "synchronized"])
def test_a_pull_request(action: str) -> None:
    said = github(pull_request(action), "pull_request")
    assert isinstance(said, PullRequest)
    assert (said.branch, said.commit, said.closed) == ("feature/x", NEW, False)


def test_a_closed_pull_request() -> None:
    assert github(pull_request("closed"), "pull_request").closed
    assert gitlab(merge_request("merge")).closed and gitlab(merge_request("close")).closed


def test_a_fork_is_never_shown() -> None:
    assert isinstance(github(pull_request(head=8), "pull_request"), Ignored)
    assert isinstance(github(pull_request(head=None), "pull_request"), Ignored)
    assert isinstance(gitlab(merge_request("open", source=4)), Ignored)
    odd = {"action": "opened", "pull_request": "text"}
    assert isinstance(github(odd, "pull_request"), Ignored)


def test_a_push_to_gitlab() -> None:
    said = gitlab(gitlab_push())
    assert isinstance(said, Push) and said.ids[0] == "id:k-1"
    assert isinstance(gitlab(merge_request("open")), PullRequest)
    assert isinstance(gitlab(merge_request("update", oldrev=OLD)), PullRequest)
    assert isinstance(gitlab(merge_request("update")), Ignored)
    assert isinstance(gitlab(merge_request("approved")), Ignored)


def test_gitlabs_signing_token() -> None:
    assert isinstance(signed(gitlab_push()), Push)
    assert signed(gitlab_push(), key=b"x" * 32).status == 401
    for at in (NOW - webhooks.TOLERANCE - timedelta(seconds=1), NOW + webhooks.TOLERANCE * 2):
        assert signed(gitlab_push(), at=at).status == 409


def test_the_names_of_actors_are_made_safe() -> None:
    said = github(github_push(sender={"login": "anna\n<b>" + "x" * 100}))
    assert said.actor == ("anna__b_" + "x" * 100)[:64]
    assert github(github_push(sender=None)).actor == "webhook"


@pytest.mark.parametrize("at", [10**12, 1 << 39, 10**15, -1, True])
def test_a_time_that_is_no_date_is_none(at: Any) -> None:
    assert isinstance(github(github_push(repository={"pushed_at": at})), Push)
