"""What a child can be asked to do for backups, by name. A request and a result are JSON; no secret is in a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from homeport.backup import works_clone, works_drill, works_dumps, works_lock, works_prepare, works_restore
from homeport.backup.errors import NOTHING_TO_DO
from homeport.backup.files import carried
from homeport.backup.files import model as files_model
from homeport.backup.files.errors import WORKING
from homeport.backup.files.plan import Sources
from homeport.backup.files.sqlite_queries import Question as SqliteQuestion
from homeport.backup.physical.errors import BUSY
from homeport.backup.physical.model import Made, PhysicalBackup
from homeport.backup.physical.proof import Question
from homeport.backup.physical.service import PhysicalBackups
from homeport.backup.retention import Backup, Kind, Selection, select
from homeport.backup.telling import made_document, proof_document, telling, telling_files, told_of_each
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.spec.model_backup import Keep, ProofQuery

MADE_WITHIN = 300.0
"""Seconds to wait for a repository that is being made."""
Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]
Work = Callable[[Toolbox, Request, Say], Any]


def prepare(box: Toolbox, request: Request, say: Say) -> Any:
    """Have every repository, opened by the passphrase, and every cluster archived into them."""
    return {"made": list(works_prepare.prepare(box, request))}


def cluster(box: Toolbox, request: Request, say: Say) -> Any:
    """Back up a cluster into every repository."""
    name, synchronous = request["cluster"], request["synchronous"]
    try:
        physical = _ensured(box, name, synchronous=synchronous)
    except HomeportError:
        # Where but one repository is in the way, the others have theirs all the same.
        if not box.is_ensured(name, synchronous=synchronous):
            raise
        physical = box.physical(name, synchronous=synchronous)
    full, rate, tell = request["full"], request.get("rate"), telling(box.clock, say)

    def back_up(on_made: Callable[[Made], None]) -> object:
        return patiently(box.clock, lambda: physical.backup(full=full, rate=rate, told=tell, on_made=on_made))

    return told_of_each(back_up, _made)


def files(box: Toolbox, request: Request, say: Say) -> Any:
    """Back up a series of files into every repository."""
    sources = Sources(
        request["series"], tuple(request["trees"]), tuple(request["databases"]), tuple(request["sealed"])
    )
    rate, lane = request.get("rate"), request.get("lane", files_model.MAIN)
    tell = telling_files(box.clock, say)

    def all_made() -> None:
        # Beside it, in the state's lane, a run does not keep one from being added.
        if any(not r.ready for r in box.repositories.list()):
            raise WORKING.error(f"cannot back up {sources.series} now: a repository is being made")

    patiently(box.clock, all_made, say, patience=MADE_WITHIN)

    def back_up(on_made: Callable[[files_model.Made], None]) -> object:
        def once() -> object:
            with box.paced(rate, lane):
                return box.files(rate, lane).backup(sources, on_progress=tell, on_made=on_made)

        return patiently(box.clock, once)

    return told_of_each(back_up, made_document)


def prove(box: Toolbox, request: Request, say: Say) -> Any:
    """Prove a cluster's backup: the named one, or the newest."""
    questions = [Question(**q) for q in request["questions"]]
    physical = box.physical(request["cluster"])
    physical.prepare()
    proof = patiently(
        box.clock,
        lambda: physical.prove(
            request["repository"],
            request.get("label"),
            questions=questions,
            rate=request.get("rate"),
            told=telling(box.clock, say),
        ),
    )
    return proof.document()


