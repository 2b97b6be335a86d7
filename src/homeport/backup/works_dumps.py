"""Dumps of databases that somebody else runs, and their proofs in a cluster of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from homeport.backup.errors import NOTHING_TO_DO
from homeport.backup.files import model as files_model
from homeport.backup.files.dumps import Dumps
from homeport.backup.files.model import dump_series
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
    dumps = Dumps(box.files(), box.clock)
    made = dumps.backup(app, environment, database, url, programs, on_progress=tell)
    return {"made": [asdict(m) | {"rate": round(m.rate)} for m in made]}


def prove_dump(box: Toolbox, request: Request, say: Say) -> Any:
    """Prove the newest dump of a database in a repository, in a database of its own in ``cluster``."""
    series = dump_series(request["app"], request["environment"], request["database"])
    backups, repository = box.files(), request["repository"]
    snapshots, _ = backups.restic(repository).snapshots()
    mine = [s for s in snapshots if s.series == series and s.is_finished]
    if not mine:
        raise NOTHING_TO_DO.error(f"cannot prove the dump of {series} in {repository}: it has none")
    cluster = box.cluster(request["cluster"])
    _, programs = machine.programs()
    admin = urls.admin(box.clusters.layout(cluster.name), cluster)
    queries = [ProofQuery(**q) for q in request["questions"]]
    return Dumps(backups, box.clock).prove(repository, mine[-1].id, admin, programs, queries).document()


WORKS = {"dump": dump, "prove-dump": prove_dump}
