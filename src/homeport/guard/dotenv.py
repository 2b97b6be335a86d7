"""``.env`` files, as python-dotenv reads them and, written, a POSIX shell as well."""

import io
import re
from collections.abc import Iterable

from dotenv.parser import parse_stream

from homeport.guard.errors import BAD_DOTENV
from homeport.kernel.variables import is_name

MAX_CHARACTERS = 1_000_000
MAX_PROBLEMS = 100
"""A line that cannot be read may cost a look at all that follows: so there is an end."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_BLANKS = re.compile(r"[^\S\r\n]{1000}")
_NEWLINE = re.compile(r"\r\n|\n|\r")


def parse(text: str) -> tuple[tuple[str, str], ...]:
    """The variables of a ``.env`` file in their order; of a name that is there twice, the last value.

    ``export`` before a name is accepted; ``$NAME`` within a value is left as it stands. Raises
    ``guard.bad_dotenv`` with every bad line by its number, and no part of it: it may hold a secret.
    """
    if len(text) > MAX_CHARACTERS:
        raise BAD_DOTENV.error(
            f"cannot read the .env file: it has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed"
        )
    problems: list[str] = []
    found: dict[str, str] = {}
    if blanks := _BLANKS.search(text):
        # python-dotenv takes time by the square of their number.
        problems.append(f"line {_line(text, blanks.start())}: holds 1,000 blanks on end")
    for binding in () if problems else parse_stream(io.StringIO(text)):
        original = binding.original
        leading = len(original.string) - len(original.string.lstrip())
        number = original.line + _line(original.string, leading) - 1
        problem = None
        if binding.error:
            problem = "cannot be read: is a quote left open, or does something follow a quoted value?"
        elif binding.key is None:
            continue
        elif not is_name(binding.key):
            problem = "has no name of a variable: letters, digits and _, no digit first"
        elif binding.value is None:
            problem = 'has no "="'
        elif "\0" in binding.value:
            problem = "holds a NUL byte"
        else:
            found.pop(binding.key, None)
            found[binding.key] = binding.value
        if problem is not None:
            problems.append(f"line {number}: {problem}")
        if len(problems) == MAX_PROBLEMS:
            problems.append("and perhaps more: reading ended here")
            break
    if problems:
        raise BAD_DOTENV.error("cannot read the .env file", details=problems)
    return tuple(found.items())


def render(pairs: Iterable[tuple[str, str]]) -> str:
    """A ``.env`` file with these variables, which python-dotenv and ``sh`` read as the same values.

    Raises ``guard.bad_dotenv`` for a name that is none, and a value with a NUL byte or not UTF-8.
    """
    return "".join(_assignment(name, value) for name, value in pairs)


def _line(text: str, end: int) -> int:
    return 1 + len(_NEWLINE.findall(text, 0, end))


def _assignment(name: str, value: str) -> str:
    if not is_name(name):
        raise BAD_DOTENV.error("cannot write the .env file: a name is not that of a variable")
    try:
        raw = value.encode("utf-8")
    except UnicodeEncodeError:
        raise BAD_DOTENV.error(f"cannot write {name} to a .env file: its value is not UTF-8 text") from None
    if "\0" in value:
        raise BAD_DOTENV.error(f"cannot write {name} to a .env file: its value holds a NUL byte")
    if _PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    # Within '…' a shell takes everything as it stands, python-dotenv all but \\ and \'.
    if not any(part in value for part in ("'", "\\\\", "\r")) and not value.endswith("\\"):
        return f"{name}='{value}'\n"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    # Within "…" both take \\ and \" alike, but python-dotenv has no way to escape $ and `.
    if not any(part in value for part in ("$", "`", "\r")):
        return f'{name}="{escaped}"\n'
    # No quoting that both read alike holds the rest, such as it's$5: each gets lines of its own. After a
    # quoted value, python-dotenv takes "#" for a comment and the shell does not; and the shell skips what it
    # is not to read up to the line "#…", which for python-dotenv is another comment.
    lines = escaped.split("\n")
    end = next(mark for n in range(1, len(lines) + 2) if (mark := "#" * n) not in lines)
    octal = "".join(f"\\{byte:03o}" for byte in raw)
    shell_only = f"{name}=$(printf '{octal}.'); {name}=${{{name}%.}}; : <<'{end}'"
    escaped = escaped.replace("\r", "\\r")
    return f"{name}=''#; {shell_only}\n{name}=\"{escaped}\"\n{end}\n"
