"""What a secret may be called and hold. Pure; no answer repeats a value."""

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED = ("PORT", "PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH")
MAX_BYTES = 64 * 1024
"""Linux takes at most 128 KB for one variable, its name included."""


def name_problem(name: str) -> str | None:
    """Why a secret cannot have this name, or None.

    A name that is none is not repeated: it may be a value in the wrong place.
    """
    if NAME.fullmatch(name) is None:
        return (
            "a name is made of A-Z, a-z, 0-9 and _, does not begin with a digit, and has at most 128 of them"
        )
    if name in RESERVED or name.startswith("HOMEPORT_"):
        return f"{name} is given by Homeport or the system"
    return None


def value_problem(value: str) -> str | None:
    """Why a secret cannot have this value, as words after "it", or None."""
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not UTF-8 text"
    if not value:
        return "is empty"
    if size > MAX_BYTES:
        return f"has {size:,} bytes; at most 64 KB ({MAX_BYTES:,} bytes) are allowed"
    if "\0" in value:
        return "holds a NUL byte, which no variable can"
    return None
