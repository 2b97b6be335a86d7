"""Operations on backups."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from homeport.api import problems, wire
from homeport.api import wire_backups as wired
from homeport.api.parameters import BROKEN, REFUSED, Actor, Key
from homeport.api.services import Services
from homeport.backup.locks.model import COMPLIANCE, GOVERNANCE, Known, Lock
from homeport.backup.model import Run, Step
from homeport.backup.repositories import Place, Recorded
from homeport.backup.service import id_of
from homeport.kernel.errors import Kind

RunPath = Annotated[wired.RunId, PathParameter(examples=["b-1f2e3d4c5b"])]
READ = problems.responses(Kind.NOT_FOUND, *BROKEN)
ADDED = problems.responses(
    Kind.NOT_FOUND, Kind.CONFLICT, Kind.INVALID, Kind.MISSING_PART, Kind.NO_SPACE, *BROKEN
)


def router(s: Services) -> APIRouter:
    found = APIRouter()
    for part in (_repositories(s), _runs(s)):
        found.include_router(part)
    return found


def _repositories(s: Services) -> APIRouter:
    router = APIRouter()
    backups = s.backups.backups

    @router.get("/backups/repositories", responses=READ, summary="Where backups go")
    def get_repositories() -> list[wired.RepositoryOut]:
        return [_repository(s, r) for r in backups.repositories.list()]

    @router.post("/backups/repositories", responses=ADDED, summary="Have one more place for backups")
    def post_repository(asked: wired.RepositoryRequest, actor: Actor = "api") -> wired.RepositoryOut:
        keys = {k: v for k, v in (("key", asked.key), ("secret_key", asked.secret_key)) if v}
        place = Place(**asked.place.model_dump())
        lock = _lock(asked.lock) if asked.lock and asked.lock.days else None
        added = backups.add_repository(asked.name, place, keys, asked.passphrase, lock=lock, actor=actor)
        s.backups.rounds.look_soon()
        return _repository(s, added)

    @router.delete(
        "/backups/repositories/{name}", responses=ADDED, summary="Back up there no more; what it holds stays"
    )
    def delete_repository(name: wire.Name, actor: Actor = "api") -> wired.RepositoryOut:
        return _repository(s, backups.remove_repository(name, actor=actor))

    @router.put(
        "/backups/repositories/{name}/lock",
        responses=ADDED,
        summary="Have the store keep what it holds and gets, whoever deletes it",
    )
    def put_lock(name: wire.Name, asked: wired.LockRequest, actor: Actor = "api") -> wired.RepositoryOut:
        if asked.days:
            backups.locking.lock(name, _lock(asked), actor=actor)
        else:
            backups.locking.forget(name, actor=actor)
        return _repository(s, backups.repositories.get(name))

    @router.post(
        "/backups/repositories/{name}/undelete",
        responses=ADDED,
        summary="Bring back what was deleted or overwritten in a store that keeps versions",
    )
    def post_undelete(
        name: wire.Name, asked: wired.UndeleteRequest, actor: Actor = "api"
    ) -> wired.UndeletedOut:
        return wired.UndeletedOut(
            **asdict(backups.locking.undelete(name, asked.since, plan=asked.plan, actor=actor))
        )

    @router.post(
        "/backups/resume",
        responses=ADDED,
        summary="The machine that this one was recovered from is gone: back up where it did",
    )
    def post_resume(actor: Actor = "api") -> list[wired.RepositoryOut]:
        backups.resume(actor=actor)
        s.backups.rounds.look_soon()
        return [_repository(s, r) for r in backups.repositories.list()]

    @router.put(
        "/backups/passphrase",
        status_code=204,
        responses=ADDED,
        summary="Another passphrase for all repositories",
    )
    def put_passphrase(asked: wired.PassphraseRequest, actor: Actor = "api") -> None:
        backups.set_passphrase(asked.passphrase, actor=actor)

    return router


def _runs(s: Services) -> APIRouter:
    router = APIRouter()
    backups = s.backups.backups

    @router.get("/backups", responses=REFUSED, summary="All backups in all repositories, with their proofs")
    def get_backups() -> wired.BackupsOut:
        found = backups.listed()
        return wired.BackupsOut(
            clusters=[
                wired.ClusterBackupOut(**{**b, "proof": _proof(b["proof"])}) for b in found["clusters"]
            ],
            files=[wired.FilesBackupOut(**{**b, "proof": _proof(b["proof"])}) for b in found["files"]],
            problems=[wired.ProblemOut(**p) for p in found["problems"]],
        )

    @router.get("/backups/status", responses=READ, summary="Whether everything could be brought back")
    def get_status(
        now: Annotated[bool, Query(description="look now, not at what was seen last")] = False,
    ) -> wired.StatusOut:
        if now:
            s.backups.rounds.look()
            backups.locking.look()
        found = s.backups.status()
        return wired.StatusOut(
            ok=not found.problems,
            repositories=[_repository(s, r) for r in found.repositories],
            last=run_out(found.last) if found.last else None,
            running=[run_out(r) for r in found.running],
            proven_at=found.proven_at,
            looks=[
                wired.LookOut(
                    cluster=k.cluster,
                    at=k.at,
                    lost=k.lost,
                    rpo=found.rpo[k.cluster],
                    backed_up=k.cluster in found.backed_up,
                )
                for k in found.looks
            ],
            files=[wired.FilesLookOut(series=name, at=at) for name, at in found.files.items()],
            findings=[
                wired.FindingOut(cluster=k.cluster, code=f["code"], sentence=f["sentence"], hint=f["hint"])
                for k in found.looks
                for f in k.findings
            ],
            recoverable=found.recoverable,
            problems=list(found.problems),
            warnings=list(found.warnings),
        )

    @router.get("/backups/history", responses=READ, summary="RPO, RTO and the age of proofs, day by day")
    def get_history(
        days: Annotated[int, Query(ge=1, le=400)] = 30,
    ) -> list[wired.HistoryOut]:
        return [
            wired.HistoryOut(cluster=name, days=[wired.DayOut(**asdict(d)) for d in found])
            for name, found in s.backups.history(days).items()
        ]

    @router.post("/backups", responses=REFUSED, summary="Back up everything, and prove it")
    def post_backup(asked: wired.BackupRequest, actor: Actor = "api", key: Key = None) -> wired.RunOut:
        run = backups.back_up(full=asked.full, prove=asked.prove, actor=actor, id=id_of(key) if key else None)
        return run_out(run)

    @router.post("/backups/proofs", responses=REFUSED, summary="Prove the newest backup of everything")
    def post_proof(asked: wired.ProveRequest, actor: Actor = "api", key: Key = None) -> wired.RunOut:
        return run_out(backups.prove(asked.repository, actor=actor, id=id_of(key) if key else None))

    @router.get("/backups/runs", responses=READ, summary="Runs, the newest first")
    def get_runs(
        kind: Annotated[list[wired.RunKind] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 20,
    ) -> list[wired.RunOut]:
        return [run_out(r) for r in backups.runs.list(kinds=kind or (), limit=limit)]

    @router.get("/backups/runs/{run}", responses=READ, summary="One run, with its steps")
    def get_run(run: RunPath) -> wired.RunOut:
        return run_out(backups.runs.get(run))

    @router.post("/backups/runs/{run}/cancel", responses=REFUSED, summary="End a run")
    def cancel_run(run: RunPath, actor: Actor = "api") -> wired.RunOut:
        return run_out(backups.cancel(run, actor=actor))

    return router


def _lock(asked: wired.LockRequest) -> Lock:
    return Lock(COMPLIANCE if asked.compliance else GOVERNANCE, asked.days)


def _lock_out(known: Known | None) -> wired.LockOut | None:
    if known is None:
        return None
    return wired.LockOut.model_validate(
        {
            "asked_days": known.asked.days,
            "asked_mode": known.asked.mode,
            "days": known.seen.days if known.seen else 0,
            "mode": known.seen.mode if known.seen else "",
            "seen_at": known.seen_at,
            "extended_at": known.renewed_at,
            "problem": known.problem,
        }
    )


def _repository(s: Services, r: Recorded) -> wired.RepositoryOut:
    return wired.RepositoryOut(
        name=r.name,
        place=str(r.place),
        kind="directory" if r.place.path else "s3",
        shares_disk=s.backups.shares_disk(r),
        lock=_lock_out(s.backups.backups.locks.get(r.name)),
    )


def _proof(document: dict[str, object] | None) -> wired.ProofOut | None:
    if document is None:
        return None
    return wired.ProofOut.model_validate(
        {
            "at": document["at"],
            "seconds": document["seconds"],
            "failures": document["failures"],
            "passed": not document["failures"] and not document.get("undecided"),
        }
    )


def run_out(run: Run) -> wired.RunOut:
    return wired.RunOut.model_validate(
        {
            "id": run.id,
            "kind": run.kind,
            "subject": run.subject,
            "state": run.state,
            "reason": run.reason,
            "actor": run.actor,
            "cancel": run.cancel,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "request": run.request,
            "steps": [_step(s) for s in run.steps],
        }
    )


def _step(step: Step) -> dict[str, object]:
    return {
        "name": step.name,
        "state": step.state,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "seconds": step.seconds,
        "progress": dict(step.progress),
        "result": step.result,
        "error": step.error,
    }
