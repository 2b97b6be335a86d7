"""Sources of apps: fetched when a webhook or the clock says so, and handed to the pipeline.

What is fetched is always a branch of the repository that was *configured*; a webhook's payload names a branch and
a commit and nothing else is read from it. Of the watched branch a commit runs once, and only

- when the branch holds it now, or it lies in its history, and
- when it is not older than the one that a run was last started for, unless the branch itself was set back to it.

What a webhook asked for is in the source's row before the sender gets its answer, and leaves it when the run is
there: a ``kill -9`` in between neither loses nor doubles it.
"""

import base64
import hmac
import logging
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from homeport.guard import sources as values
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName
from homeport.rollout.parts import Parts
from homeport.rollout.sources import events, model, polling, state, webhooks
from homeport.rollout.sources.fetching import CREDENTIAL, SECRETS, Fetching
from homeport.rollout.sources.model import (
    BAD_URL,
    NO_SOURCE,
    UNREACHABLE,
    Ignored,
    PullRequest,
    Push,
    Refused,
    Source,
    Verdict,
    Work,
)
from homeport.rollout.sources.port import Branches, Runs
from homeport.rollout.sources.reach import blocked
from homeport.rollout.sources.repository import Repository

log = logging.getLogger(__name__)

WEBHOOK = "WEBHOOK"
HOOKS = "/.homeport/hooks/"
TICK = 1.0
SIDE_BY_SIDE = 4
"""Repositories that are fetched from at the same time."""
_DUMMY = "whsec_" + base64.b64encode(bytes(32)).decode()


def _token(source: str) -> str:
    try:
        return values.read(source)
    except HomeportError as e:
        raise model.BAD_TOKEN.error(e.sentence, hint=e.hint, details=e.details) from None


def _check_place(url: str) -> None:
    """Whether something is at an address that is a path. Raises ``sources.bad_url``."""
    if not url.startswith("/"):
        return
    try:
        Path(url).stat()
    except OSError as e:
        raise BAD_URL.error(
            f"cannot fetch from {url}: {(e.strerror or str(e)).lower()}",
            hint="a path is read on the machine, and as the user, that Homeport runs on; it holds the repository",
        ) from e


