"""How a database leaves a copy and comes into a server. Pure."""

from __future__ import annotations

from pathlib import Path

from homeport.database.model import SUPERUSER


def _at(host: Path, port: int, database: str) -> tuple[str, ...]:
    return (
        f"--host={host}",
        f"--port={port}",
        f"--username={SUPERUSER}",
        "--no-password",
        f"--dbname={database}",
    )


def dump(
    programs: Path, copy: Path, database: str, into: Path, jobs: int, schema: str | None = None
) -> tuple[str, ...]:
    """Not compressed: it lies on this disk for seconds. ``schema``: that alone."""
    only = (f"--schema={schema}",) if schema else ()
    return (
        str(programs / "pg_dump"), "--format=directory", "--compress=0", f"--jobs={jobs}", "--no-subscriptions",
        f"--file={into}", *only, *_at(copy, 5432, database),
    )  # fmt: skip


def contents(programs: Path, dump: Path) -> tuple[str, ...]:
    return (str(programs / "pg_restore"), "--list", str(dump))


def restore(
    programs: Path, dump: Path, host: Path, port: int, database: str, jobs: int, chosen: Path | None = None
) -> tuple[str, ...]:
    """``chosen``: a file with those lines of the contents that are wanted."""
    only = (f"--use-list={chosen}",) if chosen else ()
    return (
        str(programs / "pg_restore"), "--exit-on-error", f"--jobs={jobs}", *only, *_at(host, port, database),
        str(dump),
    )  # fmt: skip


def beside(listed: str) -> str:
    """Of a dump's contents what a table needs beside the one that serves: no foreign keys, triggers or policies."""
    left_out = (
        " FK CONSTRAINT ",
        " TRIGGER ",
        " POLICY ",
        " ROW SECURITY ",
        " RULE ",
        " PUBLICATION ",
        " STATISTICS ",
    )
    lines = [line for line in listed.splitlines() if line and not line.startswith(";")]
    return "".join(f"{line}\n" for line in lines if not any(word in f" {_what(line)} " for word in left_out))


def _what(line: str) -> str:
    """``3; 2606 16390 FK CONSTRAINT public orders orders_fkey owner`` without its numbers and names."""
    words = line.split()[3:]
    return " ".join(word for word in words if word.isupper())
