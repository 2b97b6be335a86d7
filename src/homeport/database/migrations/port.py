"""What other rooms ask of migrations, whatever the engine."""

from collections.abc import Sequence
from typing import Protocol

from homeport.database.migrations.model import Cancelled, Done, Goal, Migration, Note
from homeport.database.migrations.plan import Observed


class Migrator(Protocol):
    """The migrations of one database. Every call may be made again after a crash at any point.

    ``homeport.database.migrations.plan`` says, from what :meth:`look` gives, what :meth:`run` would do
    (``plan``, ``problems``) and how each migration stands (``statuses``).
    """

    def look(self, files: Sequence[Migration]) -> Observed:
        """What there is, without a lock and without a change.

        Errors: ``database.migration_unreachable``, ``…_login_refused``, ``…_server_unsuitable``.
        """
        ...

    def run(
        self, files: Sequence[Migration], goal: Goal, *, note: Note = ..., cancelled: Cancelled = ...
    ) -> tuple[Done, ...]:
        """Bring the database to the goal; one at a time for a database, and what was begun is ended first.

        Returns what was applied and taken back, in order; () when nothing was to be done. What was done before
        an error stays done, and ``note`` was told of it. Errors besides those of :meth:`look`:
        ``database.migration_changed``, ``…_out_of_order``, ``…_unfinished``, ``…_no_down``,
        ``database.unknown_migration``: nothing was begun. ``…_locked``: another run is under way.
        ``…_blocked``, ``…_timed_out``, ``…_failed``, ``…_no_space``, ``…_cancelled``,
        ``…_connection_lost``: the next run goes on where this one stopped.
        """
        ...
