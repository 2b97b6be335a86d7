"""Small rules that several calls share. Pure."""

import hashlib
import re

from homeport.spec.model import Build

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED = ("PORT", "PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH")
MAX_VALUE = 64 * 1024


def digest(tree: str, build: Build) -> str:
    """What makes two builds the same: the source files and the build configuration."""
    return hashlib.sha256(f"{tree}\n{build.command}".encode()).hexdigest()


def variable_problem(name: str, value: str) -> str | None:
    """Why a variable cannot be set, or None. The value itself is never told: it may be secret."""
    if _NAME.fullmatch(name) is None:
        return f"{name!r}: a name is made of A-Z, a-z, 0-9 and _, and does not begin with a digit"
    if name in RESERVED or name.startswith("HOMEPORT_"):
        return f"{name}: is given by Homeport or the system and cannot be set"
    if "\0" in value or "\n" in value or "\r" in value:
        return f"{name}: the value holds a line break or a NUL byte"
    if len(value) > MAX_VALUE:
        return f"{name}: the value is longer than {MAX_VALUE} characters"
    return None
