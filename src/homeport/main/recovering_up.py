"""The last steps of a recovery: everything is started, and seen to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from homeport.api.client import Client
from homeport.backup.files.model import HOMEPORT
from homeport.journal.store import parse_time
from homeport.kernel.errors import HomeportError
from homeport.main import lifecycle
from homeport.rollout.status import LOOPING
from homeport.runtime.model import InstanceState
from homeport.spec.model import PREVIEW

if TYPE_CHECKING:
    from homeport.main.recovering import Recovery

SERVING = 180.0
"""Seconds for everything to serve again."""
HOPELESS = 20.0
"""Seconds after the first instance of an environment ended in which it may come back, where releases were built in
another data directory: they may be unable to start here."""
ENDED = (LOOPING, InstanceState.BACKOFF.value, InstanceState.STOPPED.value)
MOST = 5
"""Migrations that are named."""
WELL = ("up", "empty", "asleep")


def serve_again(r: Recovery, http: str | None, https: str | None) -> list[dict[str, Any]]:
    """Start it, wait for its apps; what serves at the end."""
    r.begin("start Homeport")
    try:
        report = lifecycle.up(r.data_dir, http, https)
    except HomeportError as error:
        # Its databases are started before it answers.
        if error.type is not lifecycle.DID_NOT_START:
            raise
        report = {"http": http or ""}
    r.end(report["http"])
    r.begin("wait until everything serves")
    client = Client(r.data_dir)
    deadline = r.clock.monotonic() + SERVING
    problem: HomeportError | None = None
    found: list[dict[str, Any]] | None = None
    ended: dict[tuple[str, str], float] = {}
    while True:
        try:
            found = [e for a in client.get("/v1/status")["apps"] for e in a["environments"] if e["serving"]]
        except HomeportError as error:
            problem = error
        waited = [e for e in found or () if not e["name"].startswith(PREVIEW)]
        down = [e for e in waited if e["health"] not in WELL]
        if found is not None and not down:
            break
        now = r.clock.monotonic()
        for e in down:
            if _has_ended(e):
                ended.setdefault((e["app"], e["name"]), now)
        if r.former and down and all(now - ended.get((e["app"], e["name"]), now) > HOPELESS for e in down):
            break
        if now > deadline:
            break
        r.clock.sleep(0.1)
    if found is None:
        raise problem or lifecycle.DID_NOT_START.error("cannot start Homeport")
    for e in found:
        if e["health"] not in WELL:
            what = f"{e['app']} {e['name']} does not serve: it is {e['health']}"
            (r.notes if e["name"].startswith(PREVIEW) else r.lost).append(what)
    _compare_schemas(r, waited)
    r.end(f"{len(waited) - len(down)} of {len(waited)} serve", failed=bool(down))
    _say_what_to_do(r, found, report["http"])
    return [
        {"app": e["app"], "environment": e["name"], "release": e["serving"], "health": e["health"], "urls": e["urls"]}
        for e in found
    ]  # fmt: skip


def _has_ended(e: Mapping[str, Any]) -> bool:
    """Whether an instance that is missing was started, and ended."""
    missing = {p["name"] for p in e["processes"] if p["serving"] < p["wanted"]}
    return any(i["state"] in ENDED for i in e["instances"] if i["process"] in missing)


def deploy_again(e: Mapping[str, Any]) -> str:
    """What is called in the app's repository to have what serves built anew."""
    commit = f" {e['commit'][:10]}" if e["commit"] else ""
    return f"homeport deploy{commit} --env {e['name']}"


def _compare_schemas(r: Recovery, serving: list[dict[str, Any]]) -> None:
    """A cluster may come back as of later than the state: a release that was deployed in between is not there, and
    what it migrated is."""
    as_of = r.known.get("files", {}).get("series", {}).get(HOMEPORT)
    client = Client(r.data_dir, timeout=lifecycle.LONG_CALL)
    for e in serving if as_of else ():
        where = f"/v1/apps/{e['app']}/environments/{e['name']}/migrations"
        try:
            databases = [
                d for d in client.get("/v1/databases", app=e["app"]) if d["environment"] == e["name"]
            ]
        except HomeportError:
            continue
        for d in databases:
            with suppress(HomeportError):  # It has no migrations, or is not there: that is told otherwise.
                statuses = client.get(where, database=d["name"])["statuses"]
                of = f"{e['app']} {e['name']}"
                if told := unknown_migrations(of, d["name"], e["serving"], statuses, parse_time(as_of)):
                    r.lost.append(told)


def unknown_migrations(
    of: str, database: str, serving: str, statuses: Sequence[Mapping[str, Any]], as_of: datetime
) -> str:
    """In words: what the schema has that the release does not know; "" for nothing.

    What was applied before ``as_of``, when the state was backed up, is known by it: a rollback leaves that too.
    """
    found = [
        s
        for s in statuses
        if s["state"] == "missing" and s["applied_at"] and datetime.fromisoformat(s["applied_at"]) > as_of
    ]
    if not found:
        return ""
    names = ", ".join(" ".join(filter(None, (s["version"], s["description"]))) for s in found[:MOST])
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    made = ", ".join(dict.fromkeys(s["release"] for s in found if s["release"]))
    by = f" ({made} then)" if made else ""
    return (
        f"the release of {of} that made migrations {names}{more} of database {database}{by}: {serving} serves, which "
        "does not know them; deploy the code of that release again"
    )


def _say_what_to_do(r: Recovery, found: list[dict[str, Any]], http: str) -> None:
    hosts = sorted({route.partition("/")[0] for e in found for route in e["routes"]})
    if hosts:
        shown = ", ".join(hosts[:5]) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")
        r.todo.append(
            f"names lead to the former machine still: have the DNS of {shown} name this one ({http})"
        )
    r.todo.append("homeport up --systemd has it come back when this machine starts")
    for name, values in r.known.get("clusters", {}).items():
        if "bytes" not in values:
            r.todo.append(
                f"cluster {name} is missing: mend the repository, then homeport restore --cluster {name} --plan; "
                "the same without --plan brings it back"
            )
    for e in found:
        if e["health"] not in WELL and not e["name"].startswith(PREVIEW):
            built = f"{e['serving']} was built in {r.former}, and may name that still; " if r.former else ""
            r.todo.append(
                f"{e['app']} {e['name']}: {built}homeport logs says why it does not serve, and "
                f"{deploy_again(e)}, in its repository, {'builds it anew' if built else 'ships it again'}"
            )
    for name in r.known.get("others", ()):
        r.todo.append(
            f"repository {name} was not looked at: homeport backup repository remove {name} where it was lost too"
        )


def take_over(r: Recovery, *, former_is_gone: bool) -> None:
    """Back up again, or say what it waits for."""
    if not former_is_gone:
        r.todo.append(
            "backups wait, since this machine and the former one would spoil each other's: "
            "homeport backup resume, once the former one is gone for good"
        )
        return
    r.begin("back up again")
    try:
        Client(r.data_dir, timeout=lifecycle.LONG_CALL).send("POST", "/v1/backups/resume")
        r.end()
    except HomeportError as error:
        r.end(error.sentence, failed=True)
        r.todo.append(f"backups wait: {error.sentence}; then homeport backup resume")
