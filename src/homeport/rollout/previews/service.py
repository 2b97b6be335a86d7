"""Previews as people ask for them: made, brought up to date, listed, taken away."""

import contextlib
import logging
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from homeport.journal.store import Transaction, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName
from homeport.kernel.text import did_you_mean
from homeport.rollout import admission, archive, desired, state
from homeport.rollout import events as rollout_events
from homeport.rollout.errors import NO_ARCHIVE, WRONG_APP
from homeport.rollout.model import Change, ChangeKind, Commit
from homeport.rollout.parts import Parts
from homeport.rollout.previews import events, plan
from homeport.rollout.previews import state as table
from homeport.rollout.previews.errors import (
    BAD_BRANCH,
    BAD_NAME,
    BAD_TTL,
    BUSY,
    NAME_TAKEN,
    NOT_WANTED,
    TOO_MANY,
    UNKNOWN,
)
from homeport.rollout.previews.model import Preview, environment_of
from homeport.rollout.removal import Removal, Removed
from homeport.rollout.rollouts import MAX_ARCHIVE, Rollouts
from homeport.spec.model import Previews as Settings
from homeport.spec.model import Spec

log = logging.getLogger(__name__)

WAIT = 60.0
"""Seconds that a call waits for another one on the same preview."""
MAX_BRANCH = 244
"""As git has it, about."""
HOW = 'write [previews] domain = "preview.example.com" to homeport.toml (the hosts are NAME.APP.DOMAIN), commit it'


