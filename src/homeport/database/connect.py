"""Connections to our own servers and poolers, and what a failure to connect means."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from homeport.database.errors import NOT_ANSWERING
from homeport.database.model import SUPERUSER, Cluster, Layout

Connection = psycopg.Connection[tuple[Any, ...]]
TIMEOUT = 5
"""Seconds to connect within."""


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
        raise not_answering(cluster.service, e) from None
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
        raise not_answering(cluster.pooler_service, e) from None
    with closing(connection):  # without the COMMIT that psycopg would add
        yield connection


def not_answering(service: str, error: Exception) -> Exception:
    return NOT_ANSWERING.error(
        f"cannot reach {service}: {first_line(error)}", hint="it may be starting; homeport logs shows why not"
    )


def first_line(error: Exception) -> str:
    """What libpq says, the last of its lines: "connection to server … failed: why"."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("FATAL:  ") if lines else type(error).__name__
