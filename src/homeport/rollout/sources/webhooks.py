"""What a webhook says, and whether it may say so. Pure.

What is guaranteed of a webhook that is acted on:

- Its sender knows the app's secret. GitHub, Gitea and Forgejo sign the body with it (HMAC-SHA256), GitLab does
  with a signing token (over id, time and body) and otherwise sends the secret itself, over TLS one hopes. All are
  compared in constant time, before anything of the body is read.
- It was not acted on before, within the seven days that deliveries are remembered: neither the id that the sender
  gave it nor its body is known. The body counts as well because most senders sign nothing else, so that an
  eavesdropper could put another id on it.
- Where it carries a signed time, that is no older than :data:`MAX_AGE`, and than :data:`TOLERANCE` where the time
  is that of the sending itself.

And whatever gets past this only makes Homeport look at the branch of the *configured* repository: a commit that
is not on it, or older than what ran, is not run. See :mod:`homeport.rollout.sources.service`.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from homeport.rollout.sources.model import Ignored, PullRequest, Push, Refused, Verdict, is_branch, is_commit

MAX_BODY = 1_000_000
"""Bytes. Longer ones are refused unread."""
MAX_AGE = timedelta(days=1)
"""A push or pull request that happened longer ago is refused."""
TOLERANCE = timedelta(minutes=5)
"""How far from now the time of sending may be, where it is signed (Standard Webhooks' figure)."""
REMEMBERED = timedelta(days=7)
"""How long a delivery is known again. Longer than :data:`MAX_AGE`."""
PREFIX = "whsec_"
"""A secret is this and 32 bytes in base64: GitLab wants its signing tokens so, to others it is a text."""

_UNSIGNED = Refused(401, "the signature is missing or wrong")
_FAR = 1 << 37
"""Seconds since 1970: the year 6325. Later ones are none that a date can be made of, or of milliseconds."""
_DELIVERY = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def verify(
    headers: Mapping[str, str], body: bytes, secret: str, now: datetime, seen: Callable[[str], bool]
) -> Verdict:
    """What a request says. ``headers`` by lower-case name; ``seen`` tells whether a delivery was acted on.

    Whether it is genuine is decided first, and nothing else is told to a sender that is not.
    """
    signed = _signed(headers, body, secret)
    if signed is None:
        return _UNSIGNED
    if signed and not _is_now(headers.get("webhook-timestamp", ""), now):
        return Refused(409, f"it was sent more than {TOLERANCE.seconds // 60} minutes ago, or in the future")
    payload = _payload(headers, body)
    if payload is None:
        return Refused(400, "its body is no JSON object")
    ids = _ids(headers, body)
    found = _gitlab(payload, ids) if "x-gitlab-event" in headers else _github(headers, payload, ids)
    if isinstance(found, Ignored | Refused):
        return found
    if any(seen(id) for id in ids):
        return Refused(409, "it was delivered before")
    at = _happened_at(payload)
    if at is not None and now - at > MAX_AGE:
        return Refused(409, "what it tells of happened more than a day ago")
    return found


# Whether it is genuine


def _signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool | None:
    """None: not genuine. Else whether the time of sending is signed too."""
    if "x-gitlab-event" in headers:
        if "webhook-signature" in headers:
            return True if _standard(headers, body, secret) else None
        return False if _same(headers.get("x-gitlab-token", ""), secret) else None
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = headers.get("x-hub-signature-256")
    if given is not None:
        return False if _same(given, f"sha256={expected}") else None
    given = headers.get("x-forgejo-signature", headers.get("x-gitea-signature", ""))
    return False if _same(given, expected) else None


def _standard(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Standard Webhooks: HMAC-SHA256 over "id.timestamp.body", "v1,BASE64", several apart by spaces."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    head = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}."
    digest = hmac.new(key, head.encode("utf-8", "replace") + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    return any(_same(given, expected) for given in headers["webhook-signature"].split(" ")[:10])


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _is_now(text: str, now: datetime) -> bool:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        return False
    return abs(now.timestamp() - int(text)) <= TOLERANCE.total_seconds()


def _ids(headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    names = (
        "webhook-id",
        "idempotency-key",
        "x-github-delivery",
        "x-gitea-delivery",
        "x-forgejo-delivery",
        "x-gitlab-event-uuid",
    )
    # GitLab's event UUID is shared by webhooks that another one set off; its own key comes first.
    given = next((headers[name] for name in names if headers.get(name)), "")
    own = (f"id:{given}",) if _DELIVERY.fullmatch(given) else ()
    return (*own, f"body:{hashlib.sha256(body).hexdigest()}")


# What it says


def _payload(headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    try:
        text = body.decode("utf-8")
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            text = parse_qs(text, max_num_fields=10).get("payload", [""])[0]
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _github(headers: Mapping[str, str], payload: dict[str, Any], ids: tuple[str, ...]) -> Verdict:
    """Gitea and Forgejo send the same shapes, and GitHub's headers beside their own."""
    names = ("x-github-event", "x-forgejo-event", "x-gitea-event")
    event = next((headers[name] for name in names if name in headers), "")
    actor = _actor(_at(payload, "sender", "login"))
    if event == "push":
        if payload.get("deleted") is True:
            return Ignored("a branch was deleted")
        return _push(payload.get("ref"), payload.get("after"), actor, ids)
    if event != "pull_request":
        return Ignored(f"nothing is done for {event[:40]!r}")
    action = payload.get("action")
    if action not in ("opened", "reopened", "synchronize", "synchronized", "closed"):
        return Ignored(f"nothing is done for a pull request that was {str(action)[:40]!r}")
    head = _at(payload, "pull_request", "head", "repo", "id")
    base = _at(payload, "pull_request", "base", "repo", "id")
    return _pull_request(
        head if head is not None and head == base else None,
        _at(payload, "pull_request", "head", "ref"),
        _at(payload, "pull_request", "head", "sha"),
        action == "closed",
        actor,
        ids,
    )


def _gitlab(payload: dict[str, Any], ids: tuple[str, ...]) -> Verdict:
    kind = payload.get("object_kind")
    if kind == "push":
        if payload.get("after") == payload.get("before") or set(str(payload.get("after"))) == {"0"}:
            return Ignored("a branch was deleted")
        return _push(payload.get("ref"), payload.get("after"), _actor(payload.get("user_username")), ids)
    if kind != "merge_request":
        return Ignored(f"nothing is done for {str(kind)[:40]!r}")
    action = _at(payload, "object_attributes", "action")
    if action not in ("open", "reopen", "update", "close", "merge"):
        return Ignored(f"nothing is done for a merge request's {str(action)[:40]!r}")
    if action == "update" and not _at(payload, "object_attributes", "oldrev"):
        return Ignored("the merge request has no new commit")
    source = _at(payload, "object_attributes", "source_project_id")
    target = _at(payload, "object_attributes", "target_project_id")
    return _pull_request(
        source if source is not None and source == target else None,
        _at(payload, "object_attributes", "source_branch"),
        _at(payload, "object_attributes", "last_commit", "id"),
        action in ("close", "merge"),
        _actor(_at(payload, "user", "username")),
        ids,
    )


def _push(ref: object, commit: object, actor: str, ids: tuple[str, ...]) -> Verdict:
    if not isinstance(ref, str) or not isinstance(commit, str) or not is_commit(commit):
        return Refused(400, "it names no ref and commit")
    branch = ref.removeprefix("refs/heads/")
    if set(commit) == {"0"}:
        return Ignored("a branch was deleted")
    if branch == ref or not is_branch(branch):
        return Ignored("it is no push to a branch")
    return Push(branch, commit, actor, ids)


def _pull_request(
    repository: object, branch: object, commit: object, closed: bool, actor: str, ids: tuple[str, ...]
) -> Verdict:
    """``repository``: of both branches; None when they are of two."""
    if repository is None:
        return Ignored("the pull request comes from another repository")
    if not isinstance(branch, str) or not isinstance(commit, str) or not is_commit(commit):
        return Refused(400, "it names no branch and commit")
    if not is_branch(branch):
        return Ignored("its branch has a name that Homeport does not take")
    return PullRequest(branch, commit, actor, closed, ids)


def _happened_at(payload: dict[str, Any]) -> datetime | None:
    """When what it tells of happened: GitHub tells so of pushes, all of them of pull requests."""
    for path in (
        ("repository", "pushed_at"),
        ("pull_request", "updated_at"),
        ("object_attributes", "updated_at"),
    ):
        if path[0] == "repository" and "pull_request" in payload:
            continue
        value = _at(payload, *path)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _FAR:
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            try:
                at = datetime.fromisoformat(value.replace(" UTC", "+00:00"))
            except ValueError:
                continue
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _at(payload: object, *path: str) -> Any:
    for key in path:
        if not isinstance(payload, dict):
            return None
        payload = payload.get(key)
    return payload


def _actor(name: object) -> str:
    """A name that the journal takes; "webhook" where there is none."""
    text = re.sub(r"[^A-Za-z0-9_.@-]", "_", name)[:64] if isinstance(name, str) else ""
    return text or "webhook"
