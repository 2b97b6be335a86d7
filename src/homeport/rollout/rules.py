"""Small rules that several calls share. Pure."""

import hashlib

from homeport.kernel.variables import LARGEST_VALUE, is_given, is_name
from homeport.spec.model import Build


def digest(tree: str, build: Build) -> str:
    """What makes two builds the same: the source files and the build configuration."""
    return hashlib.sha256(f"{tree}\n{build.command}".encode()).hexdigest()


ELSEWHERE = "elsewhere:"
"""Before the digest of a release that was built in another data directory: paths within it may say so, so that no
deploy takes it for what it would build."""


def built_elsewhere(digest: str) -> bool:
    """Whether a release was built in another data directory than this one."""
    return digest.startswith(ELSEWHERE)


def variable_problem(name: str, value: str) -> str | None:
    """Why a variable cannot be set, or None. The value itself is never told: it may be secret."""
    if not is_name(name):
        return f"{name!r}: a name is made of A-Z, a-z, 0-9 and _, and does not begin with a digit"
    if is_given(name):
        return f"{name}: is given by Homeport or the system and cannot be set"
    if "\0" in value or "\n" in value or "\r" in value:
        return f"{name}: the value holds a line break or a NUL byte"
    if len(value.encode("utf-8", "replace")) > LARGEST_VALUE:
        return f"{name}: the value is longer than 64 KB ({LARGEST_VALUE:,} bytes)"
    return None
