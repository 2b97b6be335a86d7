"""URLs of the databases that we provision."""

from urllib.parse import quote, unquote, urlsplit

from homeport.database.model import SUPERUSER, Cluster, Layout

LIBPQ = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "gssencmode": "PGGSSENCMODE",
}
"""libpq's parameters as variables, for programs: nothing of them stands in an argument."""


def url(user: str, password: str, port: int, database: str) -> str:
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{port}/{quote(database, safe='')}"


def user_and_password(text: str | None) -> tuple[str, str]:
    """Of a URL of ours; ("", "") for anything else."""
    try:
        parts = urlsplit(text or "")
        return unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return "", ""


def admin(layout: Layout, cluster: Cluster, database: str = "postgres") -> str:
    """How the superuser reaches a server: by the unix socket, without a password."""
    return f"host='{layout.sockets}' port={cluster.port} user={SUPERUSER} dbname='{database}'"


def console(layout: Layout, cluster: Cluster, user: str) -> str:
    """How its administrator reaches the pooler."""
    return f"host='{layout.sockets}' port={cluster.pooler_port} user='{user}' dbname=pgbouncer"
