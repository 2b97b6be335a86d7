"""Whether the server that a restore goes through runs: asked before anything is copied."""

from __future__ import annotations

from homeport.backup.restores.errors import SERVER_DOWN
from homeport.database.connect import has_files
from homeport.database.model import Provisioned
from homeport.kernel.errors import HomeportError
from homeport.rollout.data import known
from homeport.rollout.parts import Parts


def must_run(parts: Parts, row: Provisioned) -> None:
    """Raise ``restore.server_down`` where the database's cluster has lost its files, or is known not to run."""
    layout = known.layout(parts, row)
    service = f"postgresql.{row.cluster}"
    back = f"homeport restore --cluster {row.cluster} --plan"
    if not has_files(layout):
        raise SERVER_DOWN.error(
            f"cannot take back {row.label}: cluster {row.cluster} does not run (its files are gone)",
            hint=f"{back}, which is of all that is in it",
        )
    try:
        status = known.service(parts, service)
    except HomeportError:
        return  # without its supervisor nothing is known of it
    if status is not None and not status.running:
        ended = f" ({status.ended})" if status.ended else ""
        raise SERVER_DOWN.error(
            f"cannot take back {row.label}: cluster {row.cluster} does not run{ended}",
            hint=f"{layout.log(service)} says why; a deploy starts it; where its files are damaged: {back}",
        )