def prove_files(box: Toolbox, request: Request, say: Say) -> Any:
    """Prove the newest backup of a series of files in a repository."""
    rate = request.get("rate")
    found = box.files(rate)
    repository, series, wanted = request["repository"], request["series"], request.get("snapshot") or ""
    snapshots, _ = found.restic(repository).snapshots()
    chosen = [s for s in snapshots if s.series == series and s.is_finished and s.id.startswith(wanted)]
    if not chosen:
        raise NOTHING_TO_DO.error(
            f"cannot prove files of {series} in {repository}: it has no such backup",
            hint="homeport backup list; homeport backup run makes one",
        )

    questions = [SqliteQuestion(q["path"], ProofQuery(**q["query"])) for q in request.get("questions", ())]

    def prove_one() -> dict[str, Any]:
        with box.paced(rate) as seen:
            proof = found.prove(repository, chosen[-1].id, questions)
        return proof_document(proof, rate, seen)

    return patiently(box.clock, prove_one)


def records(box: Toolbox, request: Request, say: Say) -> Any:
    """What is known of backups into every repository."""
    names = [r.name for r in box.repositories.list()]
    return {"records": patiently(box.clock, lambda: carried.keep(box.files(), names))}


def prune(box: Toolbox, request: Request, say: Say) -> Any:
    """Remove what need not be kept. What fails in one repository does not keep the others from it."""
    removed: dict[str, list[str]] = {}
    problems: list[HomeportError] = []
    window = timedelta(seconds=request["window"])
    keeps = {name: Keep(**values) for name, values in request["keep"].items()}
    others = Keep(**request["others"])
    for name in request["clusters"]:
        physical = box.physical(name)
        physical.prepare()
        for repository in (r.name for r in box.repositories.list()):
            try:
                chosen = selection(physical, repository, keeps.get(name, others), window, box)
                drop = [b.id for b, _ in chosen.drop]
                base = chosen.base.id if chosen.base else None
                patiently(box.clock, partial(physical.expire, repository, drop, base))
                removed[f"{name} in {repository}"] = drop
            except HomeportError as e:
                problems.append(e)
        try:
            physical.tidy_received()
        except HomeportError as e:
            problems.append(e)
    for repository in (r.name for r in box.repositories.list()):
        try:
            pruned = patiently(box.clock, partial(box.files().prune, repository, keeps, others))
            for series, chosen in pruned.items():
                removed[f"{series} in {repository}"] = [b.id for b, _ in chosen.drop]
        except HomeportError as e:
            problems.append(e)
    if problems:
        first = problems[0]
        raise first.type.error(first.sentence, hint=first.hint, details=[e.sentence for e in problems[1:]])
    return {"removed": {k: v for k, v in removed.items() if v}}


def look(box: Toolbox, request: Request, say: Say) -> Any:
    """What endangers each cluster's recovery just now, and how much would be lost with the machine."""
    found: dict[str, Any] = {}
    window = timedelta(seconds=request["window"])
    for name, synchronous in request["clusters"].items():
        try:
            physical = _ensured(box, name, synchronous=synchronous)
            physical.beat()
            bases = {}
            for listed in physical.list():
                if not listed.problem:
                    chosen = _select(physical, listed.name, listed.backups, Keep(), window, box)
                    if chosen.base is not None:
                        bases[listed.name] = chosen.base.id
            findings = [asdict(f) for f in physical.findings(bases)]
            newest, now = physical.lost_if_now()
            lost = round((now - newest).total_seconds()) if newest is not None else None
            found[name] = {"lost": lost, "findings": findings}
        except HomeportError as e:
            finding = {"code": e.code, "sentence": e.sentence, "hint": e.hint or "", "wants_full": False}
            found[name] = {"lost": None, "findings": [finding]}
    return found


