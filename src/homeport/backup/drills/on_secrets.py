"""The drill in which secrets are known to others: a database's password, and the key that seals all of them."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from psycopg import sql

from homeport.backup.drills.errors import NOT_BROUGHT_BACK, NOT_DETECTED, NOTHING_TO_BREAK
from homeport.backup.drills.ground import TWIN, Ground
from homeport.backup.drills.model import BREAK, CONTAIN, DETECT, PREPARE, RESTORE, SMOKE, VERIFY
from homeport.backup.drills.phases import Found, Phase, Request, found, marked_twin, smoke_twin
from homeport.backup.physical.copy import Copy
from homeport.database import roles, scram
from homeport.database.connect import Connection
from homeport.database.model import Provisioned
from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.journal.store import Store, open_engine
from homeport.spec.database_names import variable_of
from homeport.spec.model_database import Database
from homeport.system import files
from homeport.system.seal import KEY_FILE

FINE = 0.0


def prepare(ground: Ground, request: Request) -> Found:
    said = marked_twin(ground, request)
    top = _top(ground)
    top.mkdir(mode=0o700)
    with ground.box.state.store.read() as c:
        c.execute(sa.text("VACUUM INTO :path"), {"path": str(top / "state.db")})
    files.write_atomic(top / KEY_FILE, (ground.box.data_dir / KEY_FILE).read_bytes(), mode=0o600)
    said["told"].append("a copy of the sealed secrets, with their key")
    return said


def leak(ground: Ground, _: Request) -> Found:
    row = _victim(ground)
    ground.happened()
    return found(f"the password of {row.login_role(row.login)} and the secrets' key are known to a stranger")


def what_they_open(ground: Ground, _: Request) -> Found:
    """What the key opens: how much has to be changed."""
    counts = _counts(ground)
    told = [f"{app} {environment}: {count} secrets" for (app, environment), count in counts.items()]
    if _vault(ground).check() is not None:
        raise NOT_DETECTED.error("cannot tell what the key opens: it does not open what it should")
    return found(*told, secrets=sum(counts.values()))


def lock_out(ground: Ground, _: Request) -> Found:
    row = _victim(ground)
    clock = ground.box.clock
    began = clock.monotonic()
    with ground.serving(TWIN) as copy, copy.connect("postgres") as c:
        roles.lock(c, row.login_role(row.login))
        if _verifier(c, row, row.login) is not None:
            raise NOT_DETECTED.error("cannot lock the login out: it still has a password")
    return found(
        f"{row.login_role(row.login)} has no password and no connection any more",
        lock_out_seconds=round(clock.monotonic() - began, 3),
    )


def change(ground: Ground, _: Request) -> Found:
    """The database's login on the twin, the key on the copy."""
    row = _victim(ground)
    with ground.serving(TWIN) as copy:
        old, new = _change_login(copy, row)
    if new == old:
        raise NOT_BROUGHT_BACK.error(f"cannot change the password of {row.label}: it is the same")
    _vault(ground).rotate(lambda reseal: 0, actor="homeport drill")
    people = [
        f"Get new values from those who gave them, and homeport secrets set: {', '.join(names)} ({app} {environment})"
        for (app, environment), names in _given(ground).items()
    ]
    return found(
        f"{row.label} has a new password; in production: homeport db rotate",
        "all secrets are sealed with a new key; in production: homeport secrets rotate-key",
        todo=[
            *people,
            "Where backups may be known too: homeport backup passphrase, and new keys of the stores",
        ],
    )


def _change_login(copy: Copy, row: Provisioned) -> tuple[str | None, str | None]:
    role = row.login_role(row.login)
    password = roles.new_password()
    with copy.connect("postgres") as c:
        c.execute("SET default_transaction_read_only = off")
        old = _verifier(c, row, row.login)
        roles.set_password(c, role, password)
        new = _verifier(c, row, row.login)
    if not scram.matches(new, password):
        raise NOT_BROUGHT_BACK.error(f"cannot change the password of {row.label}: the new one does not fit")
    return old, new


def old_opens_nothing(ground: Ground, _: Request) -> Found:
    """The key before opens no secret; the new one all of them."""
    wrong = _vault(ground).check()
    if wrong is not None:
        raise NOT_BROUGHT_BACK.error("cannot open the secrets with the new key", details=[wrong])
    stolen = _top(ground) / "stolen"
    files.write_atomic(stolen, (ground.box.data_dir / KEY_FILE).read_bytes(), mode=0o600)
    if Vault(_store(ground), stolen).check() is None and _counts(ground):
        raise NOT_BROUGHT_BACK.error("cannot lock the stranger out: the key before still opens the secrets")
    return found("the key before opens nothing; the new one opens all", rpo=FINE)


SECRETS_LEAKED: dict[str, Phase] = {
    PREPARE: prepare,
    BREAK: leak,
    DETECT: what_they_open,
    CONTAIN: lock_out,
    RESTORE: change,
    VERIFY: old_opens_nothing,
    SMOKE: smoke_twin,
}


def _top(ground: Ground) -> Path:
    return ground.directory / "secrets"


def _store(ground: Ground) -> Store:
    return Store(open_engine(_top(ground) / "state.db"), ground.box.clock)


def _vault(ground: Ground) -> Vault:
    return Vault(_store(ground), _top(ground) / KEY_FILE)


def _victim(ground: Ground) -> Provisioned:
    rows = sorted(ground.apps().values(), key=lambda r: r.label)
    if not rows:
        raise NOTHING_TO_BREAK.error("cannot rehearse it: no app has a database in the cluster")
    return rows[0]


def _verifier(connection: Connection, row: Provisioned, login: str) -> str | None:
    query = sql.SQL("SELECT rolpassword FROM pg_authid WHERE rolname = {}").format(
        sql.Literal(row.login_role(login))
    )
    found_ = connection.execute(query).fetchone()
    return found_[0] if found_ is not None else None


def _given(ground: Ground) -> dict[tuple[str, str], list[str]]:
    """Names of secrets that people gave, by app and environment."""
    s = schema.secrets.c
    query = sa.select(s.app, s.environment, s.name).where(s.token.is_not(None)).distinct()
    found_: dict[tuple[str, str], list[str]] = {}
    rows = ground.box.state.databases()
    ours = {(r.app, r.environment, variable_of(Database(name=r.name))) for r in rows}
    with _store(ground).read() as c:
        for app, environment, name in c.execute(query.order_by(s.app, s.environment, s.name)):
            if not app.startswith("(") and (app, environment, name) not in ours:
                found_.setdefault((app, environment), []).append(name)
    return found_


def _counts(ground: Ground) -> dict[tuple[str, str], int]:
    s = schema.secrets.c
    query = sa.select(s.app, s.environment, s.name).where(s.token.is_not(None)).distinct()
    counts: dict[tuple[str, str], int] = {}
    with _store(ground).read() as c:
        for app, environment, _ in c.execute(query):
            counts[app, environment] = counts.get((app, environment), 0) + 1
    return counts
