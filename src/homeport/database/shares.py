"""How many connections each database of a cluster may have."""

from collections.abc import Sequence

from homeport.database.errors import TOO_MANY
from homeport.database.model import Provisioned
from homeport.database.sizing import TooManyAsked, Wanted, share_out


def wanted(row: Provisioned) -> Wanted:
    return Wanted(row.database, row.replicas, row.connections)


def shares(cluster: str, wanted: Sequence[Wanted], there: int) -> dict[str, int]:
    """By database. Raises ``database.too_many_connections``."""
    try:
        return share_out(wanted, there)
    except TooManyAsked as e:
        raise TOO_MANY.error(
            f"cannot give {e.asked} connections in cluster {cluster}: its server has {e.there} for apps",
            hint="lower connections, or give a database a cluster of its own: dedicated = true",
        ) from None