def list_(box: Toolbox, request: Request, say: Say) -> Any:
    """All backups in all repositories, with their proofs."""
    clusters, series, problems = [], [], []
    for name in request["clusters"]:
        physical = box.physical(name)
        physical.prepare()
        for listed in physical.list():
            if listed.problem:
                problems.append(
                    {"repository": listed.name, "of": f"cluster {name}", "problem": listed.problem}
                )
            for b in listed.backups:
                proof = physical.records.proof(listed.name, b.label)
                clusters.append({"cluster": name, **_backup(b), "proof": proof.document() if proof else None})
    found = box.files()
    for repository in (r.name for r in box.repositories.list()):
        try:
            snapshots, _ = found.restic(repository).snapshots()
        except HomeportError as e:
            problems.append({"repository": repository, "of": "files", "problem": e.sentence})
            continue
        proofs = found.records.proofs(repository)
        for s in snapshots:
            proof_ = proofs.get(s.id)
            series.append(
                {
                    "repository": repository,
                    "series": s.series,
                    "snapshot": s.id,
                    "at": text_time(s.at),
                    "finished": s.is_finished,
                    "bytes": s.bytes or (proof_.bytes if proof_ else None),
                    "proof": proof_.document() if proof_ else None,
                }
            )
    return {"clusters": clusters, "files": series, "problems": problems}


def clean(box: Toolbox, request: Request, say: Say) -> Any:
    """What a child that was killed left running or lying. Whoever is at it just now has done so before."""
    for name in request["clusters"]:
        for lane in ("backup", "copy"):
            with _unless_busy():
                box.physical(name).clean(lane)
    for lane in files_model.LANES:
        with _unless_busy(), box.files(lane=lane).alone("tidy up"):
            pass
    return {}


@contextmanager
def _unless_busy() -> Iterator[None]:
    try:
        yield
    except HomeportError as e:
        if e.type not in (BUSY, WORKING):
            raise


def disable(box: Toolbox, request: Request, say: Say) -> Any:
    """Clusters are archived nowhere any more."""
    for name in request["clusters"]:
        box.physical(name).disable()
    return {}


WORKS: dict[str, Work] = {
    "prepare": prepare,
    "cluster": cluster,
    "files": files,
    "prove": prove,
    "prove-files": prove_files,
    "records": records,
    "prune": prune,
    "look": look,
    "list": list_,
    "clean": clean,
    "disable": disable,
    **works_dumps.WORKS,
    **works_restore.WORKS,
    **works_clone.WORKS,
    **works_drill.WORKS,
    **works_lock.WORKS,
}


def selection(
    physical: PhysicalBackups, repository: str, keep: Keep, window: timedelta, box: Toolbox
) -> Selection:
    """What of a cluster's backups in one repository stays and goes."""
    listed = next(r for r in physical.list() if r.name == repository)
    if listed.problem:
        physical.get(repository)
    return _select(physical, repository, listed.backups, keep, window, box)


def _select(
    physical: PhysicalBackups,
    repository: str,
    backups: tuple[PhysicalBackup, ...],
    keep: Keep,
    window: timedelta,
    box: Toolbox,
) -> Selection:
    kinds = {"full": Kind.FULL, "diff": Kind.DIFFERENTIAL, "incr": Kind.INCREMENTAL}
    found = []
    for b in backups:
        proof = physical.records.proof(repository, b.label)
        found.append(
            Backup(
                b.label,
                b.stopped_at,
                kinds[b.kind],
                proven=proof is not None and proof.passed,
                broken=proof is not None and bool(proof.failures),
                needs=b.needs,
            )
        )
    return select(found, keep, box.clock.now(), window=window)


def _ensured(box: Toolbox, name: str, *, synchronous: bool) -> PhysicalBackups:
    physical = box.physical(name, synchronous=synchronous)
    if not box.is_ensured(name, synchronous=synchronous):
        physical.ensure()
    return physical


def _backup(b: PhysicalBackup) -> dict[str, Any]:
    return {
        "repository": b.repository,
        "label": b.label,
        "kind": b.kind,
        "started_at": text_time(b.started_at),
        "stopped_at": text_time(b.stopped_at),
        "bytes": b.bytes,
        "stored_bytes": b.stored_bytes,
    }


def _made(made: Made) -> dict[str, Any]:
    b = made.backup
    rate = round(b.bytes / made.seconds) if made.seconds else 0
    return {**_backup(b), "seconds": made.seconds, "rate": rate, "manifest": made.manifest}
