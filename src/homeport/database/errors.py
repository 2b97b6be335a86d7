"""What can go wrong with databases."""

from homeport.kernel.errors import Kind, declare

NO_SERVER = declare(
    "database.no_server", Kind.MISSING_PART, "PostgreSQL 15 or newer, or PgBouncer, is not on this machine."
)
NO_USER = declare(
    "database.no_user",
    Kind.MISSING_PART,
    "Homeport runs as root and there is no user postgres to run a server as.",
)
CLOSED_DIRECTORY = declare(
    "database.closed_directory",
    Kind.CONFLICT,
    "The user that PostgreSQL or Redis runs as cannot reach the data directory.",
)
NOT_OURS = declare(
    "database.not_ours",
    Kind.CONFLICT,
    "There are files where a cluster's would be, and state.db knows of none.",
)
FILES_GONE = declare(
    "database.files_gone",
    Kind.FAILED,
    "The files of a cluster that held data are missing or of another version.",
)
INITDB_FAILED = declare(
    "database.initdb_failed", Kind.FAILED, "A cluster's files could not be made.", retry=True
)
NOT_ANSWERING = declare(
    "database.not_answering", Kind.UNAVAILABLE, "A database server or its pooler does not answer.", retry=True
)
NO_PORT = declare(
    "database.no_port", Kind.MISSING_PART, "No port is free for a server or pooler.", retry=True
)
UNKNOWN = declare("database.unknown", Kind.NOT_FOUND, "There is no such database.")
CANNOT_MOVE = declare(
    "database.cannot_move",
    Kind.CONFLICT,
    "A database would have to move to another cluster for what is asked.",
)
DROPPING = declare("database.dropping", Kind.CONFLICT, "A database's end was begun and is not finished.")
TOO_MANY = declare(
    "database.too_many_connections", Kind.CONFLICT, "More connections are asked for than the server may have."
)
NO_EXTENSION = declare(
    "database.no_extension", Kind.MISSING_PART, "An extension that is asked for is not on this machine."
)
NOT_CONFIRMED = declare(
    "database.not_confirmed", Kind.INVALID, "A database is dropped only when its name is given again."
)
BUSY = declare(
    "database.busy", Kind.CONFLICT, "Transactions did not end in time, so clients were not held.", retry=True
)
NO_POOLER = declare("database.no_pooler", Kind.CONFLICT, "A database has no pooler that could hold clients.")

BAD_URL = declare("database.bad_url", Kind.INVALID, "The URL of a database cannot be read.")
UNREACHABLE = declare(
    "database.unreachable", Kind.UNAVAILABLE, "Nothing answers at a database's address.", retry=True
)
WRONG_PASSWORD = declare(
    "database.wrong_password", Kind.INVALID, "A database refuses the name or the password."
)
NO_DATABASE = declare("database.no_database", Kind.NOT_FOUND, "The server has no database of that name.")
TLS_REFUSED = declare("database.tls_refused", Kind.INVALID, "TLS was asked for and could not be agreed on.")
TOO_OLD = declare("database.too_old", Kind.INVALID, "The server is older than PostgreSQL 15.")
READ_ONLY = declare("database.read_only", Kind.CONFLICT, "The server takes no writes.")
NO_RIGHTS = declare(
    "database.no_rights", Kind.INVALID, "The login may not make tables, so it cannot migrate."
)
REFUSED = declare("database.refused", Kind.UNAVAILABLE, "A database refuses the connection.", retry=True)
NOT_HERE = declare(
    "database.not_here",
    Kind.CONFLICT,
    "What was asked for needs a server's own files, and somebody else runs it.",
)

WORK_FAILED = declare(
    "database.work_failed",
    Kind.FAILED,
    "A process that worked on a database ended in a way that nobody foresaw; the log of the control plane says how.",
)
