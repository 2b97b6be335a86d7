"""Dumps of databases that somebody else runs, and their proofs in a cluster of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from homeport.backup.errors import NOTHING_TO_DO
from homeport.backup.files import model as files_model
from homeport.backup.files.dumps import Dumps
from homeport.backup.files.model import dump_series
from homeport.backup.telling import made_document, proof_document, told_of_each
from homeport.backup.waiting import patiently
from homeport.database import machine, urls
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import ProofQuery

if TYPE_CHECKING:
    from homeport.backup.toolbox import Toolbox

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]


def dump(box: Toolbox, request: Request, say: Say) -> Any:
    """Dump a database into every repository. ``secret``: what of the environment's holds its URL."""
    app, environment, database = request["app"], request["environment"], request["database"]
    if request["secret"] not in box.vault.versions(app, environment):
        raise NOTHING_TO_DO.error(
            f"cannot dump database {database} of {app} {environment}: it has no secret {request['secret']}",
            hint=f"homeport secrets set {request['secret']}",
        )

    def tell(p: files_model.Progress) -> None:
        say(
            "progress",
            {"repository": p.repository, "done": p.bytes, "total": p.total_bytes, "rate": round(p.rate)},
        )

    url = Secret(box.vault.reveal(app, environment, request["secret"]))
    _, programs = machine.programs()
    rate = request.get("rate")
    dumps = Dumps(box.files(rate), box.clock)

    def back_up(on_made: Callable[[files_model.Made], None]) -> object:
        def once() -> object:
            with box.paced(rate):
                return dumps.backup(
                    app, environment, database, url, programs, on_progress=tell, on_made=on_made
                )

        return patiently(box.clock, once)

    return told_of_each(back_up, made_document)


def prove_dump(box: Toolbox, request: Request, say: Say) -> Any:
    """Prove the newest dump of a database in a repository, in a database of its own in ``cluster``."""
    series = dump_series(request["app"], request["environment"], request["database"])
    rate = request.get("rate")
    backups, repository = box.files(rate), request["repository"]
    snapshots, _ = backups.restic(repository).snapshots()
    mine = [s for s in snapshots if s.series == series and s.is_finished]
    if not mine:
        raise NOTHING_TO_DO.error(f"cannot prove the dump of {series} in {repository}: it has none")
    cluster = box.cluster(request["cluster"])
    _, programs = machine.programs()
    admin = urls.admin(box.clusters.layout(cluster.name), cluster)
    queries = [ProofQuery(**q) for q in request["questions"]]

    def prove_one() -> dict[str, Any]:
        with box.paced(rate) as seen:
            proof = Dumps(backups, box.clock).prove(repository, mine[-1].id, admin, programs, queries)
        return proof_document(proof, rate, seen)

    return patiently(box.clock, prove_one)


WORKS = {"dump": dump, "prove-dump": prove_dump}
