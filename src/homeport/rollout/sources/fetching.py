"""Fetching what is to run, and handing it to the pipeline or to previews; told of in :mod:`.service`."""

import hashlib
import logging
import secrets
from dataclasses import replace

from homeport.kernel.errors import HomeportError, Kind
from homeport.kernel.ids import AppName, RunId
from homeport.rollout.build import check_room
from homeport.rollout.model import Commit
from homeport.rollout.parts import Parts
from homeport.rollout.sources import events, model, state
from homeport.rollout.sources.model import Source, Work
from homeport.rollout.sources.port import Branches, Runs
from homeport.rollout.sources.repository import Repository

log = logging.getLogger(__name__)

SECRETS = "@source"
"""Where the vault keeps a source's secrets: no environment can have this name."""
CREDENTIAL = "CREDENTIAL"


class Fetching:
    """One call at a time for an app; different apps side by side."""

    def __init__(self, parts: Parts, runs: Runs, branches: Branches) -> None:
        self._parts = parts
        self._runs = runs
        self._branches = branches
        self._store = parts.state.store

    def look(self, source: Source, url: str) -> None:
        """Do the first of what waits, or else see whether a watched branch moved; what is wrong is recorded."""
        try:
            if source.pending:
                self._do(source, url, source.pending[0])
            elif source.poll is not None:
                self._watch(source, url)
        except HomeportError as e:
            if e.type.retry or e.kind in (Kind.NO_SPACE, Kind.MISSING_PART, Kind.UNAVAILABLE):
                self._failed(source, e)
            elif source.pending:
                self._drop(source, source.pending[0], e.sentence)
            else:
                self._failed(source, e)

    def _watch(self, source: Source, url: str) -> None:
        commit = self._repository(source.app).look(url, source.branch, self._credential(source))
        work = None
        if commit != source.seen:
            work = Work(
                model.PUSHED, source.branch, commit, "homeport", cause="poll", key=secrets.token_hex(8)
            )
        self._well(source, add=work)

    def _do(self, source: Source, url: str, work: Work) -> None:
        app = source.app
        repository = self._repository(app)
        if work.kind == model.GONE:
            repository.forget(work.branch)
            reason = "the pull request was closed"
            self._branches.remove_branch(app, work.branch, actor=work.actor, reason=reason)
            self._well(source, done=work)
            return
        head = repository.fetch(url, work.branch, self._credential(source))
        if not repository.is_ancestor(work.commit, head):
            self._drop(source, work, f"the commit is not on {work.branch} of {url}")
            return
        if work.kind == model.BRANCH:
            self._preview(repository, source, work)
            return
        if work.commit == source.seen:
            self._well(source, done=work)
            return
        if source.seen and work.commit != head and repository.is_ancestor(work.commit, source.seen):
            self._drop(source, work, f"the commit is older than {source.seen[:10]}, which ran")
            return
        self._run(repository, source, work)

    def _run(self, repository: Repository, source: Source, work: Work) -> None:
        id = RunId("p-" + hashlib.sha256(f"source {source.app} {work.key}".encode()).hexdigest()[:10])
        if not state.has_run(self._store, id):
            check_room(self._parts.data_dir, 0)
            told = repository.tell(work.commit)
            self._runs.begin(
                source.app,
                archive=repository.archive(work.commit, source.directory),
                commit=work.commit,
                subject=told.subject,
                author=told.author,
                committed_at=told.committed_at,
                branch=work.branch,
                cause=work.cause,
                actor=work.actor,
                id=id,
            )
        self._well(source, done=work, seen=work.commit)

    def _preview(self, repository: Repository, source: Source, work: Work) -> None:
        check_room(self._parts.data_dir, 0)
        told = repository.tell(work.commit)
        self._branches.create(
            source.app,
            archive_digest=repository.archive(work.commit, source.directory),
            commit=Commit(work.commit, told.subject, False, told.author, told.committed_at),
            branch=work.branch,
            actor=work.actor,
        )
        self._well(source, done=work)

    # What came of it; where another repository or branch was set meanwhile, it says nothing of that one.

    def _well(
        self, looked: Source, *, add: Work | None = None, done: Work | None = None, seen: str | None = None
    ) -> None:
        """Record a look that went well: what is to be done next, or was done."""
        with self._store.transaction((done or add or Work("", "", "", "homeport")).actor) as tx:
            source = state.in_transaction(tx, looked.app)
            if source is None:
                return
            app, is_other = source.app, _is_other(source, looked)
            if source.failures and not is_other:
                tx.append(events.SourceRecovered(app=app))
            if done is not None and (seen is not None or done.kind == model.BRANCH):
                tx.append(
                    events.CommitFound(app=app, branch=done.branch, commit=done.commit, cause=done.cause)
                )
            pending = tuple(w for w in source.pending if done is None or w.key != done.key)
            if is_other:
                state.put(tx, replace(source, pending=pending))
                return
            state.put(
                tx,
                replace(
                    source,
                    pending=(*pending, add) if add else pending,
                    seen=seen or source.seen,
                    looked_at=tx.now,
                    failures=0,
                    # Why a commit was not run stands until another one is.
                    problem=source.problem if done is None and not source.failures else None,
                ),
            )

    def _drop(self, looked: Source, work: Work, reason: str) -> None:
        """It will not be done, now or later. A commit of the watched branch that cannot run is not tried again."""
        with self._store.transaction(work.actor) as tx:
            source = state.in_transaction(tx, looked.app)
            if source is None or _is_other(source, looked):
                return
            tx.append(
                events.WorkDropped(
                    app=source.app, what=work.kind, branch=work.branch, commit=work.commit, reason=reason
                )
            )
            state.put(
                tx,
                replace(
                    source,
                    pending=tuple(w for w in source.pending if w.key != work.key),
                    seen=work.commit if work.cause == "poll" else source.seen,
                    looked_at=tx.now,
                    failures=0,
                    problem=reason,
                ),
            )

    def _failed(self, looked: Source, error: HomeportError) -> None:
        log.warning("source of %s: %s", looked.app, error.sentence)
        with self._store.transaction("homeport") as tx:
            source = state.in_transaction(tx, looked.app)
            if source is None or _is_other(source, looked):
                return
            if source.failures == 0:
                tx.append(events.SourceFailed(app=source.app, reason=error.sentence))
            state.put(
                tx,
                replace(source, looked_at=tx.now, failures=source.failures + 1, problem=error.sentence),
            )

    def _credential(self, source: Source) -> str:
        if not source.credential:
            return ""
        return self._parts.vault.reveal(source.app, SECRETS, CREDENTIAL)

    def _repository(self, app: AppName) -> Repository:
        return Repository(self._parts.data_dir, app, self._parts.build_environment)


def _is_other(source: Source, looked: Source) -> bool:
    return (source.url, source.branch) != (looked.url, looked.branch)
