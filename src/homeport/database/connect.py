"""Connections to our own servers and poolers, and what a failure to connect means."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from homeport.database import refused
from homeport.database.errors import NOT_ANSWERING
from homeport.database.model import SUPERUSER, Cluster, Layout

Connection = psycopg.Connection[tuple[Any, ...]]
TIMEOUT = 5
"""Seconds to connect within."""
NO_WAY = "it may be starting; homeport doctor says which log tells why not"


@contextmanager
def as_superuser(layout: Layout, cluster: Cluster, database: str = "postgres") -> Iterator[Connection]:
    """By the unix socket, each statement a transaction of its own. Raises ``database.not_answering``."""
    try:
        connection = psycopg.connect(
            host=str(layout.sockets),
            port=cluster.port,
            user=SUPERUSER,
            dbname=database,
            autocommit=True,
            connect_timeout=TIMEOUT,
            application_name="homeport",
        )
    except psycopg.OperationalError as e:
        raise not_answering(cluster.service, e, hint=way_on(layout, cluster.service)) from None
    with connection:
        yield connection


@contextmanager
def to_pooler(layout: Layout, cluster: Cluster, user: str) -> Iterator[Connection]:
    """To the pooler's console, as its administrator. Raises ``database.not_answering``."""
    try:
        connection = psycopg.connect(
            host=str(layout.sockets),
            port=cluster.pooler_port,
            user=user,
            dbname="pgbouncer",
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=TIMEOUT,
            cursor_factory=psycopg.ClientCursor,
        )
    except psycopg.OperationalError as e:
        raise not_answering(cluster.pooler_service, e, hint=way_on(layout, cluster.pooler_service)) from None
    with closing(connection):  # without the COMMIT that psycopg would add
        yield connection


def has_files(layout: Layout) -> bool:
    """Whether there is a server's data directory at all."""
    return (layout.files / "PG_VERSION").is_file()


def layout_of(dsn: str) -> Layout | None:
    """Of a connection by a cluster's unix socket."""
    directory = Path(str(conninfo_to_dict(dsn).get("host") or "")).parent
    layout = Layout(directory.parent.parent, directory.name)
    return layout if str(layout.sockets) == conninfo_to_dict(dsn).get("host") else None


def way_on(layout: Layout, service: str) -> str:
    """What to do about a server, or its pooler, that does not answer."""
    if not has_files(layout):
        return f"its files in {layout.files} are gone: homeport restore --cluster {layout.cluster} --plan"
    return f"it may be starting; {layout.log(service)} says why not"


def not_answering(service: str, error: Exception, *, hint: str = NO_WAY) -> Exception:
    return NOT_ANSWERING.error(f"cannot reach {service}: {first_line(error)}", hint=hint)


def first_line(error: Exception) -> str:
    """What PostgreSQL or libpq says, in one line, without values of rows: "connection to server … failed: why"."""
    return refused.why(error)
