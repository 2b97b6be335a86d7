"""Migration files in dbmate's format. Pure.

The name is ``VERSION_words.sql`` where VERSION is one digit or more, as dbmate takes it (``new_file`` makes
fourteen, a UTC time); files are in the order of their names, as dbmate has it.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from homeport.database.migrations.errors import BAD_FILE
from homeport.database.migrations.model import Allowance, Migration, Section
from homeport.database.migrations.statements import split
from homeport.kernel.errors import HomeportError
from homeport.spec import migration_names

LIMIT = migration_names.LARGEST

NAME = re.compile(r"([0-9]+)(?:_(.*))?\.sql")
MARKER = re.compile(r"^--\s*migrate:(\w+)[ \t]*(.*?)[ \t]*$", re.MULTILINE)
OWN = re.compile(r"^[ \t]*--\s*homeport:(\w*)[ \t]*(.*?)[ \t]*$", re.MULTILINE)
ALLOW = re.compile(r"(\S+)\s+because\s+(\S.*)")
DECLARED = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xef\xbb\xbf": "a byte order mark",
}


def version_of(filename: str) -> str | None:
    """The version that a file's name begins with, or None where it is no migration's name."""
    match = NAME.fullmatch(filename)
    return match[1] if match else None


def new_file(words: str, now: datetime) -> tuple[str, str]:
    """Name and text of a new, empty migration. Raises ``database.migration_invalid``."""
    name = migration_names.new_name(words, now)
    if name is None:
        raise BAD_FILE.error(
            f'cannot name a migration "{words[:80]}": it needs a few words, such as add_orders'
        )
    return name, migration_names.template()


def parse(filename: str, raw: bytes) -> Migration:
    """A file, checked. Raises ``database.migration_invalid`` with every problem in its details."""
    match = NAME.fullmatch(filename)
    if match is None:
        raise _bad(
            filename,
            "its name does not begin with a version",
            "name it like 20261120120000_add_orders.sql; homeport migrate new does",
        )
    text = _text(filename, raw)
    up, down = _sections(filename, text)
    contract, allowances = _own_comments(filename, text)
    return Migration(
        version=match[1],
        description=(match[2] or "").replace("_", " ").strip(),
        filename=filename,
        source=text,
        checksum=checksum(text),
        up=up,
        down=down,
        contract=contract,
        allowances=allowances,
    )


def parse_all(files: Iterable[tuple[str, bytes]]) -> tuple[Migration, ...]:
    """All files in order. Raises ``database.migration_invalid`` with the problems of all of them."""
    found: list[Migration] = []
    problems: list[HomeportError] = []
    for filename, raw in sorted(files):
        try:
            found.append(parse(filename, raw))
        except HomeportError as e:
            problems.append(e)
    by_version: dict[str, str] = {}
    for migration in found:
        other = by_version.setdefault(migration.version, migration.filename)
        if other != migration.filename:
            problems.append(
                BAD_FILE.error(
                    f"cannot use {migration.filename}: {other} has the version {migration.version} too",
                    hint="give one of them a later version",
                )
            )
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise BAD_FILE.error(
            f"cannot use the migrations: {len(problems)} problems",
            hint=problems[0].hint,
            details=[line for p in problems for line in (p.sentence, *p.details)],
        )
    return tuple(found)


def checksum(text: str) -> str:
    """SHA-256 of the text with ``\\n`` line ends, so that git's autocrlf changes nothing."""
    return sha256(text.encode()).hexdigest()


def _text(filename: str, raw: bytes) -> str:
    if len(raw) > LIMIT:
        raise _bad(
            filename,
            f"it has more than {LIMIT // 1_000_000} MB",
            "load data apart from migrations, for instance with a one-off command",
        )
    for mark, name in DECLARED.items():
        if raw.startswith(mark):
            raise _bad(filename, f"it begins with {name}, where plain UTF-8 is needed", "save it as UTF-8")
    if b"\0" in raw:
        what = "it looks like UTF-16" if raw[1:2] == b"\0" or raw[:1] == b"\0" else "it has a NUL byte"
        raise _bad(filename, f"{what}, where plain UTF-8 is needed", "save it as UTF-8")
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise _bad(filename, f"it is not UTF-8 (line {line})", "save it as UTF-8") from e
    return text.replace("\r\n", "\n")


def _sections(filename: str, text: str) -> tuple[Section, Section | None]:
    markers = list(MARKER.finditer(text))
    names = [m[1] for m in markers]
    for m in markers:
        if m[1] not in ("up", "down"):
            raise _bad(
                filename,
                f'line {_line(text, m.start())} says "migrate:{m[1]}"',
                "there are migrate:up and migrate:down",
            )
        if m[2] not in ("", "transaction:false", "transaction:true"):
            raise _bad(
                filename,
                f'line {_line(text, m.start())} has the option "{m[2]}"',
                "transaction:false is the only one",
            )
    if "up" not in names:
        raise _bad(filename, "it has no up section", "begin it with a line -- migrate:up")
    if names not in (["up"], ["up", "down"]):
        raise _bad(
            filename,
            "it has more than one section up and one down, in this order",
            "make several files of it",
        )
    first = markers[0]
    for number, line in enumerate(text[: first.start()].split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("--"):
            raise _bad(filename, f"line {number} stands before its up section", "move it below -- migrate:up")
    ends = [*(m.start() for m in markers[1:]), len(text)]
    sections = [
        _section(filename, m, text[m.end() : end], _line(text, m.start()))
        for m, end in zip(markers, ends, strict=True)
    ]
    down = sections[1] if len(sections) == 2 else None
    # dbmate's template leaves an empty down section where nobody wrote one.
    return sections[0], down if down is not None and (down.statements or not sections[0].statements) else None


def _section(filename: str, marker: re.Match[str], body: str, line: int) -> Section:
    statements = split(filename, body, line, in_transaction=marker[2] != "transaction:false")
    return Section(body, line, statements)


def _own_comments(filename: str, text: str) -> tuple[bool, tuple[Allowance, ...]]:
    contract, allowances = False, []
    for m in OWN.finditer(text):
        line = _line(text, m.start())
        if m[1] == "contract" and not m[2]:
            contract = True
        elif m[1] == "allow":
            found = ALLOW.fullmatch(m[2])
            if found is None:
                raise _bad(
                    filename,
                    f"line {line} allows something without a reason",
                    "write -- homeport:allow RULE because …",
                )
            allowances.append(Allowance(found[1], found[2], line))
        else:
            raise _bad(
                filename,
                f'line {line} says "homeport:{m[1]} {m[2]}"'.rstrip('" ') + '"',
                "there are homeport:contract and homeport:allow RULE because …",
            )
    return contract, tuple(allowances)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _bad(filename: str, why: str, hint: str) -> HomeportError:
    return BAD_FILE.error(f"cannot use {filename}: {why}", hint=hint)