class Sources:
    """Every call may come from any thread, but :meth:`tick` from one alone."""

    def __init__(
        self,
        parts: Parts,
        runs: Runs,
        branches: Branches,
        *,
        hook: tuple[str, ...],
        edge_user: str = "",
    ) -> None:
        """``hook``: what a push to an app's repository runs, with the app's name as its last argument.

        ``edge_user``: what the edge's workers run as; "" is who runs this.
        """
        self._edge_user = edge_user
        self._parts = parts
        self._fetching = Fetching(parts, runs, branches)
        self._hook = hook
        self._store = parts.state.store
        self._busy: set[AppName] = set()
        self._making = threading.Lock()
        self._known: tuple[int, dict[str, str]] = (-1, {})
        self._wake = threading.Event()
        self._closing = False
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, "source")
        self._thread = threading.Thread(target=self._loop, name="sources", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """What waits is done by the next control plane."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # What people ask for

    def get(self, app: AppName) -> Source:
        """Raises ``sources.no_source``."""
        found = state.source(self._store, app)
        if found is None:
            raise NO_SOURCE.error(
                f"cannot find a source of {app}", hint="homeport source set URL names its repository"
            )
        return found

    def set(
        self,
        app: AppName,
        *,
        url: str,
        branch: str,
        directory: str,
        poll: float | None,
        token_from: str | None,
        actor: str,
    ) -> Source:
        """Say where an app's commits come from. ``token_from``: where to read what the repository asks for.

        None keeps the token that there is, unless the address changes; "" forgets it. Raises ``sources.bad_url``,
        ``sources.bad_branch``, ``sources.bad_directory`` and ``sources.bad_token``.
        """
        model.check_app(app)
        model.check_url(url)
        model.check_branch(branch)
        directory = model.check_directory(directory)
        token = _token(token_from) if token_from else None
        _check_place(url)
        with self._store.transaction(actor) as tx:
            state.ensure_app(tx, app)
            before = state.in_transaction(tx, app) or Source(app, None)
            same = before.url == url
            if token is not None:
                self._parts.vault.set(tx, app, SECRETS, CREDENTIAL, token)
            keeps = before.credential and same and token_from is None
            if before.credential and token is None and not keeps:
                self._parts.vault.remove(tx, app, SECRETS, CREDENTIAL)
            now = Source(
                app,
                url,
                branch,
                directory,
                poll,
                before.webhook,
                token is not None or keeps,
                before.seen if same and before.branch == branch else None,
                pending=before.pending if same else (),
            )
            state.put(tx, now)
            tx.append(events.SourceChanged(app=app, url=url, branch=branch, poll=poll, removed=False))
        self._wake.set()
        return now

    def remove(self, app: AppName, actor: str) -> None:
        """Fetch an app from nowhere any more. Pushes go on. Raises ``sources.no_source``."""
        self.get(app)
        with self._store.transaction(actor) as tx:
            found = state.in_transaction(tx, app)
            if found is None:
                return
            for name, is_there in ((WEBHOOK, found.webhook), (CREDENTIAL, found.credential)):
                if is_there:
                    self._parts.vault.remove(tx, app, SECRETS, name)
            state.delete(tx, app)
            tx.append(
                events.SourceChanged(
                    app=app, url=found.url, branch=found.branch, poll=found.poll, removed=True
                )
            )
        self._parts.publish()

    def new_webhook(self, app: AppName, actor: str) -> tuple[str, str]:
        """Open the way in for a webhook: (path, secret). An earlier secret holds no more.

        Raises ``sources.no_source``, and ``sources.unreachable`` when the edge could not bring anything here.
        """
        found = self.get(app)
        closed = blocked(self._parts.data_dir, self._edge_user)
        if closed is not None:
            raise UNREACHABLE.error(
                f"cannot take webhooks: the edge runs as {self._edge_user}, which may not enter {closed}",
                hint=f"chmod o+x {closed}, or keep Homeport's data directory elsewhere",
            )
        secret = webhooks.PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        with self._store.transaction(actor) as tx:
            self._parts.vault.set(tx, app, SECRETS, WEBHOOK, secret)
            found = state.in_transaction(tx, app) or found
            state.put(tx, replace(found, webhook=True))
            tx.append(events.WebhookChanged(app=app, removed=False))
        self._parts.publish()
        return f"{HOOKS}{app}", secret

    def repository(self, app: AppName, directory: str | None = None) -> tuple[Path, bool]:
        """The repository that takes an app's pushes, made when it is missing: (path, whether it is new).

        ``directory``: where the app is within it, from now on. Raises ``sources.bad_directory``.
        """
        model.check_app(app)
        checked = model.check_directory(directory) if directory is not None else None
        repository = self._repository(app)
        with self._making:
            is_new = repository.ensure((*self._hook, app))
            if checked is not None and checked != repository.directory():
                repository.set_directory(checked)
        return repository.path, is_new

    def forget_app(self, app: AppName) -> None:
        """Remove the repository of an app that was taken away."""
        with self._making:
            self._repository(app).remove()

    # Webhooks

    def receive(self, app: str, headers: Mapping[str, str], body: bytes) -> Verdict:
        """Take what a webhook sent. An app without a webhook, or none at all, answers as a wrong signature does."""
        secret = self._secrets().get(app, _DUMMY)
        now = self._parts.clock.now()
        name = AppName(app)
        said = webhooks.verify(headers, body, secret, now, lambda id: state.is_known(self._store, name, id))
        if hmac.compare_digest(secret, _DUMMY):
            return Refused(401, "the signature is missing or wrong")
        if isinstance(said, Ignored | Refused):
            return said
        return self._take(name, said)

    def _take(self, app: AppName, said: Push | PullRequest) -> Verdict:
        with self._store.transaction(said.actor) as tx:
            source = state.in_transaction(tx, app)
            if source is None:
                return Refused(401, "the signature is missing or wrong")
            if isinstance(said, Push) and said.branch != source.branch:
                return Ignored(f"pushes to {source.branch} are watched")
            kind = model.PUSHED
            if isinstance(said, PullRequest):
                kind = model.GONE if said.closed else model.BRANCH
            if len(source.pending) >= model.MOST_PENDING:
                return Refused(503, "too much waits to be fetched")
            if not state.remember(tx, app, said.ids, tx.now - webhooks.REMEMBERED):
                return Refused(409, "it was delivered before")
            work = Work(kind, said.branch, said.commit, said.actor, key=secrets.token_hex(8))
            # What a pull request's branch showed before is of no use any more.
            kept = [w for w in source.pending if kind == model.PUSHED or w.kind == model.PUSHED]
            kept += [w for w in source.pending if w not in kept and w.branch != said.branch]
            state.put(tx, replace(source, pending=(*kept, work)))
            tx.append(events.WebhookReceived(app=app, what=kind, branch=said.branch, commit=said.commit))
        self._wake.set()
        return said

    def _secrets(self) -> dict[str, str]:
        """Of all webhooks: found in the same time whether an app has one or not."""
        version = self._store.version
        if self._known[0] != version:
            found = {}
            for source in state.sources(self._store):
                if source.webhook:
                    found[str(source.app)] = self._parts.vault.reveal(source.app, SECRETS, WEBHOOK)
            self._known = (version, found)
        return self._known[1]

    # Looking

    def _loop(self) -> None:
        while not self._closing:
            try:
                self.tick()
            except HomeportError as e:
                log.error("sources: %s", e.sentence)
            except Exception:
                log.exception("sources")
            self._wake.wait(TICK)
            self._wake.clear()

    def tick(self) -> None:
        """Begin to look at what is due."""
        now = self._parts.clock.now()
        for source in state.sources(self._store):
            if source.app not in self._busy and polling.is_due(source, now):
                self._busy.add(source.app)
                self._pool.submit(self._look_and_wake, source.app)

    def _look_and_wake(self, app: AppName) -> None:
        try:
            if not self._closing:
                self.look(app)
        except HomeportError as e:
            log.error("source of %s: %s", app, e.sentence)
        except Exception:
            log.exception("source of %s", app)
        finally:
            self._busy.discard(app)
            self._wake.set()

    def look(self, app: AppName) -> None:
        """Do the first of what waits, or else see whether a watched branch moved. One at a time for an app."""
        source = state.source(self._store, app)
        if source is not None and source.url is not None:
            if not self._repository(app).path.exists():
                self.repository(app)
            self._fetching.look(source, source.url)

    def _repository(self, app: AppName) -> Repository:
        return Repository(self._parts.data_dir, app, self._parts.build_environment)