class Previews:
    """Every call may be made from any thread. Two calls on one app's previews wait for each other."""

    def __init__(self, parts: Parts, rollouts: Rollouts, removal: Removal) -> None:
        self._parts = parts
        self._rollouts = rollouts
        self._removal = removal
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="preview")
        self._locks: dict[AppName, threading.Lock] = {}
        self._guard = threading.Lock()
        self._ending: set[tuple[AppName, EnvironmentName]] = set()

    # Asked for

    def create(
        self,
        app: AppName,
        *,
        archive_digest: str,
        commit: Commit,
        branch: str,
        name: str | None = None,
        ttl: float | None = None,
        actor: str,
        id: ChangeId | None = None,
    ) -> tuple[Preview, Change]:
        """Deploy what an uploaded archive holds to the branch's preview, which is made when there is none.

        Its time to live (``ttl`` seconds, else as the app says) begins anew. A deploy of it that runs is
        taken over, unless it is of the same archive: then that one is the answer. Without a ``name`` it is
        found by its branch. Raises ``previews.*``, and what a deploy raises; then there is no new preview.
        """
        _require_branch(branch)
        whole, settings, inherited = self._read(app, archive_digest)
        seconds = settings.ttl if ttl is None else ttl
        if (problem := plan.ttl_problem(seconds)) is not None:
            raise BAD_TTL.error(f"cannot have a preview live {seconds:g} seconds: {problem}")
        with self._alone(app):
            before = self._of_branch(app, branch, name)
            if before is None:
                name = self._new_name(app, branch, name)
                self._require_room(app, name, settings)
            key = before.environment if before else environment_of(name or "")
            running = self._running(app, key, archive_digest) if before else None
            preview = self._record(app, key, name or "", branch, commit, seconds, whole, inherited, actor)
            if running is not None:
                return preview, running
            try:
                change = self._rollouts.deploy(
                    app,
                    key,
                    archive_digest=archive_digest,
                    commit=commit,
                    replace_running=before is not None,
                    actor=actor,
                    id=id,
                )
            except BaseException:
                if before is None:
                    self._removal.remove(app, key, with_storage=True, actor=actor)
                raise
            return preview, change

    def made_by(
        self, key: str, app: AppName, branch: str, name: str | None, archive_digest: str
    ) -> tuple[Preview, Change] | None:
        """What an earlier call with this idempotency key made, or None."""
        if (preview := self._of_branch(app, branch, name)) is None:
            return None
        change = self._rollouts.made_by(
            key, ChangeKind.DEPLOY, app, preview.environment, lambda c: c.archive == archive_digest
        )
        return (preview, change) if change is not None else None

    def remove(self, app: AppName, name: str, *, actor: str, reason: str = "asked") -> Removed:
        """Take a preview away with all that it has, its storage too. Raises ``previews.unknown``."""
        with self._alone(app):
            return self._remove(self.get(app, name), actor, reason)

    def _remove(self, preview: Preview, actor: str, reason: str) -> Removed:
        app, environment = preview.key
        with self._parts.state.store.transaction(actor) as tx:
            # Cut off from here on, the keeper goes on with it.
            table.update(tx, app, environment, expires_at=min(preview.expires_at, tx.now))
        removed = self._removal.remove(app, environment, with_storage=True, actor=actor)
        with self._parts.state.store.transaction(actor) as tx:
            tx.append(
                events.PreviewRemoved(app=app, environment=environment, branch=preview.branch, reason=reason)
            )
        return removed

    def remove_branch(self, app: AppName, branch: str, *, actor: str, reason: str) -> tuple[Removed, ...]:
        """Take every preview of a branch away; () when there is none."""
        return tuple(
            self.remove(app, p.name, actor=actor, reason=reason)
            for p in table.read(self._parts.state.store, app)
            if p.branch == branch
        )

    def extend(self, app: AppName, name: str, ttl: float, *, actor: str) -> Preview:
        """Have a preview live ``ttl`` seconds from now on. Raises ``previews.unknown``, ``previews.bad_ttl``."""
        preview = self.get(app, name)
        if (problem := plan.ttl_problem(ttl)) is not None:
            raise BAD_TTL.error(f"cannot have {name} live {ttl:g} seconds more: {problem}")
        with self._parts.state.store.transaction(actor) as tx:
            if preview.expires_at <= tx.now:
                raise BUSY.error(f"cannot extend {name}: its time is over, it is being removed")
            until = tx.now + timedelta(seconds=ttl)
            if table.update(tx, app, preview.environment, expires_at=until):
                tx.append(
                    events.PreviewExtended(
                        app=app, environment=preview.environment, expires_at=text_time(until)
                    )
                )
        return self.get(app, name)

    def of_app(self, app: AppName) -> tuple[Preview, ...]:
        """By name. Raises ``rollout.unknown_app``."""
        self._parts.state.require_app(app)
        return table.read(self._parts.state.store, app)

    def get(self, app: AppName, name: str) -> Preview:
        """Raises ``previews.unknown``."""
        found = table.read(self._parts.state.store, app)
        for preview in found:
            if preview.name == name:
                return preview
        hint = did_you_mean(name, [p.name for p in found]) if found else "homeport preview create BRANCH"
        raise UNKNOWN.error(f"cannot find preview {name!r} of {app}", hint=hint)

    # By the clock

    def expire(self) -> None:
        """Have removed whose time is over; does not wait. One that a change moves waits for its end."""
        parts = self._parts
        over = plan.expired(table.read(parts.state.store), parts.clock.now())
        for preview in over:
            key = preview.key
            if key in self._ending or parts.state.running(*key):
                continue
            self._ending.add(key)
            self._pool.submit(self._end, preview)

    def _end(self, preview: Preview) -> None:
        try:
            with self._alone(preview.app):
                # It may have been brought up to date, or removed, since.
                now = table.find(self._parts.state.store, *preview.key)
                if now is not None and plan.expired((now,), self._parts.clock.now()):
                    self._remove(now, "homeport", "its time was over")
        except HomeportError as e:
            log.warning("removing %s of %s: %s", preview.environment, preview.app, e.sentence)
        except Exception:
            log.exception("removing %s of %s", preview.environment, preview.app)
        finally:
            self._ending.discard(preview.key)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Within

    @contextlib.contextmanager
    def _alone(self, app: AppName) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(app, threading.Lock())
        if not lock.acquire(timeout=WAIT):
            raise BUSY.error(
                f"cannot go on: another call on the previews of {app} takes its time", hint="try again"
            )
        try:
            yield
        finally:
            lock.release()

    def _read(self, app: AppName, archive_digest: str) -> tuple[Spec, Settings, EnvironmentName | None]:
        """The archive's spec, what it says of previews, and what the environment "preview" inherits from."""
        source = self._parts.archive(archive_digest)
        if not source.is_file():
            raise NO_ARCHIVE.error(f"cannot find archive {archive_digest[:12]}", hint="upload it again")
        text, _ = archive.inspect(source, limit=MAX_ARCHIVE)
        whole = desired.spec_of(text)
        if whole.app != app:
            raise WRONG_APP.error(f"cannot deploy {app}: its homeport.toml names the app {whole.app!r}")
        if whole.previews is None:
            raise NOT_WANTED.error(
                f"cannot make a preview: the homeport.toml of {app} has no [previews]", hint=HOW
            )
        return whole, whole.previews, inherited(text)

    def _of_branch(self, app: AppName, branch: str, name: str | None) -> Preview | None:
        """The branch's preview; with a name, the one of that name. Raises ``previews.name_taken``."""
        found = [p for p in table.read(self._parts.state.store, app) if name in (None, p.name)]
        mine = [p for p in found if p.branch == branch]
        if name is not None and found and not mine:
            raise NAME_TAKEN.error(
                f"cannot make preview {name}: branch {found[0].branch!r} has it", hint="choose another --name"
            )
        return plan.oldest(mine) if mine else None

    def _new_name(self, app: AppName, branch: str, name: str | None) -> str:
        if name is None:
            taken = self._taken(app)
            name = plan.name_of(branch, taken)
            if name in taken:
                raise NAME_TAKEN.error(
                    f"cannot name the preview {name}: that is taken", hint="give it a --name"
                )
            return name
        if (problem := plan.name_problem(name)) is not None:
            raise BAD_NAME.error(f"cannot name a preview {name!r}: {problem}")
        if admission.environment_or_none(self._parts, app, environment_of(name)) is not None:
            raise NAME_TAKEN.error(
                f"cannot make preview {name}: {app} has an environment {environment_of(name)} already",
                hint="choose another --name",
            )
        return name

    def _taken(self, app: AppName) -> dict[str, str]:
        """Names in use with their branches; an environment that is no preview has the branch ""."""
        prefix = environment_of("")
        taken = {
            e.name.removeprefix(prefix): ""
            for e in self._parts.state.environments(app)
            if e.name.startswith(prefix)
        }
        return taken | {p.name: p.branch for p in table.read(self._parts.state.store, app)}

    def _require_room(self, app: AppName, name: str, settings: Settings) -> None:
        there = table.read(self._parts.state.store, app)
        if len(there) < settings.most:
            return
        hint = "write most = … under [previews] in homeport.toml"
        if there:
            first = plan.oldest(there)
            hint = (
                f"the oldest is {first.name} of branch {first.branch}, made {text_time(first.created_at)[:10]}: "
                f"homeport preview remove {first.name}; or {hint}"
            )
        raise TOO_MANY.error(
            f"cannot make preview {name}: {app} has {len(there)}, and may have {settings.most}", hint=hint
        )

    def _running(self, app: AppName, environment: EnvironmentName, archive_digest: str) -> Change | None:
        """A deploy of the same archive that is under way and may yet go well."""
        running = self._parts.state.running(app, environment)
        return next(
            (
                c
                for c in running
                if c.kind is ChangeKind.DEPLOY
                and c.archive == archive_digest
                and not c.cancelled
                and c.failure is None
            ),
            None,
        )

    def _record(
        self,
        app: AppName,
        environment: EnvironmentName,
        name: str,
        branch: str,
        commit: Commit,
        ttl: float,
        whole: Spec,
        inherited: EnvironmentName | None,
        actor: str,
    ) -> Preview:
        """Write the preview down as it is to be from now on, with the configuration that it is given."""
        outside = {v.name for v in whole.for_environment(environment).variables if v.source}
        with self._parts.state.store.transaction(actor) as tx:
            expires_at = tx.now + timedelta(seconds=ttl)
            state.ensure_environment(tx, app, environment)
            is_known = table.update(
                tx, app, environment, commit=commit.id, expires_at=expires_at, used_at=tx.now
            )
            if not is_known:
                preview = Preview(
                    app, environment, name, branch, commit.id, actor, tx.now, expires_at, tx.now, False
                )
                table.insert(tx, preview)
            copied = self._copy(tx, app, environment, inherited, outside)
            told = {
                "app": app,
                "environment": environment,
                "branch": branch,
                "commit": commit.id,
                "expires_at": text_time(expires_at),
            }
            event = events.PreviewUpdated if is_known else events.PreviewCreated
            tx.append(event(**told, variables=copied[0], secrets=copied[1], copied_from=copied[2]))
        found = table.find(self._parts.state.store, app, environment)
        assert found is not None
        return found

    def _copy(
        self,
        tx: Transaction,
        app: AppName,
        environment: EnvironmentName,
        inherited: EnvironmentName | None,
        outside: set[str],
    ) -> tuple[list[str], list[str], str]:
        """Give a preview what is set for the environment "preview", and for what that one inherits from.

        What it has already stays, also when it was changed there since; what is read from outside is not
        copied, as each deploy reads it anew. Returns the names of variables and secrets, and where they
        are from.
        """
        parts = self._parts
        there = {e.name: e for e in parts.state.environments(app)}
        variables = dict(there[environment].variables) if environment in there else {}
        has = set(variables) | set(parts.vault.versions(app, environment)) | outside
        plain: list[str] = []
        sealed: list[str] = []
        origins = []
        for name in (EnvironmentName("preview"), inherited):
            source = there.get(name) if name is not None else None
            if source is None:
                continue
            new = {k: v for k, v in source.variables if k not in has}
            versions = {
                s.name: s.version
                for s in parts.vault.list(app, source.name)
                if not s.source and s.name not in has
            }
            for secret, value in parts.vault.values(app, source.name, versions).items():
                version = parts.vault.set(tx, app, environment, secret, value)
                tx.append(
                    rollout_events.SecretChanged(
                        app=app, environment=environment, name=secret, version=version, removed=False
                    )
                )
            variables |= new
            has |= {*new, *versions}
            plain += sorted(new)
            sealed += sorted(versions)
            origins += [source.name] if new or versions else []
        if plain:
            state.update_environment(tx, app, environment, variables=variables)
        return plain, sealed, ", ".join(origins)


def _require_branch(branch: str) -> None:
    if not branch or len(branch) > MAX_BRANCH or not branch.isprintable():
        raise BAD_BRANCH.error(
            f"cannot use {branch[:50]!r} as a branch",
            hint=f"1 to {MAX_BRANCH} characters, no control characters",
        )


def inherited(text: str) -> EnvironmentName | None:
    """What a homeport.toml, which must be valid, says that its environment "preview" inherits from."""
    environments = tomllib.loads(text).get("environments", {})
    found = environments.get("preview", {}).get("inherits")
    return EnvironmentName(found) if found is not None else None
