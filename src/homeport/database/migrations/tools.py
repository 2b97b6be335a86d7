"""Apps with a migration tool of their own: its command under the same lock, timeouts and timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from homeport.database.migrations.errors import CANCELLED, TIMED_OUT, TOOL_FAILED
from homeport.database.migrations.model import Cancelled, Note, Options, Progress
from homeport.database.migrations.runner import PAUSES, never, silent
from homeport.database.migrations.session import Target, connect, locked
from homeport.kernel.clock import Clock
from homeport.kernel.masking import Masker, Stream
from homeport.system.process import stream

BLOCKED = (b"lock timeout", b"55P03", b"LockNotAvailable", b"deadlock detected")
"""What tools print when PostgreSQL gave up waiting for a lock."""
TAIL = 4096


@dataclass(frozen=True, slots=True)
class Ran:
    seconds: float
    attempts: int


def variables(target: Target, options: Options, variable: str = "DATABASE_URL") -> dict[str, str]:
    """What the tool is given: in ``variable`` the URL with the timeouts as ``options``, which libpq, node-postgres, Prisma
    and asyncpg hand to the server, and PGOPTIONS for libpq where the tool takes its URL from elsewhere."""
    settings = {
        "lock_timeout": round(options.lock_timeout * 1000),
        "statement_timeout": round(options.statement_timeout * 1000),
        **({"role": options.owner} if options.owner else {}),
    }
    words = " ".join(
        f"-c {name}={str(value).replace(' ', chr(92) + ' ')}" for name, value in settings.items()
    )
    return {variable: with_options(target.url, words), "PGOPTIONS": words}


def with_options(url: str, words: str) -> str:
    """The URL with startup options; text that is no URL (host=… dbname=…) as libpq has it."""
    if "://" not in url:
        return f"{url} options='{words}'"
    parts = urlsplit(url)
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != "options"]
    text = urlencode([*query, ("options", words)], quote_via=quote)
    return urlunsplit(parts._replace(query=text))


def run_tool(
    command: str,
    *,
    target: Target,
    directory: Path,
    environment: Mapping[str, str],
    variable: str = "DATABASE_URL",
    options: Options,
    clock: Clock,
    timeout: float,
    on_output: Callable[[bytes], None],
    note: Note = silent,
    cancelled: Cancelled = never,
    user: str | None = None,
    chance: Callable[[], float] = lambda: 1.0,
) -> Ran:
    """Run the app's own shell line in ``directory``; again, after a growing pause, when it did not get a lock.

    Its output comes without the database's password. ``environment`` carries Homeport's mark, so that nothing
    of the tool outlives this. Raises ``database.migration_locked``, ``…_tool_failed``, ``…_timed_out``.
    """
    masker = Masker([p]) if (p := target.parameters().get("password")) else Masker([])
    started, attempts = clock.monotonic(), 0
    env = {**environment, **variables(target, options, variable)}
    with connect(target, options) as conn, locked(conn, options, clock, note, cancelled):
        while True:
            attempts += 1
            note(Progress("started", text=command))
            tail = bytearray()
            masked = Stream(masker)

            def take(chunk: bytes, masked: Stream = masked, tail: bytearray = tail) -> None:
                clean = masked.feed(chunk)
                tail.extend(clean)
                del tail[:-TAIL]
                on_output(clean)

            status, reason = stream(
                ("/bin/sh", "-c", command),
                timeout=timeout,
                cwd=directory,
                env=env,
                on_output=take,
                poll=lambda: "stopped" if cancelled() else None,
                user=user,
            )
            rest = masked.flush()
            tail.extend(rest)
            on_output(rest)
            seconds = clock.monotonic() - started
            lines = bytes(tail).decode("utf-8", "replace").splitlines()[-20:]
            if reason is None and status == 0:
                note(Progress("applied", text=command, seconds=seconds))
                return Ran(seconds, attempts)
            if reason == "stopped":
                raise CANCELLED.error(f"cannot go on with {command}: it was stopped", details=lines)
            if reason is not None:
                raise TIMED_OUT.error(
                    f"cannot finish {command}: it ran longer than {timeout:g} s", details=lines
                )
            pause = min(PAUSES[0] * 2.0 ** min(attempts - 1, 20), PAUSES[1]) * (0.5 + 0.5 * chance())
            if not any(word in tail for word in BLOCKED) or seconds + pause > options.patience:
                raise TOOL_FAILED.error(
                    f"cannot migrate: {command} ended with status {status}",
                    hint="its output says why",
                    details=lines,
                )
            note(
                Progress("retry", text=f"others hold a lock that it needs; attempt {attempts}", seconds=pause)
            )
            clock.sleep(pause)
